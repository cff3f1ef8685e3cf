"""Makes one root file system of an image's layers.

Layer rules: https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md. The layers become a tree in memory
(names only), in which links are followed inside the image and nowhere else; that tree is written as one tar to a
process that has the guest's ids and no more. Checks:
1. a layer's uncompressed bytes have the configuration's diff_id;
2. no name leads out of the root, and nothing lies below a file;
3. ids fit the guest's range; no devices (a user namespace cannot make them, and /dev is its own);
4. as many entries, and as many bytes, as a machine can bear.
"""

import gzip
import hashlib
import os
import tarfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Protocol, cast

import zstandard

from shared.emulators.confidential_space.pull import Layer
from shared.emulators.vm import disk, idmap
from shared.errors import Permanent

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_ENTRIES_LIMIT, _LINKS_LIMIT, _DEPTH_LIMIT = 2_000_000, 40, 200
_BLOCK, _ERRORS = 2**20, "surrogateescape"


class Readable(Protocol):
    """What is needed of a stream of bytes."""

    def read(self, size: int, /) -> bytes: ...


@dataclass
class _Node:
    """A place in the tree. `source`: layer and number of the entry in it; directories have `children`."""

    info: tarfile.TarInfo | None
    source: tuple[int, int]
    children: "dict[str, _Node] | None" = None


@dataclass
class _Root:
    top: _Node = field(default_factory=lambda: _Node(None, (-1, -1), {}))
    entries: int = 0

    def add(self, info: tarfile.TarInfo, source: tuple[int, int]) -> None:
        parts = _parts(info.name)
        if not parts:
            return  # the root itself
        self.entries += 1
        if self.entries > _ENTRIES_LIMIT:  # check 4
            raise Permanent(f"the image cannot be unpacked: it has more than {_ENTRIES_LIMIT} entries")
        parent, name = self._directory(parts[:-1], source), parts[-1]
        if name == _OPAQUE:
            _forget_lower(parent, source[0])
        elif name.startswith(_WHITEOUT):
            parent.pop(name.removeprefix(_WHITEOUT), None)
        elif info.isdir():
            before = parent.get(name)
            children = before.children if before and before.children is not None else {}
            parent[name] = _Node(info, source, children)
        elif info.islnk():
            parent[name] = self._linked(info)
        elif info.isreg() or info.issym() or info.isfifo():
            parent[name] = _Node(info, source)
        # devices are left out: check 3

    def _linked(self, info: tarfile.TarInfo) -> _Node:
        """A second name of a file that the image has by now."""
        *places, name = _parts(info.linkname) or [""]
        node = self._directory(places, (-1, -1)).get(name)
        if node is None or node.children is not None:
            raise Permanent(
                f"the image cannot be unpacked: {info.name[:200]!r} is a hard link to {info.linkname[:200]!r}, "
                "which is no file in it"
            )
        return _Node(node.info, node.source)

    def _directory(self, parts: Sequence[str], source: tuple[int, int]) -> "dict[str, _Node]":
        """The children of the directory `parts`, made if it is missing; links lead from the image's root (check 2)."""
        walked: list[_Node] = [self.top]
        pending, followed = list(reversed(parts)), 0
        while pending:
            name = pending.pop()
            if name == "..":
                walked = walked[:-1] or [self.top]
                continue
            children = walked[-1].children
            assert children is not None  # noqa: S101 - only directories are walked; for the type checker
            node = children.setdefault(name, _Node(None, source, {}))
            if node.children is not None:
                walked.append(node)
                continue
            if node.info is None or not node.info.issym() or followed == _LINKS_LIMIT:
                raise Permanent(
                    f"the image cannot be unpacked: {'/'.join(parts)[:200]!r} leads through what is no directory"
                )
            followed += 1
            target = node.info.linkname
            if target.startswith("/"):
                walked = [self.top]
            pending += [part for part in reversed(target.split("/")) if part not in ("", ".")]
        found = walked[-1].children
        assert found is not None  # noqa: S101 - likewise
        return found


def unpack(layers: Sequence[Layer], directory: Path) -> None:
    """Write the file system of `layers` into the empty `directory`, which becomes the guest's. Permanent if it is
    malformed or does not fit the disk."""
    root = _Root()
    for number, layer in enumerate(layers):
        with _reading(layer) as archive:
            for entry, info in enumerate(archive):
                root.add(info, (number, entry))
    idmap.own(directory)
    reader, writer = os.pipe()
    failures: list[Exception] = []

    def write() -> None:
        try:
            with os.fdopen(writer, "wb") as stream:
                _write(root, layers, stream)
        except Exception as error:  # raised again below, in the caller's thread
            failures.append(error)

    feeder = threading.Thread(target=write, name="unpack", daemon=True)
    feeder.start()
    try:
        with os.fdopen(reader, "rb") as stream:
            idmap.run_mapped(["tar", "-x", "-p", "--numeric-owner", "-f", "-"], directory, stdin=stream)
    except Permanent as error:
        feeder.join()
        raise Permanent(f"the image cannot be unpacked: {failures[0] if failures else error}") from None
    feeder.join()
    if failures:
        raise Permanent(f"the image cannot be unpacked: {failures[0]}") from failures[0]


def remove(directory: Path) -> None:
    """Delete what `unpack` wrote, with the guest's rights."""
    if directory.is_dir():
        idmap.run_mapped(["find", ".", "-mindepth", "1", "-delete"], directory)
        directory.rmdir()


class _Hashing:
    """A stream that knows what it has read, and how much may come."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream, self._left = stream, limit
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        self._left -= len(data)
        if self._left < 0:  # check 4
            raise Permanent("the image cannot be unpacked: it does not fit the disk; free some space")
        return data


@contextmanager
def _reading(layer: Layer) -> Iterator[tarfile.TarFile]:
    """The layer's archive; when it has been read, its bytes are checked (check 1)."""
    room = max(0, disk.free(layer.path.parent) - disk.RESERVE)
    try:
        with layer.path.open("rb") as file, _inflated(file, layer.media_type) as stream:
            hashing = _Hashing(stream, room)
            source = cast("IO[bytes]", hashing)  # in stream mode it is read, and nothing else
            with tarfile.open(fileobj=source, mode="r|", encoding="utf-8", errors=_ERRORS) as archive:
                yield archive
            while hashing.read(_BLOCK):
                pass
    except (tarfile.TarError, EOFError, OSError, ValueError, zstandard.ZstdError) as error:
        raise Permanent(f"the image cannot be unpacked: a layer is malformed: {error}") from None
    found = f"sha256:{hashing.digest.hexdigest()}"
    if found != layer.diff_id:
        raise Permanent(
            f"the image cannot be unpacked: a layer's content is {found}, but the configuration says {layer.diff_id}"
        )


@contextmanager
def _inflated(file: IO[bytes], media_type: str) -> Iterator[Readable]:
    if media_type.endswith(("+gzip", ".gzip")):
        with gzip.GzipFile(fileobj=file) as stream:
            yield stream
    elif media_type.endswith("+zstd"):
        with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as stream:
            yield stream
    elif media_type.endswith(".tar"):
        yield file
    else:
        raise Permanent(f"the image cannot be unpacked: the layer type {media_type[:100]!r} is unknown")


def _write(root: _Root, layers: Sequence[Layer], stream: IO[bytes]) -> None:
    """Directories, then the files layer by layer in the order in which their bytes come."""
    names: dict[tuple[int, int], list[str]] = {}
    with tarfile.open(
        fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT, encoding="utf-8", errors=_ERRORS
    ) as out:
        for name, node in _walk(root.top, ""):
            if node.children is None:
                names.setdefault(node.source, []).append(name)
            else:
                out.addfile(_entry(name, node.info, tarfile.DIRTYPE))
        for number, layer in enumerate(layers):
            with _reading(layer) as archive:
                for entry, info in enumerate(archive):
                    first, *others = names.get((number, entry), [""])
                    if not first:
                        continue
                    made = _entry(first, info, info.type)
                    made.size = info.size if info.isreg() else 0
                    made.linkname = info.linkname if info.issym() else ""
                    out.addfile(made, archive.extractfile(info) if info.isreg() else None)
                    for other in others:
                        link = _entry(other, info, tarfile.LNKTYPE)
                        link.linkname = first
                        out.addfile(link)


def _walk(node: _Node, place: str) -> Iterator[tuple[str, _Node]]:
    for name, child in sorted((node.children or {}).items()):
        path = f"{place}/{name}" if place else name
        yield path, child
        if child.children:
            yield from _walk(child, path)


def _entry(name: str, info: tarfile.TarInfo | None, kind: bytes) -> tarfile.TarInfo:
    made = tarfile.TarInfo(f"./{name}")
    made.type = tarfile.REGTYPE if info and info.isreg() and kind != tarfile.LNKTYPE else kind
    if info is None:
        made.mode = 0o755
        return made
    if not (0 <= info.uid < idmap.COUNT and 0 <= info.gid < idmap.COUNT):  # check 3
        raise Permanent(f"{name[:200]!r} belongs to {info.uid}:{info.gid}; ids end at {idmap.COUNT - 1}")
    made.mode, made.uid, made.gid = info.mode & 0o7777, info.uid, info.gid
    made.mtime = max(0, int(info.mtime))
    return made


def _parts(name: str) -> list[str]:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in name or len(parts) > _DEPTH_LIMIT:  # checks 2 and 4
        raise Permanent(f"the image cannot be unpacked: the name {name[:200]!r} leads out of it, or too deep")
    return parts


def _forget_lower(children: "dict[str, _Node]", layer: int) -> None:
    """An opaque directory: what lower layers brought goes, what this layer brings stays."""
    for name, node in list(children.items()):
        if node.children is not None:
            _forget_lower(node.children, layer)
        if node.source[0] < layer and not node.children:
            del children[name]
