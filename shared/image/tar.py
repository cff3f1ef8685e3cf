"""A tree as a tar archive: equal trees give equal bytes, whatever order their files were added in.

Members are sorted by the bytes of their paths (a directory thus comes before what is in it), every parent stands there
once, files that are one file with several names are hardlinks to the first of them. Nothing is held but one block.
"""

from __future__ import annotations

from collections.abc import Iterator

from shared.errors import Permanent
from shared.image.tree import Content, Directory, File, Link, Node, Tree
from shared.image.ustar import DIRECTORY, FILE, HARDLINK, SYMLINK, header, padding
from shared.model.value import printable

BLOCK = 2**20
"""Bytes of every block of a stream but the last."""
_END = bytes(1024)


def blocks(tree: Tree) -> Iterator[bytes]:
    """The archive in blocks of BLOCK bytes, the last one shorter; the cuts follow from the bytes alone.

    Permanent where a file does not have the size that its tree says, cannot be read, or is one file with two modes.
    """
    buffer = bytearray()
    first: dict[str, tuple[bytes, File]] = {}
    for path, node in _members(tree):
        match node:
            case Directory():
                buffer += header(path, DIRECTORY, node.mode)
            case Link():
                buffer += header(path, SYMLINK, 0o777, link=_target(path, node))
            case File():
                same = node.content.same
                original = first.setdefault(same, (path, node)) if same else (path, node)
                if original[0] != path:
                    _check_one_file(path, node, *original)
                    buffer += header(path, HARDLINK, node.mode, link=original[0])
                else:
                    buffer += header(path, FILE, node.mode, node.content.size)
                    for piece in _pieces(path, node.content):
                        buffer += piece
                        if len(buffer) >= BLOCK:
                            yield from _whole(buffer)
                    buffer += padding(node.content.size)
        if len(buffer) >= BLOCK:
            yield from _whole(buffer)
    buffer += _END
    yield from _whole(buffer)
    if buffer:
        yield bytes(buffer)


def encoded(name: str) -> bytes:
    """A name's bytes in the archive. Not os.fsencode: that follows the locale."""
    return name.encode("utf-8", "surrogateescape")


def _members(tree: Tree) -> list[tuple[bytes, Node]]:
    """Every path with its parents, sorted."""
    nodes: dict[bytes, Node] = {encoded(path): node for path, node in tree.entries()}
    for path in list(nodes):
        at = path.rfind(b"/")
        while at != -1 and path[:at] not in nodes:
            nodes[path[:at]] = Directory()
            at = path.rfind(b"/", 0, at)
    return sorted(nodes.items(), key=lambda item: item[0])


def _whole(buffer: bytearray) -> Iterator[bytes]:
    """Take whole blocks off the front of `buffer`."""
    while len(buffer) >= BLOCK:
        yield bytes(memoryview(buffer)[:BLOCK])
        del buffer[:BLOCK]


def _pieces(path: bytes, content: Content) -> Iterator[bytes]:
    """The file's bytes; they must be as many as were promised, or every member behind them would be read wrongly."""
    left = content.size
    try:
        with content.open() as stream:
            while piece := stream.read(min(left + 1, BLOCK)):
                left -= len(piece)
                if left < 0:
                    break
                yield piece
    except OSError as error:
        raise Permanent(f"{_said(path)} cannot be read: {error.strerror or error}.") from error
    if left:
        than = "more" if left < 0 else f"{left} fewer"
        raise Permanent(
            f"{_said(path)} should have {content.size} bytes and has {than}: it changed while the image was built, "
            "or its package says the wrong size."
        )


def _target(path: bytes, link: Link) -> bytes:
    target = encoded(link.target)
    if not target or b"\0" in target:
        raise Permanent(f"The symbolic link {_said(path)} leads nowhere; leave it out.")
    return target


def _check_one_file(path: bytes, file: File, first: bytes, other: File) -> None:
    if (file.mode, file.content.size) != (other.mode, other.content.size):
        raise Permanent(
            f"{_said(path)} and {_said(first)} are one file, but with two modes or sizes; "
            "correct whoever put them into the layer."
        )


def _said(path: bytes) -> str:
    return printable(path.decode(errors="replace"), 200)
