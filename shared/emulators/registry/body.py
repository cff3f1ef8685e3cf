"""The body of a request, read as it arrives and never held whole.

Framing: RFC 9112, sections 6 (Content-Length) and 7.1 (chunked).
"""

from typing import Protocol

from shared.emulators.registry.problems import Problem

CHUNK = 1 << 20
_LINE = 1024


class Disconnected(ConnectionError):
    """The client went away before the request was whole: there is nobody to answer."""


class Readable(Protocol):
    """What is needed of a buffered socket file."""

    def read1(self, size: int, /) -> bytes: ...

    def readline(self, size: int, /) -> bytes: ...


class Body:
    """A request's body. `length` is None if the client sends chunks and does not say."""

    def __init__(self, source: Readable, length: int | None, chunked: bool) -> None:
        self._source = source
        self._chunked = chunked
        self._left = 0 if chunked else (length or 0)
        self._ended = not chunked and not length
        self.length = None if chunked else (length or 0)
        self.cut_after: int | None = None
        self._taken = 0

    def read(self, size: int = CHUNK) -> bytes:
        """Some bytes, at most `size`; b"" at the end. Disconnected if the client left early."""
        if self._ended:
            return b""
        if self._chunked and not self._left:
            self._next_chunk()
            if self._ended:
                return b""
        data = self._source.read1(min(size, self._left))
        if not data:
            raise Disconnected
        self._left -= len(data)
        self._taken += len(data)
        if self.cut_after is not None and self._taken > self.cut_after:
            raise Disconnected
        if not self._left:
            if self._chunked:
                self._source.readline(_LINE)
            else:
                self._ended = True
        return data

    def read_all(self, limit: int) -> bytes:
        """The whole body; 413 if it is longer than `limit` bytes."""
        parts: list[bytes] = []
        total = 0
        while data := self.read():
            parts.append(data)
            total += len(data)
            if total > limit:
                raise Problem(413, f"The request body is longer than {limit} bytes.")
        return b"".join(parts)

    def drain(self, limit: int) -> bool:
        """Drop what the handler did not read, so that the client gets the answer; False if that exceeds `limit`."""
        dropped = 0
        while data := self.read():
            dropped += len(data)
            if dropped > limit:
                return False
        return True

    def _next_chunk(self) -> None:
        line = self._source.readline(_LINE)
        if not line.endswith(b"\n"):
            raise Disconnected
        try:
            self._left = int(line.split(b";", 1)[0].strip(), 16)
        except ValueError:
            raise Problem(400, "The chunked request body has a malformed chunk size.") from None
        if not self._left:
            while self._source.readline(_LINE).strip():  # trailers
                pass
            self._ended = True
