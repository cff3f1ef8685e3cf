"""Decompression as a stream whose output, memory and end are bounded and checked."""

from __future__ import annotations

import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, cast

import zstandard

from shared.errors import Permanent

_CHUNK = 1024 * 1024
_MEMORY = 256 * 1024**2
"""Bytes that a stream's dictionary may take: `xz -9` asks for 65 MiB, `zstd --ultra -22` for 128 MiB."""


class Bounded(io.RawIOBase):
    """What `source` gives, at most `limit` bytes of it; every failure of the decompressor is one sentence."""

    def __init__(self, source: IO[bytes], limit: int, what: str) -> None:
        self._source = source
        self._left = limit
        self._limit = limit
        self._what = what

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer)).cast("B")
        try:
            data = self._source.read(len(view))
        except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError, MemoryError) as error:
            raise Permanent(
                f"{self._what} cannot be decompressed: {error or 'it asks for too much memory'}."
            ) from error
        self._left -= len(data)
        if self._left < 0:
            raise Permanent(f"{self._what} inflates to more than {self._limit} bytes, which is refused.")
        view[: len(data)] = data
        return len(data)


class _Xz(io.RawIOBase):
    """An xz file, read with a bound on memory, which `lzma.LZMAFile` does not have."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while True:
            if self._decompressor.eof:
                if self._decompressor.unused_data.strip(b"\x00") or self._source.read(1):
                    raise lzma.LZMAError("something follows its end")
                return b""
            given = self._source.read(_CHUNK) if self._decompressor.needs_input else b""
            if self._decompressor.needs_input and not given:
                raise EOFError("it is cut off")
            if data := self._decompressor.decompress(given, max(size, 1)):
                return data


class _Zstd(io.RawIOBase):
    """One zstd frame to its end, which `stream_reader` does not miss when it is not there."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_MEMORY).decompressobj()
        self._data = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while not self._data:
            if self._decompressor.eof:
                if self._decompressor.unused_data or self._source.read(1):
                    raise zstandard.ZstdError("something follows its end")
                return b""
            # A frame of a few bytes may hold 128 KiB of zeros for every three: small bites keep the output small.
            given = self._source.read(1024)
            if not given:
                raise EOFError("it is cut off")
            self._data = memoryview(self._decompressor.decompress(given))
        data, self._data = bytes(self._data[:size]), self._data[size:]
        return data


_BY_SUFFIX: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    "": lambda source: source,
    ".gz": lambda source: cast(IO[bytes], gzip.GzipFile(fileobj=source)),
    ".xz": lambda source: cast(IO[bytes], _Xz(source)),
    ".zst": lambda source: cast(IO[bytes], _Zstd(source)),
}


def inflated(source: IO[bytes], suffix: str, limit: int, what: str) -> IO[bytes]:
    """A stream of what `source` holds compressed as its name's `suffix` says; `what` names it in a failure.

    Permanent, here or from the stream's `read`: an unknown suffix, a damaged or cut stream, more than `limit` bytes,
    more memory than any sound file asks for.
    """
    if suffix not in _BY_SUFFIX:
        raise Permanent(f"{what} is compressed as '{suffix}'; .gz, .xz, .zst and nothing are read.")
    return cast(IO[bytes], io.BufferedReader(Bounded(_BY_SUFFIX[suffix](source), limit, what), _CHUNK))
