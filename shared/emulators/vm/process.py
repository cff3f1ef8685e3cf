"""A process held by descriptor: its id may be used again, its descriptor means this one for ever. pidfd_open(2)."""

import os
import select
import signal
from contextlib import suppress


class Process:
    """Process `pid`, which must not have been reaped yet. ProcessLookupError if there is none."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)

    def __del__(self) -> None:
        if hasattr(self, "_descriptor"):
            os.close(self._descriptor)

    @property
    def alive(self) -> bool:
        return not self._ended(0)

    def send(self, number: signal.Signals) -> None:
        """ProcessLookupError if it has ended."""
        signal.pidfd_send_signal(self._descriptor, number)

    def wait(self, seconds: float) -> bool:
        """Whether it has ended, after at most `seconds`."""
        return self._ended(seconds)

    def kill(self, seconds: float) -> None:
        """SIGKILL, and wait at most `seconds` for the end."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)
        self._ended(seconds)

    def _ended(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], seconds)[0])
