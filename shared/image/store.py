"""Layers that were built before, by what they were built from.

`DIRECTORY/layers/KEY` says what a layer came to, `blobs/SHA256` are its bytes, `checked/` which files were hashed.

What is believed, and why that suffices:
1. A record holds the digest of its own text; a damaged or half-written one counts as none.
2. A blob is never believed: whoever takes it into an image hashes what arrived there, and rebuilds the layer if that
   is not the record's digest. A rebuilt layer must have the record's digest too.
3. A file in an image that was hashed once is not hashed again as long as device, inode, size, and both times of change
   are what they were then. The kernel sets the second of them (ctime) on every write and no call sets it back, so
   an edit, a truncation or a replacement is always seen; a time that is too young to tell is not believed. Bits that
   rot on a disk without a write are not seen here: `oci.read_layout`, which every push, run and appraisal begins
   with, hashes everything.
4. Whoever can write into this directory is the user who builds; against her no cache helps, other rebuilders do.
A build that is killed leaves a file in `tmp/`, which a later one removes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple

from shared.errors import Permanent
from shared.image import codec as codecs
from shared.model.image import BuiltLayer, Codec
from shared.model.value import Digest, Part, sha256

_FORMAT = "tar/1"
"""Of what is made of a tree; another one must not meet layers of this one."""
_YOUNG = 50_000_000
"""Nanoseconds: two changes within a tick of the kernel's clock (at most 10 ms) have the same time."""
_ABANDONED = 60
"""Seconds after which a temporary file that nobody holds is removed."""


class _Record(Part):
    key: str
    codec: str
    digest: Digest
    diff_id: Digest
    size: int


class Temporary(NamedTuple):
    path: Path
    stream: IO[bytes]


class LayerStore:
    """Safe for many threads and processes at once: every file appears whole, under a name that follows from it."""

    def __init__(self, directory: Path) -> None:
        """Permanent if `directory` cannot be made."""
        self._directory = directory
        try:
            for name in ("layers", "blobs", "checked", "tmp"):
                (directory / name).mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=directory / "tmp").close()  # it may be there and read-only
        except OSError as error:
            raise Permanent(
                f"The cache of layers {directory} cannot be written: {error.strerror}; "
                "name another place in XDG_CACHE_HOME."
            ) from error
        self._sweep()

    def find(self, name: str, key: str, codec: Codec) -> BuiltLayer | None:
        """What the layer of that key came to before."""
        try:
            line, _, body = self._record(key, codec).read_bytes().partition(b"\n")
            if line.decode() != sha256(body):  # 1
                return None
            record = _Record.read(body, "a record of the cache")
        except (OSError, UnicodeDecodeError, Permanent):
            return None
        if (record.key, record.codec) != (key, codecs.identity(codec)):
            return None
        return _layer(name, record, codec)

    def blob(self, digest: str) -> Path:
        """Where the bytes of a layer should be; whoever takes them hashes them (2)."""
        return self._directory / "blobs" / digest.removeprefix("sha256:")

    def drop(self, digest: str) -> None:
        """Forget bytes that turned out to be others."""
        self.blob(digest).unlink(missing_ok=True)

    @contextmanager
    def temporary(self) -> Iterator[Temporary]:
        """A new file on the cache's disk, removed at the end unless it got another name."""
        descriptor, name = tempfile.mkstemp(dir=self._directory / "tmp")
        path = Path(name)
        with os.fdopen(descriptor, "wb", 0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield Temporary(path, file)
            finally:
                path.unlink(missing_ok=True)

    def keep(self, name: str, key: str, codec: Codec, file: Temporary, written: codecs.Written) -> BuiltLayer:
        """Take a layer's blob, written into a file of `temporary`, under its digest.

        Permanent if the same key gave other bytes before: then something that the key does not name has a say in them.
        """
        before = self.find(name, key, codec)
        if before and (before.digest, before.diff_id) != (written.digest, written.diff_id):
            raise Permanent(
                f"The layer {name} came out other than last time ({written.digest} now, {before.digest} then), "
                f"though nothing that it is made of changed: please report this; remove {self._directory} to go on."
            )
        file.path.replace(self.blob(written.digest))
        record = _Record(
            key=key,
            codec=codecs.identity(codec),
            digest=written.digest,
            diff_id=written.diff_id,
            size=written.size,
        )
        body = record.canonical()
        self._put(self._record(key, codec), sha256(body).encode() + b"\n" + body)
        return _layer(name, record, codec)

    def was_checked(self, path: Path, digest: str, size: int) -> bool:
        """Whether this very file was found to have that digest, and nobody wrote to it since (3)."""
        try:
            status = path.stat(follow_symlinks=False)
            return status.st_size == size and self._mark(status).read_bytes() == _seen(status, digest)
        except OSError:
            return False

    def checked(self, path: Path, digest: str) -> bool:
        """Note that `path` has just been found to have `digest`; False if it is too young to tell a later change."""
        status = path.stat(follow_symlinks=False)
        age = time.time_ns() - max(status.st_ctime_ns, status.st_mtime_ns)
        if age < _YOUNG:
            return False
        self._put(self._mark(status), _seen(status, digest))
        return True

    def _record(self, key: str, codec: Codec) -> Path:
        named = f"{_FORMAT}\0{codecs.identity(codec)}\0{key}"
        return self._directory / "layers" / hashlib.sha256(named.encode()).hexdigest()

    def _mark(self, status: os.stat_result) -> Path:
        return self._directory / "checked" / f"{status.st_dev:x}-{status.st_ino:x}"

    def _put(self, path: Path, data: bytes) -> None:
        with self.temporary() as file:
            file.stream.write(data)
            file.path.replace(path)

    def _sweep(self) -> None:
        """Remove what builds left that were killed: what is old and locked by nobody."""
        for path in (self._directory / "tmp").iterdir():
            with suppress(OSError):
                if time.time() - path.stat().st_mtime < _ABANDONED:
                    continue
                with path.open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()


def _layer(name: str, record: _Record, codec: Codec) -> BuiltLayer:
    return BuiltLayer(
        name=name,
        digest=record.digest,
        diff_id=record.diff_id,
        size=record.size,
        media_type=codecs.media_type(codec),
    )


def _seen(status: os.stat_result, digest: str) -> bytes:
    times = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return f"{digest} {' '.join(map(str, times))}\n".encode()
