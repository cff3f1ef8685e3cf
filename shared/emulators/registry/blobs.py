"""File contents on disk, named by their sha256.

A content is written under `staging/` and renamed to its final name when it is whole, so a killed process leaves
nothing that looks finished. Nothing is synced to the disk itself: a killed process loses nothing, a power cut may.
"""

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from shared.emulators.registry.problems import Problem


@dataclass(frozen=True)
class Staged:
    """A whole content that has no name yet. Digests in hex, size in bytes."""

    path: Path
    sha256: str
    md5: str
    size: int


class Blobs:
    """Contents below `root`. `quota` bytes in all, 0 for no limit."""

    def __init__(self, root: Path, quota: int) -> None:
        self._final = root / "blobs"
        self._staging = root / "staging"
        self._final.mkdir(parents=True, exist_ok=True)
        self._staging.mkdir(exist_ok=True)
        self.quota = quota
        for leftover in self._staging.iterdir():  # of a process that was killed
            leftover.unlink()
        self.used = sum(path.stat().st_size for path in self._final.glob("*/*"))

    def stage(self) -> "Staging":
        """A new content to write to."""
        return Staging(self._staging / secrets.token_hex(16), self)

    def path(self, sha256: str) -> Path:
        """Where the content with this digest is, or would be."""
        return self._final / sha256[:2] / sha256

    def keep(self, staged: Staged) -> None:
        """Give `staged` its final name. The caller holds the store's lock."""
        final = self.path(staged.sha256)
        final.parent.mkdir(exist_ok=True)
        before = final.stat().st_size if final.exists() else 0
        staged.path.replace(final)
        self.used += staged.size - before

    def stamp(self, sha256: str) -> str:
        """Changes with every write to the content's file (stat(2): ctime cannot be set); empty if there is no file."""
        try:
            found = self.path(sha256).stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_ino} {found.st_size} {found.st_ctime_ns}"

    def is_intact(self, sha256: str) -> bool:
        """The content is what its name says. Reads all of it."""
        with self.path(sha256).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256

    def remove(self, sha256: str) -> None:
        """Forget the content with this digest. The caller holds the store's lock."""
        path = self.path(sha256)
        with contextlib.suppress(FileNotFoundError):  # somebody else has deleted it
            size = path.stat().st_size
            path.unlink()
            self.used -= size

    def all(self) -> set[str]:
        """The digests of every content here."""
        return {path.name for path in self._final.glob("*/*")}


class Staging:
    """A content being written; as a context it removes itself unless it was kept."""

    def __init__(self, path: Path, blobs: Blobs) -> None:
        self.path = path
        self._blobs = blobs
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(
            usedforsecurity=False
        )  # Artifact Registry lists it and names pool files by it
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`; 507 when the quota is used up. What a full disk does not take does not count as written."""
        if self._blobs.quota and self._blobs.used + self.size + len(data) > self._blobs.quota:
            raise Problem(
                507, f"The registry's quota of {self._blobs.quota} bytes is used up. Delete something."
            )
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            # A session goes on where `size` says: what it and the digests count must be in the file.
            self._sha256.update(view[:written])
            self._md5.update(view[:written])
            self.size += written
            view = view[written:]

    def finish(self) -> Staged:
        """The content as written so far."""
        self._close()
        return Staged(self.path, self._sha256.hexdigest(), self._md5.hexdigest(), self.size)

    def discard(self) -> None:
        """Close and remove the file, if it is still there."""
        self._close()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> "Staging":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.discard()

    def _close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
