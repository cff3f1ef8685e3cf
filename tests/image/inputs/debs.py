"""Debian archives made by hand, sound unless a test spoils them."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import zstandard

from shared.image.tree import File, Tree

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": lambda data: zstandard.ZstdCompressor(3).compress(data),
}
Entry = tuple[str, bytes] | tarfile.TarInfo
"""A file's path and content, or a header without content."""


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o755) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def directory(name: str, mode: int = 0o755) -> tarfile.TarInfo:
    return entry(name, tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str) -> tarfile.TarInfo:
    return entry(name, tarfile.SYMTYPE, target, 0o777)


def tar(entries: Iterable[Entry], form: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for each in entries:
            if isinstance(each, tarfile.TarInfo):
                archive.addfile(each)
            else:
                info = tarfile.TarInfo(each[0])
                info.size, info.mode = len(each[1]), 0o644
                archive.addfile(info, io.BytesIO(each[1]))
    return buffer.getvalue()


def ar(members: Iterable[tuple[str, bytes]]) -> bytes:
    made = b"!<arch>\n"
    for name, data in members:
        made += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode()
        made += data + b"\n" * (len(data) % 2)
    return made


def control(name: str, version: str = "1.0-1", **fields: str) -> bytes:
    more = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in fields.items())
    return (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}Description: test\n long\n".encode()
    )


def deb(
    name: str,
    entries: Iterable[Entry] = (),
    suffix: str = ".gz",
    data: bytes | None = None,
    fields: Mapping[str, str] | None = None,
) -> bytes:
    """A package; `data` takes the place of the data member's bytes."""
    pack = COMPRESSORS[suffix]
    inside: list[Entry] = [("./control", control(name, **(fields or {}))), ("./md5sums", b"0  usr/x\n")]
    body = data if data is not None else pack(tar([directory("./"), *entries]))
    return ar(
        [
            ("debian-binary", b"2.0\n"),
            (f"control.tar{suffix}", pack(tar(inside))),
            (f"data.tar{suffix}", body),
        ]
    )


def write(folder: Path, name: str, *entries: Entry, suffix: str = ".gz", data: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.deb"
    path.write_bytes(deb(name, entries, suffix, data))
    return path


def content(tree: Tree, path: str) -> bytes:
    node = tree.get(path)
    assert isinstance(node, File), (path, node)
    with node.content.open() as stream:
        data = stream.read()
    assert len(data) == node.content.size
    return data
