"""Questions to the store that go out together: a page waits for the slowest of them, not for all in turn."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_AT_ONCE = 8


def ahead(call: Callable[[], T]) -> Callable[[], T]:
    """Begins now; what it gives returns the answer, or raises as `call` did. A call must not ask ahead itself."""
    return _pool().submit(call).result


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ahead")
