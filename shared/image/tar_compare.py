"""Where two tar streams part: which member, which field of its header, which byte of its content.

Reads what any tool writes: USTAR, PAX and GNU's long names. Nothing but one block of each stream is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, NamedTuple

from shared.errors import Permanent
from shared.image.ustar import DIRECTORY, FIELDS, PAX, SECTOR
from shared.model.value import printable

_CHUNK = 2**18
_LONGEST_NOTE = 2**20
"""Bytes of a PAX header or of a long name; a larger one is no sound archive's."""
_GLOBAL, _GNU_NAME, _GNU_LINK = b"g", b"L", b"K"
_SAID_BY_PATH = ("name", "prefix", "checksum", "padding")
_NUMBERS = ("uid", "gid", "size", "mtime", "device major", "device minor")
_KINDS = {
    b"0": "a file",
    b"\0": "a file",
    b"1": "a hardlink",
    b"2": "a symbolic link",
    b"5": "a directory",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a pipe",
}


class Parting(NamedTuple):
    """The first difference of two archives."""

    path: str
    """Of the member; of the first archive's where both have another one there."""
    field: str
    """`member`, `content`, a header's field, `pax KEY`, or `end`."""
    offset: int | None
    """Of the first differing byte in the file's content."""
    left: str
    right: str


@dataclass
class _Member:
    path: bytes
    fields: Mapping[str, bytes]
    pax: Mapping[bytes, bytes]
    size: int
    stream: IO[bytes]
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.size

    def read(self, size: int) -> bytes:
        data = self.stream.read(min(size, self.left))
        self.left -= len(data)
        return data


def parting(first: IO[bytes], second: IO[bytes], what: str) -> Parting | None:
    """The first difference of two archives; None where they hold the same. `what` names them in a failure.

    Permanent if one is no tar archive.
    """
    left, right = _members(first, what), _members(second, what)
    while True:
        one, other = next(left, None), next(right, None)
        if one is None or other is None:
            if one is other:
                return None
            path = _said((one or other).path)  # type: ignore[union-attr]
            return Parting(path, "member", None, *(("there", "missing") if one else ("missing", "there")))
        if one.path != other.path:
            return Parting(_said(one.path), "member", None, _said(one.path), _said(other.path))
        found = _header(one, other)
        if found and found[0] != "size":
            return Parting(_said(one.path), found[0], None, *found[1:])
        at = _content(one, other)
        if at:
            return Parting(_said(one.path), "content", *at)
        if found:
            return Parting(_said(one.path), found[0], min(one.size, other.size), *found[1:])


def _header(one: _Member, other: _Member) -> tuple[str, str, str] | None:
    for key in sorted(one.pax.keys() | other.pax.keys()):
        if key not in (b"path", b"size") and one.pax.get(key) != other.pax.get(key):
            values = (one.pax.get(key, b"nothing"), other.pax.get(key, b"nothing"))
            return f"pax {_said(key)}", _said(values[0]), _said(values[1])
    if one.size != other.size:
        return "size", str(one.size), str(other.size)
    for name, _, _ in FIELDS:
        if name not in _SAID_BY_PATH and one.fields[name] != other.fields[name]:
            return name, _value(name, one.fields[name]), _value(name, other.fields[name])
    for name in _SAID_BY_PATH:  # nothing that they say differs, but how they say it
        if one.fields[name] != other.fields[name]:
            return name, _said(repr(one.fields[name]).encode()), _said(repr(other.fields[name]).encode())
    return None


def _content(one: _Member, other: _Member) -> tuple[int, str, str] | None:
    at = 0
    while one.left and other.left:
        size = min(one.left, other.left, _CHUNK)
        a, b = one.read(size), other.read(size)
        if len(a) < size or len(b) < size:
            raise Permanent(f"The content of {_said(one.path)} is cut off.")
        if a != b:
            offset = next(n for n, (x, y) in enumerate(zip(a, b, strict=True)) if x != y)
            return at + offset, f"0x{a[offset]:02x}", f"0x{b[offset]:02x}"
        at += size
    return None


def _members(stream: IO[bytes], what: str) -> Iterator[_Member]:
    pax: dict[bytes, bytes] = {}
    general: dict[bytes, bytes] = {}
    while True:
        head = stream.read(SECTOR)
        if len(head) < SECTOR:
            raise Permanent(f"{what} is no whole tar archive: it is cut off.")
        if not any(head):
            return
        fields = {name: head[begin:end] for name, begin, end in FIELDS}
        kind, size = fields["type"], _number(fields["size"], what)
        if _number(fields["checksum"], what) != sum(head) - sum(fields["checksum"]) + 8 * 0x20:
            raise Permanent(f"{what} is no tar archive: a header has a wrong checksum.")
        if kind in (PAX, _GLOBAL, _GNU_NAME, _GNU_LINK):
            note = _note(stream, size, what)
            match kind:
                case b"x":
                    pax |= _records(note, what)
                case b"g":
                    general |= _records(note, what)
                case _:
                    pax[b"path" if kind == _GNU_NAME else b"linkpath"] = note.rstrip(b"\0")
            continue
        said = general | pax
        name, prefix = fields["name"].rstrip(b"\0"), fields["prefix"].rstrip(b"\0")
        ustar = fields["magic"] == b"ustar\0"
        path = said.get(b"path") or (prefix + b"/" + name if ustar and prefix else name)
        size = int(said[b"size"]) if b"size" in said else size
        if kind not in (b"0", b"\0", b"7"):
            size = 0  # what a link or a directory says of a size is followed by nothing
        member = _Member(path.rstrip(b"/") if kind == DIRECTORY else path, fields, said, size, stream)
        yield member
        while member.left:
            if not member.read(_CHUNK):
                raise Permanent(f"{what} is no whole tar archive: it is cut off.")
        stream.read(-size % SECTOR)
        pax = {}


def _note(stream: IO[bytes], size: int, what: str) -> bytes:
    if size > _LONGEST_NOTE:
        raise Permanent(f"{what} has a header of {size} bytes, which is refused.")
    note = stream.read(size)
    stream.read(-size % SECTOR)
    return note


def _records(note: bytes, what: str) -> dict[bytes, bytes]:
    found = {}
    while note:
        digits, _, rest = note.partition(b" ")
        if not digits.isdigit() or not 0 < int(digits) <= len(note):
            raise Permanent(f"{what} is no tar archive: a PAX header cannot be read.")
        key, _, value = rest[: int(digits) - len(digits) - 2].partition(b"=")
        found[key] = value
        note = note[int(digits) :]
    return found


def _number(raw: bytes, what: str) -> int:
    if raw[:1] == b"\x80":
        return int.from_bytes(raw[1:], "big")
    try:
        return int(raw.strip(b" \0") or b"0", 8)
    except ValueError as error:
        raise Permanent(f"{what} is no tar archive: a header holds no number where one should be.") from error


def _value(name: str, raw: bytes) -> str:
    if name == "type":
        return _KINDS.get(raw, f"type {raw!r}")
    text = raw.rstrip(b"\0 ")
    if name in _NUMBERS and text.isdigit():
        return f"{int(text, 8)} ({_said(repr(raw).encode())})"
    return _said(text.lstrip(b"0") or b"0") if name == "mode" else _said(text) or "nothing"


def _said(raw: bytes) -> str:
    return printable(raw.decode(errors="backslashreplace"), 300)
