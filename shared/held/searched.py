"""What was found for a lock in one refresh: whatever else of it is refused now, the answer is the same, and asked once.

`reevaluations/relock-<id>`. A search that was let go, or could not be made, is no answer: the next one may do better.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Permanent, Transient
from shared.model.value import sha256
from shared.ports.store import Blobs, Document, Put, Store

_COLLECTION = "reevaluations"
_LEASE = 30.0
"""Seconds after which another worker searches as well: whoever had begun may have died."""
_LOOK = 0.1
"""Seconds between two looks whether another worker has found it."""


@dataclass(frozen=True)
class Searched:
    """The answers of one refresh."""

    store: Store
    blobs: Blobs
    verdicts: str
    """The stored verdicts of the refresh, which hold its moment, policy and advisories."""
    clock: Callable[[], float]

    def answer(self, lock: str, search: Callable[[], Document], until: float) -> Document:
        """What was found, or is found now. Transient if another worker has not found it by `until` (monotonic)."""
        name = f"relock-{sha256(f'{self.verdicts} {lock}'.encode())[7:39]}"
        while True:
            with suppress(Permanent):  # its proposal cannot be read any more
                if (known := self._known(name)) is not None:
                    return known
            claim = self.store.claim(f"sync:{name}", self.clock(), _LEASE)
            if claim.state == "done":
                return search()
            if claim.state == "won":
                break
            if time.monotonic() > until:
                raise Transient("Another worker searches for it still.")
            time.sleep(_LOOK)
        try:
            found = search()
        except BaseException as error:
            self.store.release(claim, repr(error))
            raise
        with suppress(Transient):  # another worker has taken over: its answer is kept
            self.store.finish(claim, [Put(_COLLECTION, name, found)], (), self.clock())
        return found

    def _known(self, name: str) -> Document | None:
        found = self.store.get(_COLLECTION, name)
        if found and "proposal" in found:
            self.blobs.put(self.blobs.get(str(found["proposal"])))  # whoever names content puts it
        return found
