"""What a VM's serial port has said: the launcher's lines, and between them what the container printed.

As getSerialPortOutput gives it: the most recent 1 MB, counted from the first byte ever said.
https://cloud.google.com/compute/docs/reference/rest/v1/instances/getSerialPortOutput
"""

import datetime
import threading
from pathlib import Path

_LIMIT = 2**20


class Console:
    """Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said = bytearray()
        self._dropped = 0
        self._live: Path | None = None

    def say(self, text: str, severity: str = "INFO") -> None:
        """One line of the launcher's."""
        now = datetime.datetime.now(datetime.UTC).strftime("%Y/%m/%d %H:%M:%S")
        line = " ".join(text.split("\n"))
        with self._lock:
            self._add(f"{now} [tee-container-launcher] {severity} {line}\n".encode(errors="replace"))

    def follow(self, path: Path | None) -> None:
        """From now on, what the file at `path` gains is part of the output; None: what it has now was all."""
        with self._lock:
            self._add(self._tail())
            self._live = path

    def read(self, start: int = 0) -> tuple[bytes, int, int]:
        """The output from byte `start` on; where it begins and ends."""
        with self._lock:
            said, first = bytes(self._said) + self._tail(), self._dropped
        if len(said) > _LIMIT:
            first += len(said) - _LIMIT
            said = said[-_LIMIT:]
        begin = min(max(start, first), first + len(said))
        return said[begin - first :], begin, first + len(said)

    def _add(self, said: bytes) -> None:
        self._said += said
        if (excess := len(self._said) - _LIMIT) > 0:
            del self._said[:excess]
            self._dropped += excess

    def _tail(self) -> bytes:
        if self._live is None:
            return b""
        try:
            with self._live.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - _LIMIT))
                return file.read()
        except OSError:  # the VM is on its way out
            return b""
