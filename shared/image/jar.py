"""Jars, bit for bit the same everywhere (https://docs.oracle.com/en/java/javase/17/docs/specs/jar/jar.html).

Written: every entry stored, the manifest first and the rest sorted by the bytes of their names, dated 1980-01-01,
with no extra field, no data descriptor and no attribute (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).
Read, whoever made the jar:
1. What zip readers could take differently is refused: a name twice with other bytes, an encrypted or oddly
   compressed entry, a name that leaves the place where it is unpacked.
2. More than MAX_ENTRIES entries, and an entry of more than MAX_ENTRY bytes.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.errors import Permanent
from shared.image.spool import constant
from shared.image.tree import Content, check_path
from shared.model.value import printable

MANIFEST = "META-INF/MANIFEST.MF"
MAX_ENTRIES = 65_534
"""More, or more than 4 GiB, would need zip64, which not every loader of nested jars reads."""
MAX_ENTRY = 1024**3
_CHUNK = 1024 * 1024
_LINE = 72
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,69}")
_VERSION = 20
_UTF8 = 0x800
_DATE = 0x21  # 1980-01-01: day 1, month 1, year 0; the time is 0
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LIMIT = 2**32 - 1


@dataclass(frozen=True)
class _Placed:
    name: bytes
    crc: int
    size: int
    offset: int


def manifest(attributes: Mapping[str, str]) -> bytes:
    """The main section, in the order given: lines of at most 72 bytes, continued with a space, ended by CR LF."""
    lines = []
    for name, value in attributes.items():
        if not _NAME.fullmatch(name) or re.search(r"[\x00\r\n]", value):
            raise Permanent(f"A jar's manifest cannot say {printable(f'{name}: {value}', 200)}.")
        rest = f"{name}: {value}"
        line = b""
        for character in rest:
            piece = character.encode()
            if len(line) + len(piece) > _LINE:
                lines.append(line)
                line = b" "
            line += piece
        lines.append(line)
    return b"".join(line + b"\r\n" for line in [*lines, b""])


def write(to: IO[bytes], attributes: Mapping[str, str], entries: Mapping[str, Content]) -> int:
    """Write a jar with this manifest and these entries, by name; the directories above them are added. Its size."""
    everything: dict[str, Content] = {MANIFEST: constant(manifest(attributes))}
    for name, content in entries.items():
        check_path(name)
        if name == MANIFEST:
            raise Permanent("A jar's manifest is written from its attributes, not from an entry.")
        everything[name] = content
    for name in tuple(everything):
        for at, character in enumerate(name):
            if character == "/" and name[:at] in everything:
                raise Permanent(
                    f"In a jar, {printable(name[:at], 200)} cannot be both a file and a directory."
                )
            if character == "/":
                everything[name[: at + 1]] = constant(b"")
    if len(everything) > MAX_ENTRIES:
        raise Permanent(f"A jar of more than {MAX_ENTRIES} entries is not written; split it.")
    order = sorted(everything, key=lambda name: (name != MANIFEST, name.encode()))
    placed: list[_Placed] = []
    offset = 0
    for name in order:
        entry = _write_entry(to, name, everything[name], offset)
        placed.append(entry)
        offset += _LOCAL.size + len(entry.name) + entry.size
    return offset + _write_directory(to, placed, offset)


def _write_entry(to: IO[bytes], name: str, content: Content, offset: int) -> _Placed:
    encoded = name.encode()
    if len(encoded) > 0xFFFF or offset + _LOCAL.size + len(encoded) + content.size > _LIMIT:
        raise Permanent(f"The jar grows beyond 4 GiB at {printable(name, 200)}, which is not supported.")
    # The checksum stands before the bytes, and they may be more than memory holds: they are read twice.
    crc = 0
    for data in _chunks(content, name):
        crc = zlib.crc32(data, crc)
    to.write(
        _LOCAL.pack(
            b"PK\x03\x04",
            _VERSION,
            _flags(encoded),
            0,
            0,
            _DATE,
            crc,
            content.size,
            content.size,
            len(encoded),
            0,
        )
        + encoded
    )
    again = 0
    for data in _chunks(content, name):
        again = zlib.crc32(data, again)
        to.write(data)
    if again != crc:
        raise Permanent(f"{printable(name, 200)} changed while it was put into a jar; run again.")
    return _Placed(encoded, crc, content.size, offset)


def _chunks(content: Content, name: str) -> Iterator[bytes]:
    size = 0
    with content.open() as stream:
        while data := stream.read(_CHUNK):
            size += len(data)
            yield data
    if size != content.size:
        raise Permanent(f"{printable(name, 200)} has {size} bytes and not {content.size}; run again.")


def _flags(name: bytes) -> int:
    return 0 if name.isascii() else _UTF8


def _write_directory(to: IO[bytes], placed: list[_Placed], offset: int) -> int:
    size = 0
    for each in placed:
        record = (
            _CENTRAL.pack(
                *(
                    b"PK\x01\x02",
                    _VERSION,
                    _VERSION,
                    _flags(each.name),
                    0,
                    0,
                    _DATE,
                    each.crc,
                    each.size,
                    each.size,
                ),
                *(len(each.name), 0, 0, 0, 0, 0, each.offset),
            )
            + each.name
        )
        size += to.write(record)
    if offset + size > _LIMIT:
        raise Permanent("The jar grows beyond 4 GiB, which is not supported.")
    size += to.write(_END.pack(b"PK\x05\x06", 0, 0, len(placed), len(placed), size, offset, 0))
    return size


def check(path: Path, what: str) -> frozenset[str]:
    """The names of its entries. Permanent with the reason unless the jar reads the same everywhere (1 and 2)."""
    with _opened(path, what) as archive:
        return frozenset(_members(archive, what))


def entries(path: Path, what: str) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of the jar's files, sorted; each was checked against its checksum. Permanent if it is refused."""
    with _opened(path, what) as archive:
        for name, member in sorted(_members(archive, what).items()):
            if not member.is_dir():
                yield name, _bytes(archive, member, what)


def _opened(path: Path, what: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, ValueError, UnicodeDecodeError) as error:
        raise Permanent(f"{what} is no jar that can be read: {printable(str(error), 200)}.") from error


def _members(archive: zipfile.ZipFile, what: str) -> dict[str, zipfile.ZipInfo]:
    found: dict[str, zipfile.ZipInfo] = {}
    if len(archive.infolist()) > MAX_ENTRIES:
        raise Permanent(f"{what} has more than {MAX_ENTRIES} entries, which is refused.")  # 2
    for member in archive.infolist():
        _check_member(member, what)
        other = found.get(member.filename)
        if other is not None and not _same(archive, member, other, what):
            raise Permanent(
                f"{what} has the entry {printable(member.filename, 200)} twice with different bytes: "
                "readers would not agree on what it holds."
            )
        found[member.filename] = member
    return found


def _check_member(member: zipfile.ZipInfo, what: str) -> None:
    name = printable(member.orig_filename, 200)
    try:
        check_path(member.orig_filename.removesuffix("/"))
    except Permanent as error:
        raise Permanent(f"{what} has an entry that leads out of it: {name}.") from error
    if "\\" in member.orig_filename or re.search(r"[\x00-\x1f\x7f]", member.orig_filename):
        raise Permanent(f"{what} has an entry that leads out of it or cannot be printed: {name}.")
    if member.flag_bits & 0x1 or member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Permanent(f"{what} holds {name} encrypted or in a compression that the JVM does not read.")
    if member.file_size > MAX_ENTRY:
        raise Permanent(
            f"{what} holds {name} with {member.file_size} bytes; more than {MAX_ENTRY} are refused."
        )  # 2


def _same(archive: zipfile.ZipFile, one: zipfile.ZipInfo, other: zipfile.ZipInfo, what: str) -> bool:
    return (one.CRC, one.file_size) == (other.CRC, other.file_size) and (
        _bytes(archive, one, what) == _bytes(archive, other, what)
    )


def _bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo, what: str) -> bytes:
    try:
        with archive.open(member) as stream:
            data = stream.read(member.file_size + 1)
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise Permanent(
            f"{what} is damaged at {printable(member.filename, 200)}: {printable(str(error), 200)}."
        ) from error
    if len(data) != member.file_size:
        raise Permanent(
            f"{what} is damaged at {printable(member.filename, 200)}: its size is not what it says."
        )
    return data


def merge(parts: Iterable[Mapping[str, Content]]) -> dict[str, Content]:
    """Entries of several sources as one jar's; Permanent if two bring one name."""
    merged: dict[str, Content] = {}
    for part in parts:
        for name, content in part.items():
            if name in merged:
                raise Permanent(f"Two sources bring {printable(name, 200)} into one jar; leave one out.")
            merged[name] = content
    return merged
