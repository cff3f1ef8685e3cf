"""Packages as one tree: merged /usr, shared directories, conflicts, records, what is left out, and unpacking."""

from __future__ import annotations

import errno
import os
import posixpath
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Permanent, Transient
from shared.image import debian, rootfs
from shared.image.tree import Directory, File, Link
from tests.image.inputs import debs
from tests.image.inputs.debs import content, directory, entry, link


def test_usr_is_merged_in_every_tree(tmp_path: Path) -> None:
    one = debs.write(
        tmp_path,
        "one",
        directory("./bin"),
        directory("./lib/x86_64-linux-gnu"),
        directory("./lib64"),
        ("./bin/tool", b"tool"),
        ("./lib/x86_64-linux-gnu/libc.so.6", b"libc"),
        link("./lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"),
        link("./lib/x86_64-linux-gnu/libz.so", "libz.so.1"),
        link("./sbin/over", "../usr/bin/other"),
        link("./bin/near", "tool"),
    )
    tree = debian.package_tree([one])
    paths = {path for path, _ in tree.entries()}
    assert not {path for path in paths if path.partition("/")[0] in rootfs.MERGED}
    assert content(tree, "usr/bin/tool") == b"tool"
    assert tree.get("usr/lib/x86_64-linux-gnu/libz.so") == Link("libz.so.1")
    assert tree.get("usr/lib64/ld-linux-x86-64.so.2") == Link("/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    # From /usr/sbin, ../usr/bin would be /usr/usr/bin.
    assert tree.get("usr/sbin/over") == Link("../bin/other")
    assert tree.get("usr/bin/near") == Link("tool")


def test_hard_links_survive_the_merge(tmp_path: Path) -> None:
    path = debs.write(tmp_path, "hard", ("./bin/a", b"x"), entry("./usr/bin/b", tarfile.LNKTYPE, "./bin/a"))
    tree = debian.package_tree([path])
    one, other = tree.get("usr/bin/a"), tree.get("usr/bin/b")
    assert isinstance(one, File)
    assert isinstance(other, File)
    assert one.content.same == other.content.same != ""
    debian.write(tree, tmp_path / "out")
    assert (tmp_path / "out/usr/bin/a").samefile(tmp_path / "out/usr/bin/b")


segments = st.lists(st.sampled_from(["lib", "usr", "bin", "x", "..", "share"]), min_size=1, max_size=6)


@given(st.lists(st.sampled_from(["lib", "bin", "x"]), max_size=3), segments)
def test_a_link_leads_where_it_led(place: list[str], target: list[str]) -> None:
    path, to = "/".join(["lib", *place, "link"]), "/".join(target)
    moved = rootfs.merged(path)
    meant = rootfs.merged(posixpath.normpath(posixpath.join("/", posixpath.dirname(path), to)).lstrip("/"))
    new = debian._retargeted(path, moved, to)
    now = posixpath.normpath(posixpath.join("/", posixpath.dirname(moved), new)).lstrip("/")
    assert rootfs.merged(now) == meant


def test_a_package_that_merges_usr_itself(tmp_path: Path) -> None:
    sound = debs.write(tmp_path, "base-files", link("./bin", "usr/bin"), link("./lib", "/usr/lib"))
    tree = debian.package_tree([sound])
    rootfs.complete(tree, "0:0")
    assert tree.get("bin") == Link("usr/bin")
    other = debs.write(tmp_path, "odd", link("./bin", "/tmp/bin"))
    with pytest.raises(Permanent, match="odd makes /bin a link to /tmp/bin"):
        debian.package_tree([other])


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_shared_directory_grants_what_all_grant(order: tuple[int, int], tmp_path: Path) -> None:
    made = [
        debs.write(tmp_path, "aa", directory("./tmp", 0o1777), directory("./var/x", 0o750)),
        debs.write(tmp_path, "bb", directory("./tmp", 0o755), directory("./var/x", 0o2775)),
    ]
    tree = debian.package_tree([made[n] for n in order])
    assert tree.get("tmp") == Directory(0o1755)
    assert tree.get("var/x") == Directory(0o2750)


CONFLICTS: dict[str, tuple[debs.Entry, debs.Entry, str]] = {
    "two files": (("./usr/bin/x", b"1"), ("./usr/bin/x", b"1"), "aa and bb both bring /usr/bin/x"),
    "over the merge": (("./bin/x", b"1"), ("./usr/bin/x", b"2"), "aa and bb both bring /usr/bin/x"),
    "file and directory": (("./usr/x", b"1"), directory("./usr/x"), "aa and bb both bring /usr/x"),
    "file and below": (("./usr/x", b"1"), ("./usr/x/y", b"2"), "below usr/x"),
    "link and below": (link("./etc/x", "/etc"), ("./etc/x/passwd", b"2"), "below etc/x"),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_two_things_in_one_place_are_refused(case: str, tmp_path: Path) -> None:
    one, other, words = CONFLICTS[case]
    made = [debs.write(tmp_path, "aa", one), debs.write(tmp_path, "bb", other)]
    for archives in (made, made[::-1]):
        with pytest.raises(Permanent, match=words):
            debian.package_tree(archives)


def test_two_versions_of_one_package_are_refused_and_one_archive_twice_is_not(tmp_path: Path) -> None:
    one, other = debs.write(tmp_path / "1", "aa"), debs.write(tmp_path / "2", "aa", ("./x", b"2"))
    assert debian.package_tree([one, one]).get("var/lib/dpkg/status.d/aa") is not None
    with pytest.raises(Permanent, match="aa is given twice"):
        debian.package_tree([one, other])


def test_records_for_scanners(tmp_path: Path) -> None:
    tree = debian.package_tree([debs.write(tmp_path, "libfoo1", ("./usr/x", b"1"))])
    record = content(tree, "var/lib/dpkg/status.d/libfoo1")
    assert record == debs.control("libfoo1")
    assert content(tree, "var/lib/dpkg/status.d/libfoo1.md5sums") == b"0  usr/x\n"


def test_exclusions_keep_licences(tmp_path: Path) -> None:
    path = debs.write(
        tmp_path,
        "aa",
        directory("./usr/share/doc/aa"),
        ("./usr/share/doc/aa/copyright", b"free"),
        ("./usr/share/doc/aa/changelog.gz", b"long"),
        link("./usr/share/doc/bb", "aa"),
        ("./usr/share/man/man1/aa.1.gz", b"man"),
        ("./usr/bin/aa", b"aa"),
    )
    tree = debian.package_tree([path], ("usr/share/doc/*", "usr/share/man/*"))
    shown = {each for each, _ in tree.entries() if not each.startswith("var/")}
    assert shown == {"usr/share/doc/aa/copyright", "usr/share/doc/bb", "usr/bin/aa"}


def test_order_and_place_of_the_archives_mean_nothing(tmp_path: Path) -> None:
    def all_of(folder: str, names: list[str]) -> list[tuple[str, object]]:
        archives = [debs.write(tmp_path / folder, name, (f"./usr/{name}", name.encode())) for name in names]
        tree = debian.package_tree(archives)
        rootfs.complete(tree, "0:0")
        return [
            (path, (content(tree, path), node.mode) if isinstance(node, File) else node)
            for path, node in tree.entries()
        ]

    assert all_of("one", ["aa", "bb", "cc"]) == all_of("two", ["cc", "aa", "bb"])


def test_unpacking_makes_a_root(tmp_path: Path) -> None:
    archive = debs.write(
        tmp_path,
        "aa",
        directory("./root", 0o700),
        directory("./usr/locked", 0o555),
        ("./usr/locked/x", b"x"),
        entry("./usr/bin/su", mode=0o4755),
        ("./bin/deep/er/file", b"deep"),
    )
    before = os.umask(0o077)
    try:
        debian.unpack([archive], tmp_path / "out")
    finally:
        os.umask(before)
    out = tmp_path / "out"
    assert (out / "bin").readlink() == Path("usr/bin")
    assert (out / "bin/deep/er/file").read_bytes() == b"deep"
    assert (out / "usr/bin/su").stat().st_mode & 0o7777 == 0o755
    assert (out / "usr/bin/deep/er").stat().st_mode & 0o7777 == 0o755
    assert (out / "root").stat().st_mode & 0o7777 == 0o700
    assert (out / "usr/locked").stat().st_mode & 0o7777 == 0o755  # so that whoever made it can remove it
    assert b"root:x:0:0:" in (out / "etc/passwd").read_bytes()
    with pytest.raises(Permanent, match="not empty"):
        debian.unpack([archive], out)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    one = debs.write(tmp_path, "aa", link("./usr/door", str(outside)), directory("./usr/door2"))
    other = debs.write(tmp_path, "bb", ("./usr/door/x", b"x"))
    with pytest.raises(Permanent):
        debian.unpack([one, other], tmp_path / "out")
    assert list(outside.iterdir()) == []


def test_a_missing_archive_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="cannot be opened"):
        debian.package_tree([tmp_path / "none.deb"])


def test_a_full_disk_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = debs.write(tmp_path, "aa", ("./usr/x", b"x"))
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Transient, match="free some and run again"):
        debian.package_tree([path])


def test_a_cache_that_cannot_be_written_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = debs.write(tmp_path, "aa", ("./usr/x", b"x"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert content(debian.package_tree([path]), "usr/x") == b"x"
    assert [each.name for each in tmp_path.iterdir()] == ["aa.deb"]
