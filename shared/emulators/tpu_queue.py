"""Queued resources of the TPU API stand-in: requests that wait until their zone has room for them.

Source: https://docs.cloud.google.com/tpu/docs/queued-resources and cloud_tpu.proto (QueuedResourceState). A request is
ACCEPTED, then WAITING_FOR_RESOURCES while there is no capacity, PROVISIONING while its nodes boot, ACTIVE when all are
READY. It is FAILED, with the reason, if it was not served in time or its nodes cannot be made; SUSPENDED once a node of
it is preempted (by the SERVICE) or deleted (by the USER). It counts against the quota until it is deleted.
"""

import hashlib
import itertools
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from google.cloud.tpu_v2.types import cloud_tpu

from shared.emulators.tpu_capacity import Capacity, Terms
from shared.emulators.tpu_errors import (
    ApiError,
    already_exists,
    expired,
    invalid,
    no_reserved_capacity,
    not_found,
    precondition,
    too_many_hosts,
)
from shared.emulators.tpu_messages import copy, now
from shared.emulators.tpu_names import page, parent_of, zone_of
from shared.emulators.tpu_nodes import Nodes
from shared.emulators.tpu_nodes import State as NodeState
from shared.emulators.tpu_queue_request import Wanted, terms, wanted, window
from shared.emulators.tpu_server import Method, Operations
from shared.emulators.tpu_settings import Settings
from shared.model import accelerators

_ID = re.compile(r"[A-Za-z0-9_.~+%-]{1,128}")
_State = cloud_tpu.QueuedResourceState
State, Initiator = _State.State, _State.StateInitiator
_WAITING = (State.ACCEPTED, State.WAITING_FOR_RESOURCES)
_ENDED = (State.FAILED, State.SUSPENDED)


@dataclass
class _Queued:
    """A request and what was made of it."""

    resource: Any
    zone: str
    wanted: tuple[Wanted, ...]
    terms: Terms
    opens: float
    """Seconds since the epoch: not served before …"""
    closes: float | None
    """… nor after."""
    settled: threading.Event = field(default_factory=threading.Event)
    """Set while none of its nodes is being made."""

    @property
    def name(self) -> str:
        return str(self.resource.name)

    @property
    def state(self) -> Any:
        return self.resource.state.state

    def nodes(self) -> list[str]:
        return [f"{parent_of(self.name)}/nodes/{each.node_id}" for each in self.wanted]


class QueuedResources:
    """The methods of google.cloud.tpu.v2.Tpu for queued resources. `tick` serves the queue; somebody calls it often."""

    def __init__(self, settings: Settings, nodes: Nodes, operations: Operations, capacity: Capacity) -> None:
        self._settings, self._nodes, self._operations, self._capacity = settings, nodes, operations, capacity
        self._queued: dict[str, _Queued] = {}
        self._asked: dict[str, Any] = {}  # request id to operation
        self._numbers = itertools.count()
        self._lock = threading.RLock()

    def methods(self) -> dict[str, tuple[Any, Method]]:
        return {
            "CreateQueuedResource": (cloud_tpu.CreateQueuedResourceRequest, self.create),
            "GetQueuedResource": (cloud_tpu.GetQueuedResourceRequest, self.get),
            "ListQueuedResources": (cloud_tpu.ListQueuedResourcesRequest, self.list),
            "DeleteQueuedResource": (cloud_tpu.DeleteQueuedResourceRequest, self.delete),
            "ResetQueuedResource": (cloud_tpu.ResetQueuedResourceRequest, self.reset),
        }

    def create(self, request: Any) -> Any:
        zone = zone_of(request.parent, self._settings.project)
        with self._lock:
            if request.request_id in self._asked:
                return self._asked[request.request_id]
            queued = self._written(request, zone)
            name = queued.name
            if name in self._queued:
                raise already_exists(name)
            self._nodes.check_quota(request.parent, len(queued.wanted))
            self._nodes.promise(zone, len(queued.wanted))
            self._queued[name] = queued
            done = self._operations.start(request.parent, name, "create", lambda: copy(queued.resource))
            if request.request_id:
                self._asked[request.request_id] = done
        return done

    def get(self, request: Any) -> Any:
        with self._lock:
            queued = self._existing(request.name)
            self._look(queued)
            return copy(queued.resource)

    def list(self, request: Any) -> Any:
        with self._lock:
            names, token = page(self._queued, request)
            for name in names:
                self._look(self._queued[name])
            found = [copy(self._queued[name].resource) for name in names]
        return cloud_tpu.ListQueuedResourcesResponse(queued_resources=found, next_page_token=token)

    def delete(self, request: Any) -> Any:
        name = request.name
        with self._lock:
            queued = self._existing(name)
            self._look(queued)
            if queued.state == State.DELETING:
                raise precondition(f"Resource '{name}' is being deleted")
            standing = [node for node in queued.nodes() if self._belongs(node, queued)]
            busy = queued.state in (State.PROVISIONING, State.SUSPENDING) or standing
            if busy and queued.state not in _ENDED and not request.force:
                raise precondition(
                    f"The queued resource '{name}' is {State(queued.state).name} and its nodes have not been deleted: "
                    "delete them first, or set 'force'."
                )
            _put(queued, State.DELETING)

        def work() -> None:
            self._clear(queued)
            with self._lock:
                self._queued.pop(name, None)
            self._nodes.promise(queued.zone, -len(queued.wanted))

        return self._operations.start(parent_of(name), name, "delete", work)

    def reset(self, request: Any) -> Any:
        """Back into the queue, once it has ended."""
        with self._lock:
            queued = self._existing(request.name)
            self._look(queued)
            if queued.state not in _ENDED:
                raise precondition(
                    f"The queued resource '{request.name}' is {State(queued.state).name}: only one that is "
                    "SUSPENDED or FAILED can be reset."
                )
            _put(queued, State.CREATING)

        def work() -> Any:
            self._clear(queued)
            with self._lock:
                if queued.state == State.CREATING:  # and not being deleted by now
                    queued.opens, queued.closes = window(queued.resource.queueing_policy, time.time())
                    _put(queued, State.ACCEPTED)
                return copy(queued.resource)

        return self._operations.start(parent_of(request.name), request.name, "reset", work)

    def tick(self) -> None:
        """Serve whom there is room for, fail what has waited too long, notice nodes that are gone."""
        with self._lock:
            for queued in [*self._queued.values()]:
                self._look(queued)
                if queued.state in _WAITING and self._ready(queued):
                    _put(queued, State.PROVISIONING)
                    queued.settled.clear()
                    self._operations.submit(partial(self._serve, queued))

    def _written(self, request: Any, zone: str) -> _Queued:
        """The request as a queued resource. ApiError if the API would refuse it at once."""
        unique = hashlib.sha256(f"{now()}/{next(self._numbers)}".encode()).hexdigest()[:8]
        name_id = request.queued_resource_id or f"qr-{unique}"
        if not _ID.fullmatch(name_id):
            raise invalid(f"Invalid queued resource id '{name_id}': it must match {_ID.pattern}.")
        resource = copy(request.queued_resource)
        resource.name = f"{request.parent}/queuedResources/{name_id}"
        resource.create_time = now()
        nodes = wanted(resource, request.parent, name_id)
        for each in nodes:
            self._nodes.check(each.node, each.node_id, request.parent)
            each.node.queued_resource = resource.name
        hosts = sum(accelerators.hosts(each.node.accelerator_type) for each in nodes)
        if hosts > self._settings.max_hosts:
            what = f"The queued resource's {len(nodes)} nodes"
            raise too_many_hosts(request.parent, what, hosts, self._settings.max_hosts)
        opens, closes = window(resource.queueing_policy, time.time())
        queued = _Queued(resource, zone, nodes, terms(resource, nodes, zone), opens, closes)
        queued.settled.set()
        _put(queued, State.ACCEPTED)
        return queued

    def _ready(self, queued: _Queued) -> bool:
        """Whether there is room now; then it is taken. The state says why not."""
        instant = time.time()
        if not self._capacity.exists(queued.zone, queued.terms):
            _put(queued, State.FAILED, error=no_reserved_capacity())
            return False
        if queued.closes is not None and instant >= queued.closes:
            _put(queued, State.FAILED, error=expired())
            return False
        if instant < queued.opens:
            return False
        try:
            for node in queued.nodes():
                self._capacity.take(node, queued.zone, queued.terms)
        except ApiError:
            self._give_back(queued)
            if queued.state != State.WAITING_FOR_RESOURCES:
                _put(queued, State.WAITING_FOR_RESOURCES)
            return False
        return True

    def _serve(self, queued: _Queued) -> None:
        made: list[str] = []
        try:
            for each in queued.wanted:
                node = copy(each.node)
                made.append(self._nodes.enter(parent_of(queued.name), each.node_id, node, queued.terms))
            for name in made:
                self._nodes.boot(name)
            self._end(queued, State.ACTIVE)
        except ApiError as error:
            for name in made:
                self._nodes.abandon(name)
            self._give_back(queued)
            self._end(queued, State.FAILED, error)
        finally:
            queued.settled.set()

    def _end(self, queued: _Queued, state: Any, error: ApiError | None = None) -> None:
        with self._lock:
            if queued.state == State.PROVISIONING:  # and not being deleted by now
                _put(queued, state, error=error)

    def _look(self, queued: _Queued) -> None:
        """An ACTIVE one that has lost a node is SUSPENDED, and with it go its other nodes."""
        if queued.state != State.ACTIVE:
            return
        nodes = [self._nodes.find(name) for name in queued.nodes()]
        lost = [node for node in nodes if node is None or node.state == NodeState.PREEMPTED]
        if not lost:
            return
        initiator = Initiator.SERVICE if any(lost) else Initiator.USER
        others = [node.name for node in nodes if node is not None and node.state != NodeState.PREEMPTED]
        if not others:
            return _put(queued, State.SUSPENDED, initiator)
        _put(queued, State.SUSPENDING, initiator)
        queued.settled.clear()
        self._operations.submit(partial(self._suspend, queued, others, initiator))

    def _suspend(self, queued: _Queued, nodes: Sequence[str], initiator: Any) -> None:
        for name in nodes:
            self._nodes.remove(name)
        with self._lock:
            if queued.state == State.SUSPENDING:  # and not being deleted by now
                _put(queued, State.SUSPENDED, initiator)
        queued.settled.set()

    def _clear(self, queued: _Queued) -> None:
        """End its nodes, and nobody else's of the same name."""
        queued.settled.wait()
        for name in queued.nodes():
            if self._belongs(name, queued):
                self._nodes.remove(name)
        self._give_back(queued)

    def _belongs(self, node: str, queued: _Queued) -> bool:
        found = self._nodes.find(node)
        return found is not None and found.queued_resource == queued.name

    def _give_back(self, queued: _Queued) -> None:
        for name in queued.nodes():
            self._capacity.give_back(name)

    def _existing(self, name: str) -> _Queued:
        if name not in self._queued:
            raise not_found(name)
        return self._queued[name]


def _put(queued: _Queued, state: Any, initiator: Any = None, error: ApiError | None = None) -> None:
    data: dict[str, Any] = {f"{State(state).name.lower()}_data": {}}
    if state == State.WAITING_FOR_RESOURCES:
        data = {}  # the API has no such message
    if error is not None:
        data = {"failed_data": _State.FailedData(error=error.status)}
    queued.resource.state = _State(state=state, state_initiator=initiator or 0, **data)
