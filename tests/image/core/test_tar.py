"""The archive: read back by Python's tarfile and by GNU tar, and the same bytes for the same tree."""

from __future__ import annotations

import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.image.tar import BLOCK, blocks
from shared.image.tree import Content, Directory, File, Link, Node, Tree
from shared.image.ustar import FILE, header


def content(data: bytes, size: int | None = None, same: str = "") -> Content:
    return Content(len(data) if size is None else size, lambda: io.BytesIO(data), same)


def tree(nodes: Iterable[tuple[str, Node]]) -> Tree:
    made = Tree()
    for path, node in nodes:
        made.add(path, node)
    return made


def archive(made: Tree) -> bytes:
    return b"".join(blocks(made))


PART = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=110
).filter(lambda part: part not in (".", "..") and len(part.encode()) <= 250)
PATH = st.lists(PART, min_size=1, max_size=4).map("/".join)
MODE = st.sampled_from([0o644, 0o755, 0o4755, 0o1777, 0o600])
NODE: st.SearchStrategy[Node] = st.one_of(
    st.builds(File, st.binary(max_size=1500).map(content), MODE),
    st.builds(Link, PATH),
    st.builds(Directory, MODE),
)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Node]:
    """Nodes that fit into one tree: what would conflict is left out."""
    kept, made = {}, Tree()
    for path, node in draw(st.dictionaries(PATH, NODE, max_size=12)).items():
        try:
            made.add(path, node)
        except Permanent:
            continue
        kept[path] = node
    return kept


def expected(nodes: dict[str, Node]) -> dict[str, Node]:
    whole: dict[str, Node] = dict(nodes)
    for path in nodes:
        parts = path.split("/")
        for end in range(1, len(parts)):
            whole.setdefault("/".join(parts[:end]), Directory())
    return whole


@given(trees())
@example({"a/b": File(content(b"1"), 0o644), "a-b": Link("a"), "a.b": Directory()})
@example(
    {"n" * 100 + "/" + "m" * 101: File(content(b"1"), 0o644), "d" * 99: Directory(), "e" * 100: Directory()}
)
@example({"p" * 155 + "/" + "n" * 100: File(content(b""), 0o644), "q" * 156 + "/x": Link("y" * 101)})
def test_tarfile_reads_back_what_was_put_in(nodes: dict[str, Node]) -> None:
    whole = expected(nodes)
    with tarfile.open(fileobj=io.BytesIO(archive(tree(nodes.items())))) as read:
        members = read.getmembers()
        assert [m.name.encode() for m in members] == sorted(path.encode() for path in whole)
        for member in members:
            node = whole[member.name]
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 0)
            match node:
                case Directory():
                    assert member.isdir()
                    assert member.mode == node.mode
                case Link():
                    assert member.issym()
                    assert member.linkname == node.target
                case File():
                    stream = read.extractfile(member)
                    assert stream is not None
                    with node.content.open() as wanted:
                        assert stream.read() == wanted.read()
                    assert member.mode == node.mode


@given(trees(), st.randoms(use_true_random=False))
def test_the_order_of_adding_means_nothing(nodes: dict[str, Node], chance: random.Random) -> None:
    shuffled = list(nodes.items())
    chance.shuffle(shuffled)
    assert archive(tree(shuffled)) == archive(tree(nodes.items()))


@given(
    st.text("ab/", min_size=1, max_size=400)
    .map(lambda t: "/".join(p for p in t.split("/") if p))
    .filter(bool)
)
def test_a_pax_header_only_where_a_name_does_not_split(path: str) -> None:
    fits = len(path) <= 100 or any(
        slash <= 155 and 0 < len(path) - slash - 1 <= 100 for slash, c in enumerate(path) if c == "/"
    )
    assert (b"@PaxHeader" in header(path.encode(), FILE, 0o644)) is not fits


def test_gnu_tar_agrees(tmp_path: Path) -> None:
    deep = "/".join(["directory"] * 30)
    made = tree(
        [
            ("usr/bin/tool", File(content(b"#!/bin/sh\n", same="1"), 0o755)),
            ("usr/bin/alias", File(content(b"#!/bin/sh\n", same="1"), 0o755)),
            ("usr/sbin/tool", Link("../bin/tool")),
            (f"{deep}/{'x' * 120}", File(content(b"deep"), 0o644)),
            ("Főtanúsítvány.crt", File(content(b"pem"), 0o644)),
            ("tmp", Directory(0o1777)),
            ("big", File(content(bytes(range(256)) * 20_000), 0o600)),
            ("link", Link("t" * 300)),
        ]
    )
    (tmp_path / "a.tar").write_bytes(archive(made))
    (tmp_path / "root").mkdir()
    said = subprocess.run(
        ["tar", "-xvvpf", tmp_path / "a.tar", "-C", tmp_path / "root", "--no-same-owner"],
        capture_output=True, text=True, check=True, env={"TZ": "UTC", "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert said.stderr == ""
    assert "-rwxr-xr-x 0/0" in said.stdout
    assert "1970-01-01 00:00" in said.stdout
    assert "usr/bin/tool link to usr/bin/alias" in said.stdout
    root = tmp_path / "root"
    assert (root / "usr/bin/tool").samefile(root / "usr/bin/alias")
    assert (root / deep / ("x" * 120)).read_bytes() == b"deep"
    assert (root / "Főtanúsítvány.crt").read_bytes() == b"pem"
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (root / "big").stat().st_size == 256 * 20_000
    assert str((root / "link").readlink()) == "t" * 300


def test_the_locale_and_the_umask_mean_nothing(tmp_path: Path) -> None:
    program = (
        "import hashlib, io, os\nfrom shared.image.tree import *\nfrom shared.image.tar import blocks\n"
        "os.umask(0o077)\nt = Tree()\nt.add('\\u011f/\\u0131', Link('\\u015f'))\n"
        "print(hashlib.sha256(b''.join(blocks(t))).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-X", "utf8=0", "-c", program], capture_output=True, text=True, check=True,
            env={"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONHASHSEED": seed, "TZ": zone},
        ).stdout
        for locale, seed, zone in [("C.UTF-8", "1", "UTC"), ("tr_TR.ISO-8859-9", "2", "Asia/Tokyo"), ("C", "3", "")]
    }  # fmt: skip
    assert len(said) == 1


def test_the_stream_comes_in_even_blocks_and_holds_one_of_them() -> None:
    made = tree(
        [("big", File(content(b"x" * (3 * BLOCK + 5)), 0o644)), ("small", File(content(b"y"), 0o644))]
    )
    assert [len(block) for block in blocks(made)][:3] == [BLOCK] * 3
    reads: list[int] = []

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            reads.append(size)
            return bytes(size)

    huge = tree([("huge", File(Content(2**40, Endless), 0o644))])
    stream = blocks(huge)
    for _ in range(5):
        next(stream)
    assert len(reads) <= 6
    assert max(reads) <= BLOCK


@pytest.mark.parametrize("size", [0, 4, 6, 4096])
def test_a_size_that_is_not_kept_fails(size: int) -> None:
    with pytest.raises(Permanent, match=r"usr/x should have .* bytes"):
        archive(tree([("usr/x", File(content(b"12345", size), 0o644))]))


def test_a_stream_that_trickles_is_read_to_its_end() -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or 1, 3))

    made = tree([("x", File(Content(10, lambda: Trickle(b"0123456789")), 0o644))])
    assert archive(made) == archive(tree([("x", File(content(b"0123456789"), 0o644))]))


def test_only_permission_bits_of_a_mode_are_written() -> None:
    made = tree([("x", File(content(b""), 0o100644)), ("d", Directory(0o40755))])
    assert archive(made) == archive(tree([("x", File(content(b""), 0o644)), ("d", Directory(0o755))]))


def test_one_file_with_two_modes_fails() -> None:
    nodes = [
        ("a", File(content(b"1", same="i"), 0o644)),
        ("b", File(content(b"1", same="i"), 0o755)),
    ]
    with pytest.raises(Permanent, match="one file, but with two modes"):
        archive(tree(nodes))


def test_a_long_name_must_be_utf8() -> None:
    with pytest.raises(Permanent, match="not UTF-8"):
        archive(tree([("\udcff" * 101, Link("x"))]))


def test_an_unreadable_file_is_one_sentence(tmp_path: Path) -> None:
    gone = Content(1, lambda: (tmp_path / "gone").open("rb"))
    with pytest.raises(Permanent, match=r"^usr/x cannot be read: No such file or directory\.$"):
        archive(tree([("usr/x", File(gone, 0o644))]))


def test_a_file_beyond_octal_carries_its_size_in_pax() -> None:
    made = header(b"huge", FILE, 0o644, 8**11)
    with tarfile.open(fileobj=io.BytesIO(made), mode="r|") as read:
        assert read.firstmember is not None
        assert (read.firstmember.name, read.firstmember.size) == ("huge", 8**11)


CONFLICTS = [
    [("a", Link("x")), ("a", Link("x"))],
    [("a", File(content(b"1"), 0o644)), ("a/b", Directory())],
    [("a/b", Directory()), ("a", Link("x"))],
    [("a", Directory(0o755)), ("a", Directory(0o700))],
    [("../a", Directory())],
    [("/a", Directory())],
    [("a//b", Directory())],
]


@pytest.mark.parametrize("nodes", CONFLICTS)
def test_conflicting_and_escaping_paths_fail(nodes: list[tuple[str, Node]]) -> None:
    with pytest.raises(Permanent):
        tree(nodes)


def test_known_archive() -> None:
    """The bytes themselves are a promise: another digest here is another digest of every image."""
    made = tree(
        [
            ("usr/bin/a", File(content(b"hello\n", same="1"), 0o755)),
            ("usr/bin/b", File(content(b"hello\n", same="1"), 0o755)),
            ("bin", Link("usr/bin")),
            ("/".join(["p" * 60] * 6), File(content(b"long"), 0o4755)),
        ]
    )
    assert hashlib.sha256(archive(made)).hexdigest() == (
        "0f3ef7b1d85a46b4eaaed95d960bf08cf4ae2548b4b7d3cd4132157e63de47b7"
    )
