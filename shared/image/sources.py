"""A service's own sources: which files of the directory go into the image, and what they are."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from shared.errors import Permanent
from shared.image.tree import Content, File
from shared.model.image import ImageSpec
from shared.model.value import printable

MAX_FILES = 100_000
_CHUNK = 1024 * 1024
_LEFT_OUT = frozenset({"__pycache__"})


@dataclass(frozen=True)
class Source:
    """One file as it was when the image was planned."""

    place: str
    """Relative to the source directory."""
    path: Path
    size: int
    sha256: str
    executable: bool

    def file(self) -> File:
        return File(Content(self.size, self._open), 0o755 if self.executable else 0o644)

    def _open(self) -> IO[bytes]:
        try:
            return cast(IO[bytes], io.BufferedReader(_Unchanged(self), _CHUNK))
        except OSError as error:
            raise Permanent(f"The source {self.path} cannot be read: {error.strerror}.") from error


def of(spec: ImageSpec, directory: Path) -> tuple[Source, ...]:
    """The sources of `spec`, which lie in `directory`: what it includes of them, without what it leaves out.

    Permanent as `read` is, and for a name in either list that no file has: an image that lacks a part by a slip of
    the pen is found when it fails.
    """
    found = read(directory, spec.include)
    for name in (*spec.include, *spec.leave_out):
        if not any(_below(each.place, name) for each in found):
            raise Permanent(
                f"There is no {name} among the sources in {directory}; correct include and leave_out in the image spec."
            )
    kept = tuple(each for each in found if not any(_below(each.place, name) for name in spec.leave_out))
    if not kept:
        raise Permanent(f"The image spec leaves out every source in {directory}; correct leave_out.")
    return kept


def _below(place: str, name: str) -> bool:
    return place == name or place.startswith(f"{name}/")


def read(directory: Path, include: Sequence[str] = ()) -> tuple[Source, ...]:
    """Every file below `directory`, or in those of its parts that `include` names, sorted by path. Left out: what a
    name with a dot at its beginning hides (version control, editors, caches), `__pycache__` and `*.pyc`. Permanent for
    links and devices, and for none at all.
    """
    if not directory.is_dir():
        raise Permanent(
            f"There are no sources in {directory}: it is no directory; correct `source` in the image spec."
        )
    try:
        found = sorted(
            (_source(directory, path) for path in _files(directory, include)),
            key=lambda each: each.place.encode(),
        )
    except OSError as error:
        raise Permanent(
            f"The sources in {directory} cannot be read: {error.strerror} ({error.filename})."
        ) from error
    if not 0 < len(found) <= MAX_FILES:
        raise Permanent(
            f"There are {len(found)} source files in {directory}; give between 1 and {MAX_FILES}."
        )
    return tuple(found)


def _files(directory: Path, include: Sequence[str], below: str = "") -> Iterator[Path]:
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in _LEFT_OUT or entry.name.endswith(".pyc"):
                continue
            path, place = Path(entry.path), f"{below}{entry.name}"
            whole = not include or any(_below(place, name) for name in include)
            if not whole and not any(_below(name, place) for name in include):
                continue  # not looked into: a checkout holds environments and caches beside its sources
            if entry.is_dir(follow_symlinks=False):
                yield from _files(path, () if whole else include, f"{place}/")
            elif not whole:
                continue
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                raise Permanent(
                    f"The source {printable(str(path), 300)} is a link or a device; put a file there or take it away."
                )


def _source(directory: Path, path: Path) -> Source:
    # In the image names are UTF-8, whatever this machine's locale takes the bytes for.
    place = os.fsencode(path.relative_to(directory)).decode(errors="replace")
    if not place.isprintable() or "\ufffd" in place:
        raise Permanent(
            f"The source {printable(str(path), 300)} has a name that is no plain text; rename it."
        )
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return Source(place, path, size, digest.hexdigest(), bool(mode & stat.S_IXUSR))


class _Unchanged(io.RawIOBase):
    """The file's bytes; Permanent at their end if they are not those that were planned with."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._file = source.path.open("rb", buffering=0)
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        count = self._file.readinto(view) or 0
        self._digest.update(view[:count])
        if count == 0 and len(view) and self._digest.hexdigest() != self._source.sha256:
            raise Permanent(
                f"The source {self._source.path} changed while the image was built; build it again."
            )
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
