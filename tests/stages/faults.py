"""A worker that dies after any one of its calls to the world, leaving its claim behind as a killed process does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any


class Death(BaseException):
    """No handler in the product catches it, as none runs in a process that is killed."""


_READS = frozenset(
    {
        "get",
        "find",
        "outbox",
        "stale_outbox",
        "stored",
        "failure",
        "all",
        "hosts",
        "source",
        "findings",
        "files",
        "prefetch",
    }
)
"""To die after a call that changes nothing is to die after the call before it."""
_BESIDE = frozenset({"renew"})
"""Called by the lease's own thread, which a death takes along."""


class Fuse:
    """Counts calls; the one numbered `at` has its effect, and whoever made it dies. 0: nobody dies."""

    def __init__(self, at: int = 0) -> None:
        self._at = at
        self._lock = threading.Lock()
        self.calls: list[str] = []
        self.blown = ""

    def arm(self, at: int) -> None:
        """Count anew from here."""
        with self._lock:
            self.calls.clear()
            self._at = at

    def through(self, name: str, port: Any) -> Any:
        """`port`, with the fuse in every call."""
        return _Fused(name, port, self)

    def call(self, what: str, work: Callable[[], Any]) -> Any:
        result = work()
        with self._lock:
            self.calls.append(what)
            if len(self.calls) != self._at:
                return result
            self.blown = what
        raise Death(what)


class _Fused:
    def __init__(self, name: str, port: Any, fuse: Fuse) -> None:
        self._name, self._port, self._fuse = name, port, fuse

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        if not callable(found) or method in _READS | _BESIDE:
            return found
        return lambda *given, **named: (
            found(*given, **named)
            if method == "put" and noted(given)
            else self._fuse.call(f"{self._name}.{method}", lambda: found(*given, **named))
        )


def noted(given: tuple[Any, ...]) -> bool:
    """Whether a write is a span's alone: the lease's own thread makes it, or who has failed already."""
    writes = given[0] if given and isinstance(given[0], Sequence) else ()
    return bool(writes) and all(getattr(each, "collection", "") == "spans" for each in writes)
