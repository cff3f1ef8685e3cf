"""Work on a stream of blocks beside the thread that makes them: hashing and compressing give the interpreter away."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_WAITING = 4
"""Blocks in a lane's queue: enough to keep it busy, few enough to stay small."""


def processors() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


class Lane:
    """Calls `work` with one block after the other, in the order in which they were put, on a thread of its own.

    The first failure of `work` comes out of the next `put`, or of the end of the `with` block.
    """

    def __init__(self, work: Callable[[bytes], None]) -> None:
        self._work = work
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def put(self, block: bytes) -> None:
        if self._failure:
            raise self._failure
        self._queue.put(block)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if self._failure and error is None:
            raise self._failure

    def _run(self) -> None:
        while (block := self._queue.get()) is not None:
            if self._failure:
                continue  # whoever puts must not block on a queue that nobody empties
            try:
                self._work(block)
            except BaseException as failure:  # handed to the thread that puts
                self._failure = failure
