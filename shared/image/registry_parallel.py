"""Several transfers at once, told as one number of bytes, and ended together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

Progress = Callable[[int, int, str], None]
"""Bytes done, bytes in all, and the digest that was last; called by several threads, one at a time."""
_PARALLEL = 4
_GRACE_SECONDS = 5.0
"""A server that is silent just then is not waited for."""
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def each(
    work: Callable[[_Item], _Result], items: Sequence[_Item], abort: Callable[[], None]
) -> list[_Result]:
    """`work` on every item, some at once.

    The first failure, or Ctrl-C, is raised; then what has not begun does not begin, and `abort` ends what is under way.
    """
    pool = ThreadPoolExecutor(_PARALLEL)
    futures: list[Future[_Result]] = [pool.submit(work, item) for item in items]
    try:
        return [future.result() for future in futures]
    except BaseException:
        abort()
        pool.shutdown(wait=False, cancel_futures=True)
        wait([future for future in futures if not future.cancelled()], _GRACE_SECONDS)
        raise
    finally:
        pool.shutdown(wait=False)


class Counter:
    """Bytes of several blobs."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._done: dict[str, int] = {}
        self._total = total
        self._progress = progress
        self._lock = threading.Lock()

    def at(self, digest: str, done: int) -> None:
        """So much of the blob is done."""
        with self._lock:
            self._done[digest] = done
            self._progress(sum(self._done.values()), self._total, digest)
