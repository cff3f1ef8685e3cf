"""Where in a zip the records about a package stand: made in one pass, kept in a file, read in milliseconds.

An index belongs to one zip, told by its sha256, and holds no advisory itself: a record is read from the zip, with its
CRC-32, when it is asked for. The file is an SQLite database behind its own sha256, so that a damaged one is never
believed: it could hide a record, and what is hidden looks clean.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
import tempfile
import threading
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from shared.model.value import Digest

FORMAT = "package-dmz/advisory-index/v2"
_HASH = 32
_MARGIN = 512
"""Bytes of name and extra field that are read together with a record: nearly always enough."""
_LOCAL_HEADER = struct.Struct("<4s22sHH")
"""Signature, what the central directory has as well, lengths of name and extra field: APPNOTE.TXT 4.3.7."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE members (id INTEGER PRIMARY KEY, name TEXT NOT NULL, place INTEGER NOT NULL, packed INTEGER NOT NULL,
  size INTEGER NOT NULL, crc INTEGER NOT NULL, method INTEGER NOT NULL, modified TEXT NOT NULL);
CREATE TABLE names (name TEXT, member INTEGER, PRIMARY KEY (name, member)) WITHOUT ROWID;
CREATE TABLE unread (name TEXT, why TEXT NOT NULL);
CREATE INDEX unread_name ON unread (name);
"""


class Member(NamedTuple):
    """A record's place in the zip: of its local header, in bytes."""

    name: str
    place: int
    packed: int
    size: int
    crc: int
    method: int


class Index:
    """The index of one zip, in memory. Safe to share among threads."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database, self._lock = database, threading.Lock()
        meta = dict(database.execute("SELECT key, value FROM meta"))
        self.digest: Digest = meta["zip"]
        """sha256 of the zip."""
        self._is = (meta["format"], meta["zip"], meta["ecosystem"])

    def is_of(self, digest: Digest, ecosystem: str) -> bool:
        return self._is == (FORMAT, digest, ecosystem)

    def newest(self, latest: str) -> str:
        """When the newest record was modified, of those that say `latest` or before; empty if none does.

        RFC 3339 in UTC with Z, as the schema demands: comparable as text up to the seconds.
        """
        with self._lock:
            rows = self._database.execute(
                "SELECT coalesce(max(modified), '') FROM members WHERE modified <= ?", (latest,)
            )
            return str(rows.fetchone()[0])

    def members(self, names: Iterable[str]) -> list[tuple[Member, frozenset[str]]]:
        """The records about any of the packages of these normalized names, by member name, each with those names."""
        found: dict[Member, set[str]] = {}
        with self._lock:
            for name in names:
                rows = self._database.execute(
                    "SELECT m.name, place, packed, size, crc, method FROM names n JOIN members m ON m.id = n.member "
                    "WHERE n.name = ?",
                    (name,),
                )
                for row in rows:
                    found.setdefault(Member(*row), set()).add(name)
        return [(member, frozenset(found[member])) for member in sorted(found)]

    def unread(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the normalized names that an unreadable record may be about, and what is wrong with it."""
        with self._lock:
            anybody = self._database.execute("SELECT why FROM unread WHERE name IS NULL LIMIT 1").fetchone()
            if anybody:
                return dict.fromkeys(names, str(anybody[0]))
            rows = {
                name: self._database.execute(
                    "SELECT why FROM unread WHERE name = ? LIMIT 1", (name,)
                ).fetchone()
                for name in names
            }
        return {name: str(row[0]) for name, row in rows.items() if row}

    def packed(self) -> bytes:
        """As a file holds it."""
        with self._lock:
            content = self._database.serialize()
        return hashlib.sha256(content).digest() + content


class Described(NamedTuple):
    """What an index notes of a record."""

    info: zipfile.ZipInfo
    names: frozenset[str]
    """Normalized names of the packages that it is about."""
    modified: str
    """As it says; empty if it does not."""
    problem: str = ""
    """Why it cannot be used, as a sentence part; then the packages are those that it may be about."""
    anybody: bool = False
    """With a problem: it may be about any package."""


def make(digest: Digest, ecosystem: str, members: Sequence[Described]) -> Index:
    """The index of the zip with that sha256, for packages of one ecosystem."""
    database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    database.executescript(_SCHEMA)
    database.execute("BEGIN")
    meta = {"format": FORMAT, "zip": digest, "ecosystem": ecosystem}
    database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    database.executemany(
        "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                number,
                i.filename,
                i.header_offset,
                i.compress_size,
                i.file_size,
                i.CRC,
                i.compress_type,
                modified,
            )
            for number, (i, _, modified, *_rest) in enumerate(members)
        ),
    )
    pairs = ((name, n) for n, each in enumerate(members) if not each.problem for name in each.names)
    database.executemany("INSERT INTO names VALUES (?, ?)", pairs)
    unread = (
        (name, each.problem)
        for each in members
        if each.problem
        for name in (*sorted(each.names), *((None,) if each.anybody else ()))
    )
    database.executemany("INSERT INTO unread VALUES (?, ?)", unread)
    database.execute("COMMIT")
    return Index(database)


def load(path: Path, digest: Digest, ecosystem: str) -> Index | None:
    """The index in the file at `path` if it is one, whole, and of that ecosystem in the zip with that sha256."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(data[_HASH:]).digest() != data[:_HASH]:
        return None
    database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    try:
        database.deserialize(data[_HASH:])
        found = Index(database)
    except (sqlite3.Error, KeyError):
        database.close()
        return None
    return found if found.is_of(digest, ecosystem) else None


def save(index: Index, path: Path) -> None:
    """Write the file at `path`, whole or not at all; OSError if the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".index.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(index.packed())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def read(file: BufferedReader, member: Member, most: int) -> bytes:
    """Content of a member; zipfile.BadZipFile if it is not what the index says, or has over `most` bytes.

    By `pread`: any number of threads may read the one open file.
    """
    if member.size > most:
        raise zipfile.BadZipFile(f"it inflates to {member.size} bytes")
    data = os.pread(file.fileno(), _LOCAL_HEADER.size + _MARGIN + member.packed, member.place)
    if len(data) < _LOCAL_HEADER.size:
        raise zipfile.BadZipFile("it ends early")
    signature, _, name, extra = _LOCAL_HEADER.unpack_from(data)
    if signature != b"PK\x03\x04":
        raise zipfile.BadZipFile("it does not stand where it should")
    start = _LOCAL_HEADER.size + name + extra
    if start > _LOCAL_HEADER.size + _MARGIN:
        start, data = 0, os.pread(file.fileno(), member.packed, member.place + start)
    packed = data[start : start + member.packed]
    if len(packed) != member.packed:
        raise zipfile.BadZipFile("it ends early")
    content = _inflated(packed, member)
    if len(content) != member.size or zlib.crc32(content) != member.crc:
        raise zipfile.BadZipFile("its CRC-32 is wrong")
    return content


def _inflated(data: bytes, member: Member) -> bytes:
    if member.method == zipfile.ZIP_STORED:
        return data
    if member.method != zipfile.ZIP_DEFLATED:
        raise zipfile.BadZipFile(f"it is compressed by method {member.method}, which is not read")
    # One byte more than there should be: a record that inflates without end stops here.
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.size + 1)
