"""Multipart bodies, read as they arrive: RFC 2046, section 5.1.

Used for twine's form (multipart/form-data, RFC 7578) and for Google's metadata-and-media uploads (multipart/related).
"""

from collections.abc import Callable, Iterator
from email.message import Message
from email.parser import BytesHeaderParser

from shared.emulators.registry.body import Body
from shared.emulators.registry.problems import Problem

_HEADER_LIMIT = 1 << 16


def boundary(content_type: str) -> bytes:
    """The delimiter that Content-Type announces; 400 if there is none."""
    message = Message()
    message["Content-Type"] = content_type
    value = message.get_param("boundary")
    if (
        message.get_content_maintype() != "multipart"
        or not isinstance(value, str)
        or not 0 < len(value) <= 200
    ):
        raise Problem(400, f"Expected a multipart body with a boundary, not {content_type[:100]!r}.")
    # gcloud puts it in single quotes, which are not quotes by the RFC, and Google's servers take it.
    return value.removeprefix("'").removesuffix("'").encode("latin-1", "replace")


class Multipart:
    """Iterates over the parts of `body`. Read each part to its end, with `copy`, before the next."""

    def __init__(self, body: Body, delimiter: bytes) -> None:
        self._body = body
        self._delimiter = b"--" + delimiter
        # gcloud ends lines by a bare line feed, against the RFC; the first boundary's line tells which sort it is.
        self._newline = b"\n"
        # The first delimiter stands at the very beginning: give it the line end that the others have.
        self._buffer = b"\n"
        self._last = False

    def parts(self) -> Iterator[Message]:
        """The headers of each part."""
        self.copy(lambda _: None)  # the preamble
        if b"\r\n" in self._buffer[:2]:
            self._newline = b"\r\n"
        while not self._last:
            yield self._headers()

    def copy(self, write: Callable[[memoryview], object]) -> None:
        """Pass the rest of the current part to `write`, in pieces."""
        mark = self._newline + self._delimiter
        while (at := self._buffer.find(mark)) < 0:
            # A delimiter may begin in this piece and end in the next: hold back as much as could be one.
            safe = len(self._buffer) - len(mark) + 1
            if safe > 0:
                write(memoryview(self._buffer)[:safe])
                self._buffer = self._buffer[safe:]
            self._more()
        if at:
            write(memoryview(self._buffer)[:at])
        self._buffer = self._buffer[at + len(mark) :]
        self._after_mark()

    def text(self, limit: int) -> bytes:
        """The rest of the current part; 413 if it is longer than `limit` bytes."""
        held = bytearray()

        def write(piece: memoryview) -> None:
            held.extend(piece)
            if len(held) > limit:
                raise Problem(413, f"A part of the multipart body is longer than {limit} bytes.")

        self.copy(write)
        return bytes(held)

    def _after_mark(self) -> None:
        """Leave the buffer at the end of the boundary's line, that line end included."""
        while len(self._buffer) < 2:
            self._more()
        if self._buffer.startswith(b"--"):
            self._last = True
            return
        while (end := self._buffer.find(b"\n")) < 0:
            self._more_of_head()
        if self._buffer[:end].strip(b" \t\r"):
            raise Problem(400, "The multipart body is malformed after a boundary.")
        self._buffer = self._buffer[end - 1 if self._buffer[:end].endswith(b"\r") else end :]

    def _headers(self) -> Message:
        """The current part's headers; the buffer then begins with its content."""
        width = len(self._newline)
        while (end := self._buffer.find(self._newline * 2)) < 0:
            self._more_of_head()
        head, self._buffer = self._buffer[width : end + width], self._buffer[end + 2 * width :]
        return BytesHeaderParser().parsebytes(head)

    def _more_of_head(self) -> None:
        if len(self._buffer) > _HEADER_LIMIT:
            raise Problem(400, "The headers of a part of the multipart body are too long.")
        self._more()

    def _more(self) -> None:
        piece = self._body.read()
        if not piece:
            raise Problem(400, "The multipart body ends before its closing boundary.")
        self._buffer = self._buffer + piece if self._buffer else piece
