"""One file of a wheel as a stream that proves itself: inflated and hashed in the one pass that reads it.

Nothing of a wheel is unpacked to disk. Whoever reads the file to its end gets exactly the bytes that RECORD vouches
for, or Permanent before the last of them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO, cast

from shared.errors import Permanent
from shared.guest.record import Row
from shared.image.tree import Content
from shared.model.value import printable

_HEADER = 30
_CHUNK = 256 * 1024
_PIECE = 1024 * 1024
"""Most bytes that one read gives, whatever it asks for: a member of gigabytes stays small."""


def content(path: Path, info: zipfile.ZipInfo, row: Row, filename: str) -> Content:
    """The file that `info` is in the wheel at `path`, which is called `filename`, and `row` in its RECORD."""
    return Content(
        info.file_size, lambda: cast(IO[bytes], _Member(path, info, row, f"{filename}: '{info.filename}'"))
    )


def read(path: Path, info: zipfile.ZipInfo, row: Row, filename: str) -> bytes:
    """The whole file, proved. For the few that an installer has to understand."""
    with content(path, info, row, filename).open() as stream:
        return stream.read()


class _Member(io.RawIOBase):
    def __init__(self, path: Path, info: zipfile.ZipInfo, row: Row, what: str) -> None:
        self._member = what
        self._size = info.file_size
        self._left = info.compress_size
        self._count = 0
        algorithm, _, self._expected = row[1].partition("=")
        self._digest = hashlib.new(algorithm)
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if info.compress_type else None
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise Permanent(f"{self._what} cannot be read: {error.strerror}.") from error
        self._file.seek(info.header_offset)
        header = self._file.read(_HEADER) or b""
        if len(header) != _HEADER or header[:4] != b"PK\x03\x04":
            raise self._broken("it does not stand where the zip file's directory says")
        self._file.seek(sum(struct.unpack_from("<HH", header, 26)), io.SEEK_CUR)
        if self._size == 0:
            self._prove()

    @property
    def _what(self) -> str:
        return printable(self._member, 300)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return self.readall()
        if size == 0 or self._count == self._size:
            return b""
        try:
            data = self._next(min(size, _PIECE, self._size - self._count))
        except zlib.error as error:
            raise self._broken(str(error)) from error
        except OSError as error:
            raise Permanent(f"{self._what} cannot be read: {error.strerror}.") from error
        if not data:
            raise self._broken("it is cut off")
        self._digest.update(data)
        self._count += len(data)
        if self._count == self._size:
            self._prove()
        return data

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    def _next(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end of what is stored."""
        if self._inflate is None:
            data = self._file.read(min(size, self._left)) or b""
            self._left -= len(data)
            return data
        while not self._inflate.eof:
            given = self._inflate.unconsumed_tail
            if not given:
                given = self._file.read(min(_CHUNK, self._left)) or b""
                self._left -= len(given)
            data = self._inflate.decompress(given, size)
            if data or not given:
                return data
        return b""

    def _prove(self) -> None:
        """The bytes given are those that RECORD names."""
        found = base64.urlsafe_b64encode(self._digest.digest()).rstrip(b"=").decode()
        if found != self._expected.rstrip("="):
            raise Permanent(
                f"{self._what} is not what RECORD says; the wheel is refused. Take its file from the index again, "
                "or another version."
            )

    def _broken(self, reason: str) -> Permanent:
        return Permanent(f"{self._what} cannot be inflated: {reason}; the wheel is refused.")
