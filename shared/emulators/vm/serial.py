"""The serial port of a VM: what it prints, from a pipe into a file of limited size. The text is the guest's."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

_END = b"\n[the serial log ends here: it has reached its limit]\n"


def tail(path: Path, characters: int = 500) -> str:
    """The end of a serial log, for a message; empty if there is none."""
    return path.read_text(encoding="utf-8", errors="replace")[-characters:].strip() if path.exists() else ""


class SerialLog:
    """Appends what is written to `writer()` to `path`, at most `limit` bytes; reads on without end."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._copy, name="serial", daemon=True)

    def __enter__(self) -> "SerialLog":
        self._file = self._path.open("ab", buffering=0)
        self._thread.start()
        return self

    @contextmanager
    def writer(self) -> Iterator[int]:
        """The pipe's end for the guest; ours is closed afterwards, so that the guest's end is the log's end."""
        try:
            yield self._writer
        finally:
            os.close(self._writer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.join(5)

    def drain(self, seconds: float) -> None:
        """Wait at most so long until all is in the file that was written; for when the last writer has ended."""
        self._thread.join(seconds)

    def _copy(self) -> None:
        room = self._limit
        with self._file, os.fdopen(self._reader, "rb", buffering=0) as reader:
            while block := reader.read(65536):
                self._file.write(block[:room])
                if room and len(block) >= room:
                    self._file.write(_END)
                room = max(0, room - len(block))
