"""Bytes of many files, put into one nameless file on disk and opened again at their places."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from shared.errors import Permanent, Transient
from shared.image.tree import Content

_CHUNK = 1024 * 1024


class Spool:
    """Grows at its end. It has no name: nobody else can change it, and it is gone when its last reader is."""

    def __init__(self, near: Path) -> None:
        """`near`: a directory on whose disk there is room; where it cannot be written, the system's own."""
        place = near if os.access(near, os.W_OK) else None
        self._file = tempfile.TemporaryFile(dir=place)  # noqa: SIM115 - lives as long as what points into it
        self._end = 0

    def add(self, source: IO[bytes], size: int, what: str) -> tuple[int, int]:
        """Copy exactly `size` bytes of `source`; where they stand (offset, size). Permanent if there are fewer."""
        start = self._end
        left = size
        while left:
            data = source.read(min(left, _CHUNK))
            if not data:
                raise Permanent(f"{what} is cut off: {left} of a file's {size} bytes are missing.")
            self._write(data)
            left -= len(data)
        return start, size

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                written = os.pwrite(self._file.fileno(), view, self._end)
            except OSError as error:
                raise Transient(
                    f"There is no room to unpack packages: {error.strerror}; free some and run again."
                ) from error
            self._end += written
            view = view[written:]

    def content(self, offset: int, size: int, same: str = "") -> Content:
        return Content(size, lambda: cast(IO[bytes], io.BufferedReader(_Window(self, offset, size))), same)

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self._file.fileno(), size, offset)


class _Window(io.RawIOBase):
    """One file's bytes in a spool."""

    def __init__(self, spool: Spool, offset: int, size: int) -> None:
        self._spool = spool
        self._at = offset
        self._end = offset + size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        data = self._spool.read(self._at, min(len(view), self._end - self._at))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def constant(data: bytes) -> Content:
    """Bytes that are in memory anyway."""
    return Content(len(data), cast("Callable[[], IO[bytes]]", lambda: io.BytesIO(data)))
