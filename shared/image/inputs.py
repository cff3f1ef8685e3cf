"""Pinned inputs on this machine: fetched once by hash, and checked again whenever one is asked for.

1. A file of the cache is used only if it has the sha256 that the lock names; one that does not is fetched anew.
2. A file gets its name when it is whole and right (`shared.upstream.download`), so builds may share a cache.
3. A Debian archive that left the pool is asked of the snapshot service by its SHA-1
   (https://salsa.debian.org/snapshot-team/snapshot/raw/master/API); the sha256 alone decides whether it is taken.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from shared.errors import Permanent
from shared.image import base_image
from shared.image.base_image import Images
from shared.image.registry import Registry
from shared.model.image import LockedInput
from shared.model.value import Digest
from shared.ports.upstream import Downloads
from shared.upstream.download import Downloader

SNAPSHOT = "https://snapshot.debian.org"
Progress = Callable[[int, int, str], None]
"""(inputs that are there, all inputs, the name of the last one)."""
_PARALLEL = 8
_ODD = re.compile(r"[^A-Za-z0-9.+_-]")


def quiet(_done: int, _total: int, _what: str) -> None: ...


def directory() -> Path:
    """Where inputs are kept unless somebody names another place."""
    named = os.environ.get("XDG_CACHE_HOME")
    return (Path(named) if named else Path.home() / ".cache").absolute() / "package-dmz" / "inputs"


class Cache:
    """Inputs by their sha256; its `path` is what plans call `Inputs`."""

    def __init__(
        self,
        where: Path | None = None,
        downloads: Downloads | None = None,
        images: Images | None = None,
        snapshot: str = SNAPSHOT,
    ) -> None:
        """`where`: the cache's directory; `images` gives blobs of base images; `snapshot`: that service's address."""
        self.where = where or directory()
        self._downloads = downloads or Downloader()
        self._images = images or Registry()
        self._snapshot = snapshot.rstrip("/")
        self._busy: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def path(self, wanted: LockedInput) -> Path:
        """The input as a file with the sha256 that `wanted` names. Permanent or Transient if it cannot be had."""
        path = self.place(wanted.sha256, wanted.filename)
        with self._lock(wanted.sha256):
            if not _holds(path, wanted):  # 1
                self._fetch(wanted, path)
        return path

    def prefetch(self, wanted: Iterable[LockedInput], progress: Progress = quiet) -> None:
        """Fetch what is missing, several at once; the first failure is raised. What is there is checked by `path`."""
        each = {one.sha256: one for one in wanted}
        missing = [one for one in each.values() if not _same_size(self.place(one.sha256, one.filename), one)]
        done = len(each) - len(missing)
        progress(done, len(each), "")
        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="inputs") as pool:
            running = {pool.submit(self.path, one): one for one in missing}
            try:
                for future in as_completed(running):
                    future.result()
                    done += 1
                    progress(done, len(each), running[future].name)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def fetch(self, url: str, sha256: Digest) -> tuple[Path, int]:
        """A file whose size nobody has stated yet, and that size in bytes."""
        path = self.place(sha256, url.rsplit("/", 1)[-1])
        with self._lock(sha256):
            if path.is_file() and _sha256(path) == sha256:
                return path, path.stat().st_size
            return path, self._downloads.fetch(url, sha256, path)

    def keep(self, data: bytes, name: str) -> tuple[Path, Digest]:
        """Bytes that came some other way, to be there for builds."""
        sha256 = "sha256:" + hashlib.sha256(data).hexdigest()
        path = self.place(sha256, name)
        with self._lock(sha256):
            temporary = path.with_name(f".part-{os.getpid()}-{path.name}")
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(data)
                temporary.replace(path)
            except OSError as error:
                raise Permanent(f"{path} cannot be written: {error.strerror}.") from error
            finally:
                temporary.unlink(missing_ok=True)
        return path, sha256

    def place(self, sha256: Digest, name: str) -> Path:
        """Where the cache has, or would have, the file; its name is for people who read messages."""
        digest = sha256.removeprefix("sha256:")
        return self.where / digest[:2] / f"{digest}-{_ODD.sub('_', name)[-100:]}"

    def _lock(self, sha256: str) -> threading.Lock:
        with self._guard:
            return self._busy.setdefault(sha256, threading.Lock())

    def _fetch(self, wanted: LockedInput, to: Path) -> None:
        if wanted.role == "image":
            base_image.fetch(wanted, to, self._images)
            return
        try:
            self._downloads.fetch(wanted.url, wanted.sha256, to, wanted.size)
        except Permanent as error:
            if not wanted.sha1 or isinstance(error.__cause__, OSError):  # no fault of the pool's
                raise
            archived = f"{self._snapshot}/file/{wanted.sha1}"
            try:
                self._downloads.fetch(archived, wanted.sha256, to, wanted.size)  # 3
            except Permanent as other:
                raise Permanent(
                    f"{wanted.name} {wanted.version} is to be had neither from the pool nor from the snapshot service: "
                    f"{error} {other} Lock the image again for a version that is."
                ) from error


def _same_size(path: Path, wanted: LockedInput) -> bool:
    try:
        return path.is_file() and path.stat().st_size == wanted.size
    except OSError:
        return False


def _holds(path: Path, wanted: LockedInput) -> bool:
    return _same_size(path, wanted) and _sha256(path) == wanted.sha256


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
