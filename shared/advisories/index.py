"""What the records of a zip say, by package: made in one pass, kept in a file, read in milliseconds.

An index belongs to one zip, told by its sha256, and to one state of the reader (`shared.advisories.reduced`). Inflating
and parsing is the cost of a match, so it is paid when the index is made. The file is a sha256 over what follows, the
length of an SQLite database, the database, and the packed records. A damaged one is never believed: it could hide a
record, and what is hidden looks clean. Nor is a record whose bytes changed since the index was opened, by its CRC-32.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from shared.advisories import reduced
from shared.errors import Permanent
from shared.model.value import Digest

_FORMAT = "package-dmz/advisory-index/v3"
_HASH = 32
_LENGTH = struct.Struct("<Q")
_ABOUT = (
    "SELECT n.name, m.name, place, size, crc FROM names n JOIN members m ON m.id = n.member WHERE n.name IN"
)
_PIECE = 1 << 20
_AT_ONCE = 500
"""Names in one question: SQLite of any age takes 999."""
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE members (id INTEGER PRIMARY KEY, name TEXT NOT NULL, place INTEGER NOT NULL, size INTEGER NOT NULL,
  crc INTEGER NOT NULL, modified TEXT NOT NULL);
CREATE TABLE names (name TEXT, member INTEGER, PRIMARY KEY (name, member)) WITHOUT ROWID;
CREATE TABLE unread (name TEXT, why TEXT NOT NULL);
CREATE INDEX unread_name ON unread (name);
"""


Read = Callable[[int, int], bytes]
"""(place, size) to the bytes there, fewer at the end."""


class Member(NamedTuple):
    """A record of the zip, and where in the index it is packed."""

    name: str
    place: int
    size: int
    crc: int


class Index:
    """The index of one zip. Safe to share among threads."""

    def __init__(self, database: sqlite3.Connection, read: Read) -> None:
        self._database, self._lock, self._read = database, threading.Lock(), read
        meta = dict(database.execute("SELECT key, value FROM meta"))
        self.digest: Digest = meta["zip"]
        """sha256 of the zip."""
        self._is = (meta["format"], meta["reader"], meta["zip"], meta["ecosystem"])

    def is_of(self, digest: Digest, ecosystem: str) -> bool:
        return self._is == (_FORMAT, reduced.reader(), digest, ecosystem)

    def packed(self, member: Member) -> bytes:
        """A record as `reduced` packs it; Permanent, a sentence part, if its bytes are others than they were."""
        data = self._read(member.place, member.size)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            raise Permanent("its index changed while it was read")
        return data

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
        asked = list(names)
        with self._lock:
            for start in range(0, len(asked), _AT_ONCE):
                some = asked[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = self._database.execute(f"{_ABOUT} ({marks})", some)
                for name, *row in rows:
                    found.setdefault(Member(*row), set()).add(name)
        return [(member, frozenset(found[member])) for member in sorted(found)]

    def unread(self, names: Iterable[str]) -> dict[str, str]:
        """Those of the normalized names that an unreadable record may be about, and what is wrong with it."""
        with self._lock:
            if self._database.execute("SELECT 1 FROM unread LIMIT 1").fetchone() is None:
                return {}  # as nearly always
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

    def write(self, file: BinaryIO) -> None:
        """As a file holds it, from its beginning; a piece at a time, for the records are many megabytes."""
        with self._lock:
            database = self._database.serialize()
        digest = hashlib.sha256()
        file.write(bytes(_HASH))
        for part in (_LENGTH.pack(len(database)), database, *self._pieces()):
            digest.update(part)
            file.write(part)
        file.seek(0)
        file.write(digest.digest())

    def _pieces(self) -> Iterator[bytes]:
        place = 0
        while piece := self._read(place, _PIECE):
            yield piece
            place += len(piece)


class Described(NamedTuple):
    """What an index notes of a record."""

    name: str
    """Of the member of the zip."""
    names: frozenset[str]
    """Normalized names of the packages that it is about."""
    modified: str
    """As it says; empty if it does not."""
    packed: bytes = b""
    """As `reduced` packs it; empty with a problem, or if it is about no package."""
    problem: str = ""
    """Why it cannot be used, as a sentence part; then the packages are those that it may be about."""
    anybody: bool = False
    """With a problem: it may be about any package."""


def make(digest: Digest, ecosystem: str, members: Iterable[Described]) -> Index:
    """The index of the zip with that sha256, for packages of one ecosystem."""
    database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    database.executescript(_SCHEMA)
    database.execute("BEGIN")
    meta = {"format": _FORMAT, "reader": reduced.reader(), "zip": digest, "ecosystem": ecosystem}
    database.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
    records = bytearray()
    for number, each in enumerate(members):
        size = len(each.packed)
        row = (number, each.name, len(records), size, zlib.crc32(each.packed), each.modified)
        database.execute("INSERT INTO members VALUES (?, ?, ?, ?, ?, ?)", row)
        records += each.packed
        if each.problem:
            about = (*sorted(each.names), *((None,) if each.anybody else ()))
            database.executemany("INSERT INTO unread VALUES (?, ?)", ((name, each.problem) for name in about))
        else:
            database.executemany("INSERT INTO names VALUES (?, ?)", ((name, number) for name in each.names))
    database.execute("COMMIT")
    return Index(database, lambda place, size: bytes(records[place : place + size]))


def load(path: Path, digest: Digest, ecosystem: str) -> Index | None:
    """The index in the file at `path` if it is one, whole, and of that ecosystem in the zip with that sha256."""
    with suppress(OSError), ExitStack() as unless_found:
        file = unless_found.enter_context(path.open("rb"))
        said, head = file.read(_HASH), file.read(_LENGTH.size)
        start = _HASH + len(head)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else 0
        if not 0 < length <= os.fstat(file.fileno()).st_size - start:
            return None
        content = file.read(length)
        whole = hashlib.sha256(head + content)
        if hashlib.file_digest(file, lambda: whole).digest() != said:
            return None
        database = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        unless_found.callback(database.close)
        try:
            database.deserialize(content)
            # The file stays open as long as the index: one that replaces it does not change what was opened.
            found = Index(database, lambda place, size: os.pread(file.fileno(), size, start + length + place))
        except (sqlite3.Error, KeyError):
            return None
        if found.is_of(digest, ecosystem):
            unless_found.pop_all()
            return found
    return None


def save(index: Index, path: Path) -> None:
    """Write the file at `path`, whole or not at all; OSError if the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".index.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            index.write(file)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
