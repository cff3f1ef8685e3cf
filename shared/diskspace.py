"""Room on a small disk: on Cloud Run the file system is the instance's memory, so what lies there has a bound."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class DiskSpace:
    """Lets files in as long as they fit together, in the order in which they came.

    Whoever has room asks for no more before giving it back: so nobody waits for one who waits.
    """

    def __init__(self, limit: int) -> None:
        """`limit` in bytes."""
        self.limit = limit
        self._taken = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def room(self, wanted: int) -> Iterator[None]:
        """Waits until `wanted` bytes are free. What is larger than the whole disk may be there alone."""
        place = object()
        with self._changed:
            self._queue.append(place)
            self._changed.wait_for(lambda: self._queue[0] is place and self._free(wanted))
            self._queue.popleft()
            self._taken += wanted
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._taken -= wanted
                self._changed.notify_all()

    def _free(self, wanted: int) -> bool:
        return not self._taken or self._taken + wanted <= self.limit
