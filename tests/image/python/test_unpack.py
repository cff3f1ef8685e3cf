"""Layers over layers as one root, and whatever a hostile one tries."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from shared.errors import Permanent
from shared.image.oci import blob_path
from shared.image.plan import Plan, Ready
from shared.image.unpack import unpack
from tests.image.core.support import CONFIG, layer, made, sample
from tests.image.core.support import file as plain

Member = tuple[str, str | bytes | None]
"""A name, and bytes of a file, None for a directory, or `-> target`, `= target` for a link, `!kind` for a device."""


def member(name: str, what: str | bytes | None, mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = mode
    if isinstance(what, bytes):
        info.size = len(what)
        return info, what
    if what is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    elif what.startswith("-> "):
        info.type, info.linkname = tarfile.SYMTYPE, what[3:]
    elif what.startswith("= "):
        info.type, info.linkname = tarfile.LNKTYPE, what[2:]
    else:
        info.type = {"!fifo": tarfile.FIFOTYPE, "!chr": tarfile.CHRTYPE, "!blk": tarfile.BLKTYPE}[what]
    return info, b""


def ready(tmp: Path, name: str, members: Iterable[Member], *, lie: bool = False) -> Ready:
    """A layer that somebody else made of these members. `lie`: its diff_id is of other bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for each, what in members:
            info, data = member(each, what, 0o4755 if each.endswith("setuid") else 0o644)
            archive.addfile(info, io.BytesIO(data))
    packed = gzip.compress(stream.getvalue(), 1, mtime=0)
    blob = tmp / f"{name}.tar.gz"
    blob.write_bytes(packed)
    content = b"other" if lie else stream.getvalue()
    return Ready(
        name,
        blob,
        f"sha256:{hashlib.sha256(packed).hexdigest()}",
        f"sha256:{hashlib.sha256(content).hexdigest()}",
        "application/vnd.oci.image.layer.v1.tar+gzip",
    )


def unpacked(tmp: Path, *layers: Iterable[Member]) -> Path:
    parts = tuple(ready(tmp, f"layer{number}", members) for number, members in enumerate(layers))
    made(tmp, plan=Plan(parts, CONFIG))
    unpack(tmp / "out", tmp / "root")
    return tmp / "root"


def refused(tmp: Path, words: str, *layers: Iterable[Member]) -> None:
    before = {path for path in tmp.parent.rglob("*") if tmp not in path.parents}
    with pytest.raises(Permanent, match=words):
        unpacked(tmp, *layers)
    assert {path for path in tmp.parent.rglob("*") if tmp not in path.parents} == before


def tree(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = "/" if path.is_dir() else path.read_text()
    return found


@pytest.mark.parametrize("codec", ["gzip", "zstd", "stored"])
def test_every_codec(tmp_path: Path, codec: str) -> None:
    made(tmp_path, plan=sample(), codec=codec)  # type: ignore[arg-type]
    image = unpack(tmp_path / "out", tmp_path / "root")
    assert [each.name for each in image.layers] == ["base", "app"]
    assert (tmp_path / "root/usr/bin/tool").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "root/sample/main.py").read_bytes() == b"print(1)\n"
    assert (tmp_path / "root/bin").readlink() == Path("usr/bin")


def test_upper_layers_win_and_whiteouts_hide(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        [
            ("a", None),
            ("a/old", b"1"),
            ("a/kept", b"2"),
            ("b", None),
            ("b/x", b"3"),
            ("b/sub/y", b"4"),
            ("file", b"5"),
        ],
        [
            ("./a/.wh.old", b""),
            ("a/kept", b"new"),
            ("b/own", b"6"),
            ("b/.wh..wh..opq", b""),
            ("file", None),
            ("file/z", b"7"),
        ],
        [(".wh.nothing", b""), ("c/.wh..wh..opq", b""), ("c/d", b"8"), ("file", b"9")],
    )
    assert tree(root) == {
        "a": "/",
        "a/kept": "new",
        "b": "/",
        "b/own": "6",
        "c": "/",
        "c/d": "8",
        "file": "9",
    }


def test_a_whiteout_hides_only_what_lies_below(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path,
        [("d", None), ("d/old", b"1"), ("d/deep/old", b"1")],
        [("d/new", b"2"), (".wh.d", b""), ("d/deep/new", b"3")],
    )
    assert tree(root) == {"d": "/", "d/deep": "/", "d/deep/new": "3", "d/new": "2"}


def test_links_on_the_way_are_the_images_own(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = unpacked(
        tmp_path,
        [
            ("lib", "-> usr/lib"),
            ("abs", "-> /usr/lib"),
            ("up", "-> ../../../../usr/lib"),
            ("host", f"-> {outside}"),
        ],
        [("lib/a", b"1"), ("abs/b", b"2"), ("up/c", b"3"), ("host/d", b"4"), ("usr/lib/e", "= lib/a")],
    )
    found = tree(root)
    assert {name: found[f"usr/lib/{name}"] for name in "abce"} == {"a": "1", "b": "2", "c": "3", "e": "1"}
    assert not any(outside.iterdir())
    assert found[f"{str(outside)[1:]}/d"] == "4"
    assert (root / "usr/lib/e").stat().st_ino == (root / "usr/lib/a").stat().st_ino


def test_a_directory_takes_a_links_place(tmp_path: Path) -> None:
    root = unpacked(tmp_path, [("usr/x", b"1"), ("d", "-> usr")], [("d", None), ("d/y", b"2")])
    assert tree(root) == {"d": "/", "d/y": "2", "usr": "/", "usr/x": "1"}


def test_a_file_does_not_write_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    root = unpacked(tmp_path, [("f", f"-> {victim}")], [("f", b"evil")])
    assert victim.read_text() == "safe"
    assert tree(root) == {"f": "evil"}


def test_a_hard_link_is_not_written_through(tmp_path: Path) -> None:
    assert tree(unpacked(tmp_path, [("a", b"1"), ("b", "= a")], [("b", b"2")])) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "a//b", "./../x"])
def test_names_that_lead_out(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    refused(inner, "a path that leads out of the image", [(name, b"x")])


@pytest.mark.parametrize("name", [".wh...", ".wh..", ".wh."])
def test_whiteouts_that_lead_out(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    refused(inner, "only plain relative paths", [("a/x", b"")], [(f"a/{name}", b"")])


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "nothing", "dir", "link"])
def test_hard_links_that_lead_out(tmp_path: Path, target: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "outside").write_text("secret")
    members: list[Member] = [("dir", None), ("link", "-> /etc/passwd"), ("evil", f"= {target}")]
    refused(inner, "leads out of the image|has a hard link to", members)


@pytest.mark.parametrize("kind", ["!fifo", "!chr", "!blk"])
def test_devices(tmp_path: Path, kind: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    refused(inner, "is no file, link or directory", [("dev/x", kind)])


def test_links_in_a_circle(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    refused(inner, "links lead in a circle", [("a", "-> b"), ("b", "-> a"), ("a/x", b"")])


def test_a_path_below_a_file(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    refused(inner, "which is no directory", [("a", b""), ("a/x", b"")])


def test_set_id_bits_are_dropped(tmp_path: Path) -> None:
    root = unpacked(tmp_path, [("setuid", b"x")])
    assert (root / "setuid").stat().st_mode & 0o7777 == 0o755


def test_a_layer_that_is_not_what_the_configuration_says(tmp_path: Path) -> None:
    made(tmp_path, plan=Plan((ready(tmp_path, "layer", [("a", b"1")], lie=True),), CONFIG))
    with pytest.raises(Permanent, match="The layer layer inflates to something else than its image says"):
        unpack(tmp_path / "out", tmp_path / "root")


def test_a_blob_that_was_changed(tmp_path: Path) -> None:
    built = made(tmp_path)
    blob = blob_path(tmp_path / "out", built.layers[1].digest)
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    with pytest.raises(Permanent, match="was changed"):
        unpack(tmp_path / "out", tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "root/x").write_text("mine")
    with pytest.raises(Permanent, match="is not empty"):
        unpack(tmp_path / "out", tmp_path / "root")


def test_directories_without_permissions_can_be_removed(tmp_path: Path) -> None:
    from shared.image.tree import Directory

    made(tmp_path, plan=Plan((layer("l", {"d": Directory(0o555), "d/f": plain(b"x")}),), CONFIG))
    unpack(tmp_path / "out", tmp_path / "root")
    assert (tmp_path / "root/d").stat().st_mode & 0o700 == 0o700
    assert os.access(tmp_path / "root/d", os.W_OK)
