"""Long-running operations of Artifact Registry, followed to their end (https://google.aip.dev/151).

An upload of an archive or a generic file is taken at once and imported afterwards, which may take longer than the
delivery that waits for it.

1. What goes on is not begun a second time: an operation that outlasts its delivery is noted, and whoever comes with the
   same bytes for the same place waits for that one.
2. A look that fails (busy, cut off) is no end of the operation: it is looked at again, in the next delivery if need be.
3. An operation that failed ends with the service's own reason. What may pass is begun anew, what will not is final.
4. What has not ended within `_BUDGET` seconds of its beginning is given up, once and for all: the next run begins anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import Permanent, Transient
from shared.model.value import printable, sha256
from shared.ports.store import Put, Store

_PATIENCE = 240
"""Seconds that one delivery waits: eight uploads wait side by side, and a push request ends at 600 s."""
_BUDGET = 1500
"""Seconds from its beginning that an operation may take in all: less than the tries of one event last."""
_ALREADY_EXISTS = 6
"""https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto"""
_FINAL = {3, 7, 9, 11, 12}
"""INVALID_ARGUMENT, PERMISSION_DENIED, FAILED_PRECONDITION, OUT_OF_RANGE, UNIMPLEMENTED: the same content would fail
again (https://google.aip.dev/194)."""

Look = Callable[[str], dict[str, Any]]
"""The operation of that name as it is now; Transient if that cannot be told, Permanent if there is no such one."""


@dataclass(frozen=True)
class Begun:
    """An operation, and when it began in seconds since the epoch."""

    name: str
    since: float


def place(url: str, names: Mapping[str, str], digest: str) -> str:
    """Of these bytes at that address: the id of what is noted about their import."""
    return sha256("\0".join((url, *sorted(names.values()), digest)).encode())[7:39]


class Imports:
    """The operations that one client has begun, or found to be going on."""

    def __init__(self, store: Store | None = None) -> None:
        """Without a store, nothing is remembered beyond this object."""
        self._store = store
        self._here: dict[str, Begun] = {}

    def going_on(self, key: str) -> Begun | None:
        """What an earlier delivery has begun for the same bytes and has not seen the end of."""
        if found := self._here.get(key):
            return found
        noted = (self._store.get("imports", key) if self._store else None) or {}
        return Begun(str(noted["operation"]), float(noted["since"])) if noted.get("operation") else None

    def brought(
        self, key: str, begun: Begun, look: Look, what: str
    ) -> dict[str, Any] | Permanent | Transient | None:
        """What it brought when it ended; None if the service holds such a file already. Raises as `_response` does.

        If it has not ended: what there is to tell of that, which no second upload would mend (1, 4).
        """
        until, pause, failed = time.monotonic() + _PATIENCE, 0.05, ""
        while begun.name:
            try:
                operation = look(begun.name)
            except Transient as error:
                failed = str(error)  # 2
                break
            if operation.get("done"):
                self.forget(key)
                return _response(operation, what)
            if time.monotonic() > until:
                break
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - that many who wait do not ask together
            pause = min(2.0, pause * 2)
        return self._outlasted(key, begun, failed, what) if begun.name else {}

    def forget(self, key: str) -> None:
        """It has ended, or nobody knows of it any more."""
        known = self._here.pop(key, None)
        if self._store and (known or self._store.get("imports", key)):
            self._store.put([Put("imports", key, {"operation": ""})])

    def _outlasted(self, key: str, begun: Begun, failed: str, what: str) -> Permanent | Transient:
        if time.time() - begun.since > _BUDGET:  # 4
            self.forget(key)
            return Permanent(
                f"{what}: Artifact Registry has taken the bytes and not finished importing them within "
                f"{_BUDGET // 60} minutes; look at {begun.name}, then run the workload again."
            )
        self._here[key] = begun
        if self._store:  # 1
            self._store.put([Put("imports", key, {"operation": begun.name, "since": begun.since})])
        if failed:
            return Transient(f"{what} is being imported, and how far it is cannot be told: {failed}")
        return Transient(f"{what} was not imported by Artifact Registry within {_PATIENCE} s; it goes on.")


def _response(operation: Mapping[str, Any], what: str) -> dict[str, Any] | None:
    """What an ended operation brought; None if the service holds such a file already. Transient or Permanent (3)."""
    error = operation.get("error") or {}
    # A conflict is told by the operation, not by the answer to the upload.
    if error.get("code") == _ALREADY_EXISTS:
        return None
    if error:
        words = printable(str(error.get("message")), 300).removesuffix(".")
        if error.get("code") in _FINAL:
            raise Permanent(f"{what} was refused by Artifact Registry after the upload: {words}.")
        raise Transient(f"{what} failed in Artifact Registry after the upload: {words}.")
    found: dict[str, Any] = operation.get("response", {})
    return found
