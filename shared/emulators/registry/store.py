"""What the repositories hold: an SQLite index over the blobs. It survives SIGKILL at any point.

A file becomes visible by one committed row, after its content has its final name; packages and versions are what the
rows say. At start, contents without a row (of a process that was killed in between) are removed, and so are files whose
content is no longer what it was: whoever mirrors then sees that they are missing, and brings them again.
"""

import errno
import fcntl
import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.emulators.registry.blobs import Blobs, Staged, Staging
from shared.errors import Permanent

_SCHEMA = """
CREATE TABLE IF NOT EXISTS files (
  repository TEXT NOT NULL, key TEXT NOT NULL, package TEXT NOT NULL, version TEXT NOT NULL,
  sha256 TEXT NOT NULL, md5 TEXT NOT NULL, size INTEGER NOT NULL, created REAL NOT NULL, meta TEXT NOT NULL,
  identity TEXT NOT NULL, PRIMARY KEY (repository, key), UNIQUE (repository, identity)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS files_by_package ON files (repository, package, version);
CREATE INDEX IF NOT EXISTS files_by_content ON files (sha256);
CREATE TABLE IF NOT EXISTS tags (
  repository TEXT NOT NULL, package TEXT NOT NULL, tag TEXT NOT NULL, version TEXT NOT NULL, updated REAL NOT NULL,
  PRIMARY KEY (repository, package, tag)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS contents (sha256 TEXT PRIMARY KEY, stamp TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS operations (id TEXT PRIMARY KEY, content TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID;
"""
_LOG = logging.getLogger(__name__)
_COLUMNS = "key, package, version, sha256, md5, size, created, meta"
_KEEP_OPERATIONS_SECONDS = 7 * 86400


@dataclass(frozen=True)
class StoredFile:
    """A file of a repository. `key` is its id with slashes as they are; `created` in seconds since 1970."""

    key: str
    package: str
    version: str
    sha256: str
    md5: str
    size: int
    created: float
    meta: Mapping[str, Any]


@dataclass(frozen=True)
class NewFile:
    """A file to add. `identity`, where it differs from the key, is what else must be free in the repository."""

    key: str
    package: str
    version: str
    meta: Mapping[str, Any]
    identity: str = ""


@dataclass(frozen=True)
class Group:
    """A package or a version: what its files say of it. Times in seconds since 1970."""

    name: str
    created: float
    updated: float


class Store:
    """The index and the contents below `root`, for one process at a time."""

    def __init__(self, root: Path, quota: int = 0) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock_file)
            raise Permanent(f"Another registry uses {root}; stop it or choose another state_dir.") from error
        self._lock = threading.RLock()
        self._generations: dict[str, int] = {}
        self._database = sqlite3.connect(
            root / "index.sqlite3", check_same_thread=False, isolation_level=None
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        # NORMAL: a commit outlives the process, not a power cut. See blobs.py.
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.executescript(_SCHEMA)
        self._database.execute(
            "DELETE FROM operations WHERE created < ?", (time.time() - _KEEP_OPERATIONS_SECONDS,)
        )
        self.blobs = Blobs(root, quota)
        self._remove_orphans()
        self._remove_damaged()

    def close(self) -> None:
        """Release the directory to another process."""
        with self._lock:
            self._database.close()
            os.close(self._lock_file)

    def stage(self) -> Staging:
        """A new content to write to; pass its `finish()` to `add`."""
        return self.blobs.stage()

    def add(self, repository: str, new: NewFile, staged: Staged) -> StoredFile | None:
        """Make the file visible. None, and nothing changes, if the repository has one with its key or identity."""
        row = (
            new.key, new.package, new.version, staged.sha256, staged.md5, staged.size, time.time(),
            json.dumps(dict(new.meta)),
        )  # fmt: skip
        identity = new.identity or new.key
        with self._lock, self._no_orphan(staged.sha256), self._transaction():
            if self._query("repository = ? AND (key = ? OR identity = ?)", (repository, new.key, identity)):
                return None
            self.blobs.keep(staged)
            self._seen(staged.sha256)
            self._database.execute(
                f"INSERT INTO files (repository, {_COLUMNS}, identity) VALUES (?,?,?,?,?,?,?,?,?,?)",  # noqa: S608 - a constant
                (repository, *row, identity),
            )
            self._changed(repository)
        return _file(row)

    def file(self, repository: str, key: str) -> StoredFile | None:
        """The file with this key."""
        rows = self._query("repository = ? AND key = ?", (repository, key))
        return rows[0] if rows else None

    def files(
        self, repository: str, package: str | None = None, version: str | None = None
    ) -> list[StoredFile]:
        """All files of a repository, of one of its packages or of one version, ordered by key."""
        condition, values = "repository = ?", [repository]
        if package is not None:
            condition, values = condition + " AND package = ?", [*values, package]
        if version is not None:
            condition, values = condition + " AND version = ?", [*values, version]
        return self._query(condition + " ORDER BY key", tuple(values))

    def packages(self, repository: str, only: str | None = None) -> list[Group]:
        """The packages of a repository, ordered by name, or the one named `only`."""
        return self._groups("package", "repository = ?", (repository,), only)

    def versions(self, repository: str, package: str, only: str | None = None) -> list[Group]:
        """The versions of a package, ordered as text, or the one named `only`."""
        return self._groups("version", "repository = ? AND package = ?", (repository, package), only)

    def size(self, repository: str) -> int:
        """Bytes of all files of a repository."""
        with self._lock:
            row = self._database.execute(
                "SELECT SUM(size) FROM files WHERE repository = ?", (repository,)
            ).fetchone()
        return int(row[0] or 0)

    def remove(self, repository: str, files: list[StoredFile]) -> None:
        """Make these files invisible at once, and drop contents that nothing else refers to."""
        with self._lock:
            with self._transaction():
                self._database.executemany(
                    "DELETE FROM files WHERE repository = ? AND key = ?",
                    [(repository, file.key) for file in files],
                )
                self._database.executemany(
                    "DELETE FROM tags WHERE repository = ? AND package = ? AND version = ?",
                    [(repository, file.package, file.version) for file in files],
                )
                self._changed(repository)
            for sha256 in {file.sha256 for file in files}:
                if not self._is_named(sha256):
                    self._drop(sha256)

    def set_tag(self, repository: str, package: str, tag: str, version: str) -> None:
        """Let `tag` name `version` from now on."""
        row = (repository, package, tag, version, time.time())
        with self._lock, self._transaction():
            self._database.execute("INSERT OR REPLACE INTO tags VALUES (?,?,?,?,?)", row)

    def remove_tag(self, repository: str, package: str, tag: str) -> None:
        """Let `tag` name nothing."""
        with self._lock, self._transaction():
            self._database.execute(
                "DELETE FROM tags WHERE repository = ? AND package = ? AND tag = ?",
                (repository, package, tag),
            )

    def tagged(self, repository: str, package: str, tag: str) -> str:
        """The version that `tag` names, empty if none."""
        return self.tags(repository, package).get(tag, "")

    def tags(self, repository: str, package: str, version: str | None = None) -> dict[str, str]:
        """Tag to version: all of a package, or those that name `version`."""
        with self._lock:
            rows = self._database.execute(
                "SELECT tag, version FROM tags WHERE repository = ? AND package = ?", (repository, package)
            ).fetchall()
        return {tag: named for tag, named in rows if version in (None, named)}

    def snapshot(self, repository: str) -> tuple[int, list[StoredFile]]:
        """A number that changes with the repository, and the files that belong to it."""
        with self._lock:
            return self.generation(repository), self.files(repository)

    def generation(self, repository: str) -> int:
        """A number that changes with the repository while this process lives."""
        return self._generations.get(repository, 0)

    def add_operation(self, content: Mapping[str, Any]) -> str:
        """Keep a finished operation; returns its id."""
        identifier = secrets.token_hex(16)
        identifier = "-".join(
            (identifier[:8], identifier[8:12], identifier[12:16], identifier[16:20], identifier[20:])
        )
        with self._lock, self._transaction():
            self._database.execute(
                "INSERT INTO operations VALUES (?,?,?)", (identifier, json.dumps(dict(content)), time.time())
            )
        return identifier

    def operation(self, identifier: str) -> dict[str, Any] | None:
        """The operation with this id."""
        with self._lock:
            row = self._database.execute(
                "SELECT content FROM operations WHERE id = ?", (identifier,)
            ).fetchone()
        return dict(json.loads(row[0])) if row else None

    def _changed(self, repository: str) -> None:
        self._generations[repository] = self.generation(repository) + 1

    def _groups(self, column: str, condition: str, values: tuple[str, ...], only: str | None) -> list[Group]:
        if only is not None:
            condition, values = f"{condition} AND {column} = ?", (*values, only)
        statement = (
            f"SELECT {column}, MIN(created), MAX(created) FROM files "  # noqa: S608 - constants of this module
            f"WHERE {condition} GROUP BY {column} ORDER BY {column}"
        )
        with self._lock:
            return [Group(*row) for row in self._database.execute(statement, values)]

    def _query(self, condition: str, values: tuple[str, ...]) -> list[StoredFile]:
        with self._lock:
            statement = f"SELECT {_COLUMNS} FROM files WHERE {condition}"  # noqa: S608 - both are constants of this module
            return [_file(row) for row in self._database.execute(statement, values)]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except BaseException as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):  # the disk is full or broken
                is_full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
                raise OSError(errno.ENOSPC if is_full else errno.EIO, str(error)) from error
            raise

    @contextmanager
    def _no_orphan(self, sha256: str) -> Iterator[None]:
        """A content that has got its name and not its row, because the disk is full, takes no room."""
        try:
            yield
        except OSError:
            if not self._is_named(sha256):
                self.blobs.remove(sha256)
            raise

    def _is_named(self, sha256: str) -> bool:
        return bool(self._query("sha256 = ? LIMIT 1", (sha256,)))

    def _remove_orphans(self) -> None:
        known = {row[0] for row in self._database.execute("SELECT DISTINCT sha256 FROM files")}
        for sha256 in self.blobs.all() - known:
            self._drop(sha256)

    def _remove_damaged(self) -> None:
        """Contents whose file was written to since it was last known to be whole are read; most were not."""
        stamps = dict(self._database.execute("SELECT sha256, stamp FROM contents"))
        known = [row[0] for row in self._database.execute("SELECT DISTINCT sha256 FROM files")]
        for sha256 in known:
            stamp = self.blobs.stamp(sha256)
            if stamp and stamp == stamps.get(sha256):
                continue
            if stamp and self.blobs.is_intact(sha256):
                self._seen(sha256)
                continue
            _LOG.warning("the content sha256:%s was damaged on disk; its files are dropped", sha256)
            self._database.execute("DELETE FROM files WHERE sha256 = ?", (sha256,))
            self._drop(sha256)

    def _seen(self, sha256: str) -> None:
        """The content is whole as its file is now."""
        self._database.execute(
            "INSERT OR REPLACE INTO contents VALUES (?,?)", (sha256, self.blobs.stamp(sha256))
        )

    def _drop(self, sha256: str) -> None:
        self.blobs.remove(sha256)
        with self._transaction():
            self._database.execute("DELETE FROM contents WHERE sha256 = ?", (sha256,))


def _file(row: tuple[Any, ...]) -> StoredFile:
    key, package, version, sha256, md5, size, created, meta = row
    return StoredFile(key, package, version, sha256, md5, size, created, json.loads(meta))
