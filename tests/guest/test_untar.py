"""Archives that nobody may trust: what is plain comes out as it was, anything else leaves nothing behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.guest import untar
from shared.guest.failure import GuestError
from tests.support.interpreters import file, link

Fill = Callable[[tarfile.TarFile], object]


def packed(*fill: Fill) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in fill:
            each(tar)
    return buffer.getvalue()


def special(name: str, kind: bytes) -> Fill:
    def fill(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.devmajor, member.devminor = kind, 1, 3
        tar.addfile(member)

    return fill


def folder(name: str) -> Fill:
    def fill(tar: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.mode = tarfile.DIRTYPE, 0o7777
        tar.addfile(member)

    return fill


def plain(name: str, content: bytes = b"x", mode: int = 0o644) -> Fill:
    return lambda tar: file(tar, name, content, mode)


def to(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Fill:
    return lambda tar: link(tar, name, target, kind)


def unpack(tmp_path: Path, content: bytes) -> untar.Held:
    archive = tmp_path / "archive"
    archive.write_bytes(content)
    return untar.unpack(archive, "python", tmp_path / "out")


HONEST = packed(
    folder("./python/"),
    plain("./python/bin/python3.12", b"binary", 0o6777),
    to("python/bin/python3", "python3.12"),
    to("python/bin/same", "python/bin/python3.12", tarfile.LNKTYPE),
    plain("python/lib/a file.py"),
    to("python/lib/up", "../bin/../lib"),
    to("python/lib/gone", "nowhere"),
)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_an_honest_archive(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    held = unpack(tmp_path, pack(HONEST))
    out, digest = tmp_path / "out", "sha256:" + hashlib.sha256(b"binary").hexdigest()
    assert held == {
        "bin/python3.12": digest,
        "bin/python3": "-> python3.12",
        "bin/same": digest,
        "lib/a file.py": "sha256:" + hashlib.sha256(b"x").hexdigest(),
        "lib/up": "-> ../bin/../lib",
        "lib/gone": "-> nowhere",
    }
    assert (out / "bin/python3").read_bytes() == (out / "bin/same").read_bytes() == b"binary"
    modes = {path: stat.S_IMODE((out / path).lstat().st_mode) for path in ("bin/same", "lib/a file.py", ".")}
    assert modes == {"bin/same": 0o755, "lib/a file.py": 0o644, ".": 0o755}
    assert (out / "lib/a file.py").stat().st_mtime == 1_700_000_000
    assert {path.name for path in tmp_path.iterdir()} == {"archive", "out"}


def test_what_was_there_before_goes(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/old").touch()
    unpack(tmp_path, packed(plain("python/new")))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


HOSTILE: dict[str, tuple[tuple[Fill, ...], str]] = {
    "a climbing path": ((plain("python/../../evil"),), "leads out of it"),
    "an absolute path": ((plain("/python/evil"),), "leads out of it"),
    "a path beside": ((plain("evil/x"),), "outside its directory python/"),
    "a path like it": ((plain("python2/x"),), "outside its directory python/"),
    "a terminal's word": ((plain("python/\x1b[2Jx"),), "no plain name"),
    "no name": ((plain("python//x"),), "no plain name"),
    "a file as the directory": ((plain("python"),), "twice"),
    "a device": ((special("python/null", tarfile.CHRTYPE),), "no file, directory or link"),
    "a disk": ((special("python/sda", tarfile.BLKTYPE),), "no file, directory or link"),
    "a pipe": ((special("python/pipe", tarfile.FIFOTYPE),), "no file, directory or link"),
    "a link out": ((to("python/evil", "../../../etc/shadow"),), "the link 'evil'"),
    "a link to the root": ((to("python/evil", "/etc/shadow"),), "the link 'evil'"),
    "a link out and back": ((to("python/evil", "../out.partial/x"),), "the link 'evil'"),
    "a link out by another": (
        (plain("python/a/b/c"), to("python/deep", "a/b"), to("python/x/evil", "../deep/../../../../etc")),
        "leads out of it",
    ),
    "two links that climb together": (
        (folder("python/a/b"), to("python/z", "a/b/l/../.."), to("python/a/b/l", "../..")),
        "the link 'z'",
    ),
    "a file through a link": (
        (to("python/d", "lib"), folder("python/lib"), plain("python/d/evil")),
        "below 'd', which is no directory",
    ),
    "a directory through a link": ((to("python/d", "lib"), folder("python/d/sub")), "no directory"),
    "a directory over a link": ((to("python/d", "lib"), folder("python/d")), "no directory"),
    "a file over a link": ((to("python/d", "lib"), plain("python/d")), "twice"),
    "a file over a directory": ((folder("python/d"), plain("python/d")), "twice"),
    "a file twice": ((plain("python/d"), plain("python/d", b"other")), "twice"),
    "a hard link out": ((to("python/evil", "/etc/passwd", tarfile.LNKTYPE),), "leads out of it"),
    "a hard link up": ((to("python/evil", "python/../../x", tarfile.LNKTYPE),), "leads out of it"),
    "a hard link to a link": (
        (to("python/s", "x"), to("python/evil", "python/s", tarfile.LNKTYPE)),
        "no file that came before it",
    ),
    "a hard link to nothing": (
        (to("python/evil", "python/x", tarfile.LNKTYPE),),
        "no file that came before it",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_leaves_nothing(tmp_path: Path, name: str) -> None:
    fill, words = HOSTILE[name]
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(GuestError, match=words) as caught:
        unpack(work, packed(plain("python/good"), *fill))
    said = str(caught.value)
    assert said.isprintable()
    assert said.endswith("it is not unpacked.")
    assert [path.name for path in work.iterdir()] == ["archive"]
    assert [path.name for path in tmp_path.iterdir()] == ["work"]


def test_an_absolute_link_into_the_tree_itself(tmp_path: Path) -> None:
    """While it is unpacked it leads inside, and nowhere afterwards: whoever has that name later has the link."""
    with pytest.raises(GuestError, match="the link 'evil'"):
        unpack(tmp_path, packed(to("python/evil", f"{tmp_path}/out.partial/x")))


@pytest.mark.parametrize(("limit", "value"), [("MOST", 2), ("MAX_BYTES", 2)])
def test_there_is_an_end_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(untar, limit, value)
    unpack(tmp_path, packed(plain("python/a"), plain("python/b")))
    with pytest.raises(GuestError, match="holds more than"):
        unpack(tmp_path, packed(plain("python/a"), plain("python/b"), plain("python/c")))
    assert not (tmp_path / "out").exists()


def test_a_sparse_file(tmp_path: Path) -> None:
    """A header of a kilobyte may stand for terabytes."""
    member = tarfile.TarInfo("python/x")
    member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": "5", "GNU.sparse.numblocks": "1"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(GuestError, match="no file, directory or link"):
        unpack(tmp_path, buffer.getvalue())


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04 a zip", gzip.compress(b"no tar"), os.urandom(2048)],
    ids=["empty", "a zip", "no tar", "noise"],
)
def test_no_archive_at_all(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(GuestError, match="is no tar archive that Python 3"):
        unpack(tmp_path, content)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_an_archive_that_breaks_off(tmp_path: Path) -> None:
    whole = gzip.compress(packed(plain("python/x", os.urandom(1 << 20))))
    with pytest.raises(GuestError, match="cannot be unpacked: "):
        unpack(tmp_path, whole[: len(whole) // 2])
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_zstd_where_python_cannot_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = {kind: method for kind, method in tarfile.TarFile.OPEN_METH.items() if kind != "zst"}
    monkeypatch.setattr(tarfile.TarFile, "OPEN_METH", without)
    with pytest.raises(GuestError, match=r"compressed with zstd, .* name the \.tar\.gz of the same build"):
        unpack(tmp_path, b"\x28\xb5\x2f\xfd" + bytes(100))
