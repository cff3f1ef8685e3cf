"""Zone operations: https://cloud.google.com/compute/docs/reference/rest/v1/zoneOperations."""

import datetime
import logging
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from shared.emulators.confidential_space.problems import not_found

_WAIT_SECONDS = 120.0
"""zoneOperations.wait answers within two minutes."""
_log = logging.getLogger(__name__)


class Operations:
    """Safe to use from any thread."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._changed = threading.Condition()  # on a lock that one thread may take twice

    def done(self, kind: str, target: str, user: str, number: str) -> dict[str, Any]:
        """One whose work is done already."""
        return self._finish(self._new(kind, target, user, number), None)

    def start(
        self, kind: str, target: str, user: str, number: str, work: Callable[[], None]
    ) -> dict[str, Any]:
        operation = self._new(kind, target, user, number)
        shown = dict(operation)

        def run() -> None:
            try:
                work()
                self._finish(operation, None)
            except Exception as error:  # an operation always ends: who polls it would wait for ever
                _log.exception("operation %s", kind)
                self._finish(operation, str(error))

        threading.Thread(target=run, name=kind, daemon=True).start()
        return shown

    def get(self, name: str) -> dict[str, Any]:
        with self._changed:
            if name not in self._known:
                raise not_found(f"operations/{name[:100]}")
            return dict(self._known[name])

    def wait(self, name: str) -> dict[str, Any]:
        """As soon as it is done, or as it is after two minutes."""
        deadline = time.monotonic() + _WAIT_SECONDS
        with self._changed:
            while (found := self.get(name))["status"] != "DONE" and time.monotonic() < deadline:
                self._changed.wait(1)
            return found

    def all(self) -> list[dict[str, Any]]:
        with self._changed:
            return [dict(each) for each in self._known.values()]

    def _new(self, kind: str, target: str, user: str, number: str) -> dict[str, Any]:
        name = f"operation-{int(time.time() * 1000)}-{secrets.token_hex(6)}-{secrets.token_hex(4)}"
        zone, now = target.partition("/instances/")[0], _now()
        operation = {
            "kind": "compute#operation",
            "id": str(secrets.randbelow(2**62)),
            "name": name,
            "zone": zone,
            "operationType": kind,
            "targetLink": target,
            "targetId": number,
            "status": "RUNNING",
            "user": user,
            "progress": 0,
            "insertTime": now,
            "startTime": now,
            "selfLink": f"{zone}/operations/{name}",
        }
        with self._changed:
            self._known[name] = operation
        return operation

    def _finish(self, operation: dict[str, Any], error: str | None) -> dict[str, Any]:
        with self._changed:
            operation |= {"status": "DONE", "progress": 100, "endTime": _now()}
            if error:
                operation["error"] = {"errors": [{"code": "INTERNAL_ERROR", "message": error}]}
                operation |= {"httpErrorStatusCode": 500, "httpErrorMessage": "INTERNAL SERVER ERROR"}
            self._changed.notify_all()
            return dict(operation)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
