"""The nodes of the TPU API stand-in: what google.cloud.tpu.v2 promises, with local VMs behind each, one per host.

Source: https://docs.cloud.google.com/tpu/docs/reference/rpc/google.cloud.tpu.v2 and cloud_tpu.proto. A node is READY
when its VMs have booted, not when their startup scripts end. Not there: update (it answers UNIMPLEMENTED). Nothing
persists: VMs die with this process, and so do nodes.
"""

import hashlib
import itertools
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from google.cloud.tpu_v2.types import cloud_tpu
from google.rpc import code_pb2

from shared.emulators import tpu_spec
from shared.emulators.tpu_capacity import Capacity, Terms
from shared.emulators.tpu_errors import (
    ApiError,
    already_exists,
    invalid,
    not_found,
    precondition,
    quota,
    unimplemented,
)
from shared.emulators.tpu_messages import copy, now
from shared.emulators.tpu_names import page, parent_of, zone_of
from shared.emulators.tpu_server import Method, Operations
from shared.emulators.tpu_settings import Settings
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.spec import VmSpec
from shared.errors import DmzError, Permanent

State, Health = cloud_tpu.Node.State, cloud_tpu.Node.Health


@dataclass
class _Held:
    """A node and its VMs."""

    node: Any
    zone: str
    terms: Terms
    vms: tuple[VmSpec, ...]
    settled: threading.Event = field(default_factory=threading.Event)
    """Set while none of its VMs is being started or stopped."""


class Nodes:
    """The methods of google.cloud.tpu.v2.Tpu for nodes, over one engine; and what queued resources need of them."""

    def __init__(
        self, settings: Settings, engine: Engine, operations: Operations, capacity: Capacity
    ) -> None:
        self._settings, self._engine, self._operations = settings, engine, operations
        self._capacity = capacity
        self._planner = tpu_spec.Planner(settings)
        self._held: dict[str, _Held] = {}
        self._promised: dict[str, int] = {}
        self._numbers = itertools.count()
        self._lock = threading.RLock()

    def methods(self) -> dict[str, tuple[Any, Method]]:
        return {
            "CreateNode": (cloud_tpu.CreateNodeRequest, self.create),
            "GetNode": (cloud_tpu.GetNodeRequest, self.get),
            "ListNodes": (cloud_tpu.ListNodesRequest, self.list),
            "DeleteNode": (cloud_tpu.DeleteNodeRequest, self.delete),
            "StopNode": (cloud_tpu.StopNodeRequest, self.stop),
            "StartNode": (cloud_tpu.StartNodeRequest, self.start),
            "UpdateNode": (cloud_tpu.UpdateNodeRequest, self.update),
        }

    def create(self, request: Any) -> Any:
        zone, node_id, node = self._zone(request.parent), request.node_id or self._fresh(), copy(request.node)
        self.check(node, node_id, request.parent)
        node.queued_resource = ""
        with self._lock:
            self.check_quota(request.parent, 1)
            name = self.enter(request.parent, node_id, node)

        def work() -> Any:
            try:
                self._capacity.take(name, zone, tpu_spec.terms(node))
            except ApiError:
                self._forget(name)
                raise
            return self.boot(name)

        return self._operations.start(request.parent, name, "create", work)

    def get(self, request: Any) -> Any:
        found = self.find(request.name)
        if found is None:
            raise not_found(request.name)
        return found

    def list(self, request: Any) -> Any:
        names, token = page([*self._held], request)
        found = [node for name in names if (node := self.find(name)) is not None]
        return cloud_tpu.ListNodesResponse(nodes=found, next_page_token=token)

    def delete(self, request: Any) -> Any:
        with self._lock:
            held = self._existing(request.name)
            if held.node.state == State.DELETING:
                raise precondition(f"Resource '{request.name}' is being deleted")
            held.node.state = State.DELETING
        name = request.name
        return self._operations.start(parent_of(name), name, "delete", lambda: self.remove(name))

    def stop(self, request: Any) -> Any:
        """The VM's disk stays."""
        held = self._turn(request.name, State.READY, State.STOPPING, "stop")

        def work() -> Any:
            try:
                self._engine.stop(held.vms[0].name)
                return self._settle(request.name, State.STOPPED)
            finally:
                held.settled.set()

        return self._operations.start(parent_of(request.name), request.name, "stop", work)

    def start(self, request: Any) -> Any:
        """It may fail for want of capacity, as on Google Cloud."""
        held = self._turn(request.name, State.STOPPED, State.STARTING, "start")

        def work() -> Any:
            try:
                self._capacity.take(request.name, held.zone, held.terms)
                self._engine.start(held.vms[0].name)
            except (ApiError, DmzError) as error:
                self._settle(request.name, State.STOPPED)
                raise _api_error(error) from error
            else:
                return self._settle(request.name, State.READY)
            finally:
                held.settled.set()

        return self._operations.start(parent_of(request.name), request.name, "start", work)

    def update(self, _: Any) -> Any:
        raise unimplemented("This stand-in changes no node: delete it and create it as it should be.")

    def check(self, node: Any, node_id: str, parent: str) -> None:
        """ApiError if the API would refuse this node at once."""
        self._planner.check(node, node_id, parent, self._zone(parent))

    def check_quota(self, parent: str, count: int) -> None:
        """ApiError if `count` nodes more are too many for the zone. What is promised counts, failed or not."""
        zone = self._zone(parent)
        limit = self._settings.quotas.get(zone)
        with self._lock:
            alone = sum(held.zone == zone and not held.node.queued_resource for held in self._held.values())
            if limit is not None and alone + self._promised.get(zone, 0) + count > limit:
                raise quota(parent, limit, zone)

    def promise(self, zone: str, count: int) -> None:
        """Count `count` nodes of a queued resource, whether they exist or not; less than none: no longer."""
        with self._lock:
            self._promised[zone] = self._promised.get(zone, 0) + count

    def enter(self, parent: str, node_id: str, node: Any, terms: Terms | None = None) -> str:
        """Write a checked node down as CREATING; its full name. ApiError if it exists, or its network does not."""
        name, zone = f"{parent}/nodes/{node_id}", self._zone(parent)
        with self._lock:
            if name in self._held:
                raise already_exists(name)
            vms = self._planner.vms(node, node_id, zone, self._vm_names())
            node.name, node.state, node.create_time = name, State.CREATING, now()
            node.id = vms[0].place.instance_id
            self._held[name] = _Held(node, zone, terms or tpu_spec.terms(node), vms)
        return name

    def boot(self, name: str) -> Any:
        """The node, READY. ApiError if one of its VMs does not boot; then none is left, nor the node."""
        held = self._held[name]
        try:
            for spec in held.vms:
                self._engine.boot(spec)
        except DmzError as error:
            self._end(held)
            self._forget(name)
            raise _api_error(error) from error
        finally:
            held.settled.set()
        return self._settle(name, State.READY)

    def find(self, name: str) -> Any:
        """A node as it is now, or None: one of whose VMs ended by itself is STOPPED."""
        with self._lock:
            held = self._held.get(name)
            if held is None:
                return None
            gone = [number for number, spec in enumerate(held.vms) if not self._alive(spec)]
            if held.node.state == State.READY and gone:
                said = "The VM has ended." if len(held.vms) == 1 else f"Workers that have ended: {gone}."
                held.node.state, held.node.health_description = State.STOPPED, said
            return copy(held.node)

    def remove(self, name: str) -> None:
        """End a node and all of it. Nothing happens if there is none."""
        held = self._held.get(name)
        if held is None:
            return
        with self._lock:
            held.node.state = State.DELETING
        held.settled.wait()  # VMs that still boot are booted first
        self._end(held)
        self._forget(name)

    def abandon(self, name: str) -> None:
        """End a node whose VMs need not have booted, and nobody will boot them."""
        if held := self._held.get(name):
            held.settled.set()
            self.remove(name)

    def preempt(self, name: str) -> None:
        """Take a Spot node back, as Google may at any time; it stays listed until it is deleted. Permanent if there is
        none of that name, or it is not READY, or not Spot."""
        with self._lock:
            held = self._held.get(name)
            if held is None or held.node.state != State.READY or not tpu_spec.spot(held.node):
                raise Permanent(f"There is no Spot node {name} that is READY, so none can be preempted.")
            held.node.state = State.PREEMPTED
            held.node.health_description = "The TPU node was preempted."
        for spec in held.vms:
            if vm := self._engine.get(spec.name):
                vm.end("preempted")
        self._capacity.give_back(name)

    def names(self) -> Collection[str]:
        return [*self._held]

    def _zone(self, parent: str) -> str:
        return zone_of(parent, self._settings.project)

    def _turn(self, name: str, state: Any, then: Any, verb: str) -> _Held:
        """The single-host node `name`, which was in `state` and is now in `then`."""
        with self._lock:
            held = self._existing(name)
            self.find(name)  # its state may be old
            if len(held.vms) > 1:
                raise invalid(f"Cloud TPU received a bad request. A slice of several hosts does not {verb}.")
            if held.node.state != state:
                raise precondition(
                    f"Cloud TPU received a bad request. {verb} is not supported while in state "
                    f"{State(held.node.state).name}"
                )
            held.node.state = then
            held.settled.clear()
        return held

    def _settle(self, name: str, state: Any) -> Any:
        """Put a node into `state`, unless it is being deleted by now; a copy."""
        with self._lock:
            held = self._held[name]
            if held.node.state != State.DELETING:
                held.node.state, held.node.health_description = state, ""
                held.node.health = Health.HEALTHY if state == State.READY else Health.HEALTH_UNSPECIFIED
            held.node.api_version = cloud_tpu.Node.ApiVersion.V2
            return copy(held.node)

    def _existing(self, name: str) -> _Held:
        held = self._held.get(name)
        if held is None:
            raise not_found(name)
        return held

    def _alive(self, spec: VmSpec) -> bool:
        vm = self._engine.get(spec.name)
        return vm is not None and vm.alive

    def _vm_names(self) -> set[str]:
        return {spec.name for held in self._held.values() for spec in held.vms}

    def _end(self, held: _Held) -> None:
        for spec in held.vms:
            self._engine.delete(spec.name)

    def _forget(self, name: str) -> None:
        with self._lock:
            held = self._held.pop(name, None)
        if held:
            held.settled.set()
        self._capacity.give_back(name)

    def _fresh(self) -> str:
        return f"n-{hashlib.sha256(f'{now()}/{next(self._numbers)}'.encode()).hexdigest()[:8]}"


def _api_error(error: Exception) -> ApiError:
    return error if isinstance(error, ApiError) else ApiError(code_pb2.INTERNAL, str(error))
