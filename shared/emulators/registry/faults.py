"""Failures on order, for tests: answers with an error, broken connections, operations that fail late, a full disk.

Only with `"faults": true` in the configuration, and only on the bare loopback address. POST a fault to `/_faults`:

    {"method": "POST", "path": "aptArtifacts", "count": 2, "action": {"kind": "status", "code": 429, "retry_after": 1}}

It meets the next `count` requests whose method is `method` (absent: any) and in whose path the regular expression
`path` is found. Kinds: `status` (code, retry_after), `cut_request` and `cut_reply` (after_bytes), `operation` (status,
message: the upload is taken, its operation fails, nothing is stored; with `polls` only after so many looks at it, and
with the status OK it ends well then), `lag` (files: the listing leaves out so many, the newest ones).
`{"quota_bytes": N}` sets the quota instead.
DELETE removes all, GET tells what is left.
"""

import json
import re
import threading
from dataclasses import dataclass, replace
from typing import Any

from shared.emulators.registry.blobs import Blobs
from shared.emulators.registry.http import Reply, Request
from shared.emulators.registry.problems import RPC_CODE, Problem, reason

PATH = "/_faults"
_KINDS = {"status", "cut_request", "cut_reply", "operation", "lag"}
_LIMIT = 1 << 16


@dataclass
class Fault:
    """One order."""

    method: str
    path: re.Pattern[str]
    left: int
    action: dict[str, Any]

    def meets(self, request: Request) -> bool:
        return self.left > 0 and self.method in {"", request.method} and bool(self.path.search(request.path))


class Faults:
    """The orders that are open."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._open: list[Fault] = []
        self._lock = threading.Lock()

    def take(self, request: Request) -> dict[str, Any] | None:
        """The action of the first order that meets `request`, which is one less of it."""
        with self._lock:
            for fault in self._open:
                if fault.meets(request):
                    fault.left -= 1
                    return fault.action
        return None

    def control(self, request: Request) -> Reply:
        """Serve `/_faults` itself."""
        with self._lock:
            if request.method == "DELETE":
                self._open.clear()
                self._blobs.quota = 0
            elif request.method == "POST":
                self._order(request.body.read_all(_LIMIT))
            self._open = [fault for fault in self._open if fault.left > 0]
            left = [
                {"path": fault.path.pattern, "left": fault.left, "action": fault.action}
                for fault in self._open
            ]
        return Reply(content=json.dumps({"faults": left, "quota_bytes": self._blobs.quota}).encode())

    def _order(self, content: bytes) -> None:
        try:
            order = json.loads(content)
            if set(order) == {"quota_bytes"}:
                self._blobs.quota = int(order["quota_bytes"])
                return
            if order["action"]["kind"] not in _KINDS:
                raise Problem(400, f"The kind of a fault is one of {', '.join(sorted(_KINDS))}.")
            self._open.append(
                Fault(
                    order.get("method", ""), re.compile(order["path"]), int(order["count"]), order["action"]
                )
            )
        except (ValueError, KeyError, TypeError, re.error) as error:
            raise Problem(400, f"The fault cannot be read: {error!r}.") from error


def before(action: dict[str, Any], request: Request) -> Request:
    """Do what `action` does before the request is served."""
    if action["kind"] == "status":
        headers = {"Retry-After": str(action["retry_after"])} if "retry_after" in action else {}
        raise Problem(action["code"], action.get("message", reason(action["code"])), headers=headers)
    if action["kind"] == "cut_request":
        request.body.cut_after = int(action["after_bytes"])
    if action["kind"] == "operation":
        return _late(action, request)
    if action["kind"] == "lag":
        return replace(request, unlisted=int(action["files"]))
    return request


def _late(action: dict[str, Any], request: Request) -> Request:
    status = action.get("status", "UNAVAILABLE")
    late = replace(request, operation_polls=int(action.get("polls", 0)))
    if status == "OK":
        return late
    if status not in RPC_CODE:
        raise Problem(400, f"A fault's status cannot be {status!r}.")
    words = action.get("message", "The service is currently unavailable.")
    return replace(late, operation_error=Problem(500, words, status))


def after(action: dict[str, Any], reply: Reply) -> Reply:
    """Do what `action` does to the answer."""
    return replace(reply, cut_after=int(action["after_bytes"])) if action["kind"] == "cut_reply" else reply
