"""The 512 bytes before each member of a tar archive, written in one way only.

USTAR (POSIX.1-1988; https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06) wherever it
can say what is needed, a PAX record (same page, section "pax Header Block") where it cannot: a name or a link target
that is too long, a file of 8 GiB and more. Owner and times are zero, owner names empty, for every member.
"""

from __future__ import annotations

from shared.errors import Permanent
from shared.model.value import printable

SECTOR = 512
FILE, HARDLINK, SYMLINK, DIRECTORY, PAX = b"0", b"1", b"2", b"5", b"x"
FIELDS = (
    ("name", 0, 100),
    ("mode", 100, 108),
    ("uid", 108, 116),
    ("gid", 116, 124),
    ("size", 124, 136),
    ("mtime", 136, 148),
    ("checksum", 148, 156),
    ("type", 156, 157),
    ("link name", 157, 257),
    ("magic", 257, 263),
    ("version", 263, 265),
    ("user name", 265, 297),
    ("group name", 297, 329),
    ("device major", 329, 337),
    ("device minor", 337, 345),
    ("prefix", 345, 500),
    ("padding", 500, 512),
)
"""Name, begin and end of every field of a header."""
_NAME, _PREFIX, _LARGEST = 100, 155, 8**11 - 1
_PAX_NAME = b"././@PaxHeader"
_ZERO = b"0000000\0"
_OWNER, _TIME = _ZERO * 2, b"00000000000\0"
_TAIL = b"ustar\00000" + bytes(64) + _ZERO * 2
_END = bytes(12)


def header(name: bytes, kind: bytes, mode: int, size: int = 0, link: bytes = b"") -> bytes:
    """The header of one member, with a PAX member before it where one is needed.

    `name` is relative, a directory's without the slash at the end; `size` counts bytes that follow.
    """
    full = name + b"/" if kind == DIRECTORY else name
    records = b""
    prefix, short = _split(full)
    if not short:
        records += _record("path", full)
        prefix, short = b"", full[:_NAME]
    if len(link) > _NAME:
        records += _record("linkpath", link)
        link = link[:_NAME]
    if size > _LARGEST:
        records += b"%d size=%d\n" % (_length(len(b" size=%d\n" % size)), size)
    own = _block(prefix, short, kind, mode & 0o7777, 0 if size > _LARGEST else size, link)
    if not records:
        return own
    return _block(b"", _PAX_NAME, PAX, 0o644, len(records), b"") + records + padding(len(records)) + own


def padding(size: int) -> bytes:
    """Zeros from the end of `size` bytes to the next whole sector."""
    return bytes(-size % SECTOR)


def _split(name: bytes) -> tuple[bytes, bytes]:
    """Prefix and name, at the first slash that makes both fit; two empty ones if none does."""
    if len(name) <= _NAME:
        return b"", name
    at = name.find(b"/", len(name) - _NAME - 1)
    if at <= 0 or at > _PREFIX or at == len(name) - 1:
        return b"", b""
    return name[:at], name[at + 1 :]


def _block(prefix: bytes, name: bytes, kind: bytes, mode: int, size: int, link: bytes) -> bytes:
    head = b"%b%07o\0%b%011o\0%b" % (name.ljust(_NAME, b"\0"), mode, _OWNER, size, _TIME)
    rest = b"%b%b%b%b%b" % (kind, link.ljust(_NAME, b"\0"), _TAIL, prefix.ljust(_PREFIX, b"\0"), _END)
    return b"%b%06o\0 %b" % (head, sum(head) + sum(rest) + 8 * 0x20, rest)


def _record(key: str, value: bytes) -> bytes:
    try:
        value.decode()
    except UnicodeDecodeError as error:
        text = printable(repr(value), 200)
        raise Permanent(f"{text} is too long for a name that is not UTF-8; shorten it.") from error
    body = b" %b=%b\n" % (key.encode(), value)
    return b"%d%b" % (_length(len(body)), body)


def _length(body: int) -> int:
    """What a PAX record says of its own length: its digits count too."""
    digits = 1
    while len(str(body + digits)) != digits:
        digits += 1
    return body + digits
