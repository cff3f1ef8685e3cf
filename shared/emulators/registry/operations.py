"""Long-running operations.

https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.operations.
As on Google Cloud, the answer that starts one never says `done`: a client has to ask, and learns of failure there.
What it does is done at once; faults.py can have it said late.
"""

import threading
from collections.abc import Mapping
from typing import Any

from shared.emulators.registry.http import Request
from shared.emulators.registry.names import Names
from shared.emulators.registry.problems import Problem, not_found
from shared.emulators.registry.store import Store

_TYPES = "type.googleapis.com/google.devtools.artifactregistry.v1."
_EMPTY = {"@type": "type.googleapis.com/google.protobuf.Empty"}


class Operations:
    """Keeps what operations ended with."""

    def __init__(self, store: Store, names: Names) -> None:
        self._store = store
        self._names = names
        self._polls: dict[str, int] = {}
        self._lock = threading.Lock()

    def succeeded(
        self, metadata: str, response: Mapping[str, Any] | None = None, kind: str = "", polls: int = 0
    ) -> dict[str, Any]:
        """Start an operation that ends well; `kind` is the message type of `response`, Empty without one.

        `polls`: so often it goes on when somebody looks at it.
        """
        answer = {"@type": _TYPES + kind, **response} if response is not None else _EMPTY
        return self._start(metadata, {"response": answer}, polls)

    def failed(self, metadata: str, problem: Problem, polls: int = 0) -> dict[str, Any]:
        """Start an operation that ends with `problem`."""
        return self._start(metadata, {"error": problem.rpc()}, polls)

    def get(self, identifier: str) -> dict[str, Any]:
        """The operation as it is now; 404 if there is none with this id."""
        content = self._store.operation(identifier)
        if content is None:
            raise not_found()
        with self._lock:
            left = self._polls.pop(identifier, 0)
            if left:
                self._polls[identifier] = left - 1
                return {"name": self._names.operation(identifier), "metadata": content["metadata"]}
        return {"name": self._names.operation(identifier), "done": True, **content}

    def _start(self, metadata: str, outcome: Mapping[str, Any], polls: int) -> dict[str, Any]:
        described = {"metadata": {"@type": _TYPES + metadata}}
        identifier = self._store.add_operation({**described, **outcome})
        if polls:
            with self._lock:
                self._polls[identifier] = polls
        return {"name": self._names.operation(identifier), **described}


def injected(request: Request) -> None:
    """Raise the failure that a test ordered for the operation of this request, if any."""
    if request.operation_error:
        raise request.operation_error
