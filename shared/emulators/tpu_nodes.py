"""The nodes of the TPU API stand-in: what google.cloud.tpu.v2 promises, with a local VM behind each.

Source: https://docs.cloud.google.com/tpu/docs/reference/rpc/google.cloud.tpu.v2 and cloud_tpu.proto. A node is READY
when its VM has booted, not when its startup script ends. Not there: stop, start, update, queued resources (they answer
UNIMPLEMENTED). Nothing persists: VMs die with this process, and so do nodes.
"""

import base64
import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.cloud.tpu_v2.types import cloud_tpu
from google.rpc import code_pb2, error_details_pb2

from shared.emulators.tpu_server import ApiError, Method, Operations, not_found, now
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.spec import Identity, Limits, Network, Place, VmSpec
from shared.errors import DmzError

_PARENT = re.compile(r"projects/([a-z0-9:.-]+)/locations/([a-z]+-[a-z]+[0-9]+-[a-z])")
_NODE_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_PAGE = 100
_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MAX_VALUE, _MAX_METADATA = 256 * 1024, 512 * 1024
ACCELERATORS = (
    "v2-8",
    "v3-8",
    "v4-8",
    "v5litepod-1",
    "v5litepod-4",
    "v5litepod-8",
    "v5p-8",
    "v6e-1",
    "v6e-4",
    "v6e-8",
)
RUNTIMES = ("tpu-ubuntu2204-base", "v2-alpha-tpuv5-lite", "v2-alpha-tpuv5", "v2-alpha-tpuv6e")
State = cloud_tpu.Node.State


@dataclass(frozen=True)
class LocalNetwork:
    """A VPC network's stand-in. `outer` is the kind with a way to the internet, for nodes with an external address;
    `internet` false cuts that way, as a firewall rule would, and leaves the `hosts`."""

    outer: bool
    hosts: Mapping[str, str] = field(default_factory=dict)
    internet: bool = True


@dataclass(frozen=True)
class Settings:
    """What the stand-in knows of its project. `topics`: service account to the topics it may publish to. `quotas`: zone
    to the number of nodes it may hold. `no_capacity_zones`: zones where every creation fails for want of capacity."""

    project: str
    networks: Mapping[str, LocalNetwork]
    topics: Mapping[str, frozenset[str]]
    no_capacity_zones: frozenset[str] = frozenset()
    quotas: Mapping[str, int] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    @property
    def project_number(self) -> int:
        return 100_000_000_000 + int(hashlib.sha256(self.project.encode()).hexdigest()[:8], 16)


class Nodes:
    """The methods of google.cloud.tpu.v2.Tpu over one engine."""

    def __init__(self, settings: Settings, engine: Engine, operations: Operations) -> None:
        self._settings, self._engine, self._operations = settings, engine, operations
        self._nodes: dict[str, Any] = {}
        self._vms: dict[str, str] = {}  # node to VM
        self._settled: dict[str, threading.Event] = {}  # set once a node's VM has started or failed to
        self._lock = threading.Lock()

    def methods(self) -> dict[str, tuple[Any, Method]]:
        return {
            "CreateNode": (cloud_tpu.CreateNodeRequest, self.create),
            "GetNode": (cloud_tpu.GetNodeRequest, self.get),
            "ListNodes": (cloud_tpu.ListNodesRequest, self.list),
            "DeleteNode": (cloud_tpu.DeleteNodeRequest, self.delete),
            "ListAcceleratorTypes": (cloud_tpu.ListAcceleratorTypesRequest, self.accelerator_types),
            "ListRuntimeVersions": (cloud_tpu.ListRuntimeVersionsRequest, self.runtime_versions),
        }

    def create(self, request: Any) -> Any:
        zone = self._zone(request.parent)
        node_id = request.node_id or f"n-{hashlib.sha256(str(now()).encode()).hexdigest()[:8]}"
        name = f"{request.parent}/nodes/{node_id}"
        node = _copy(request.node)
        _check(node, node_id)
        spec = self._spec(node, node_id, zone)
        with self._lock:
            self._check_room(name, request.parent, zone)
            node.name, node.state, node.create_time = name, State.CREATING, now()
            node.id = spec.place.instance_id
            self._nodes[name], self._vms[name], self._settled[name] = node, spec.name, threading.Event()
        return self._operations.start(request.parent, name, "create", lambda: self._boot(name, spec, zone))

    def get(self, request: Any) -> Any:
        node = self._nodes.get(request.name)
        if node is None:
            raise not_found(request.name)
        return self._observed(node)

    def list(self, request: Any) -> Any:
        parent = (
            request.parent.removesuffix("/locations/-") + "/"
            if request.parent.endswith("/-")
            else request.parent
        )
        names = sorted(name for name in list(self._nodes) if name.startswith(parent))
        after = _page_start(request.page_token)
        rest = [name for name in names if name > after]
        size = min(request.page_size, _PAGE) if request.page_size > 0 else _PAGE
        page, more = rest[:size], rest[size:]
        nodes = [self._observed(node) for name in page if (node := self._nodes.get(name)) is not None]
        token = base64.urlsafe_b64encode(page[-1].encode()).decode() if more else ""
        return cloud_tpu.ListNodesResponse(nodes=nodes, next_page_token=token)

    def delete(self, request: Any) -> Any:
        with self._lock:
            node = self._nodes.get(request.name)
            if node is None:
                raise not_found(request.name)
            if node.state == State.DELETING:
                raise ApiError(code_pb2.FAILED_PRECONDITION, f"Resource '{request.name}' is being deleted")
            settled, vm = self._settled[request.name], self._vms[request.name]
            node.state = State.DELETING

        def work() -> None:
            settled.wait()  # a VM that still boots is booted first
            self._engine.delete(vm)
            self._forget(request.name)

        return self._operations.start(request.name.rsplit("/nodes/", 1)[0], request.name, "delete", work)

    def accelerator_types(self, request: Any) -> Any:
        self._zone(request.parent)
        types = [
            cloud_tpu.AcceleratorType(name=f"{request.parent}/acceleratorTypes/{kind}", type_=kind)
            for kind in ACCELERATORS
        ]
        return cloud_tpu.ListAcceleratorTypesResponse(accelerator_types=types)

    def runtime_versions(self, request: Any) -> Any:
        self._zone(request.parent)
        versions = [
            cloud_tpu.RuntimeVersion(name=f"{request.parent}/runtimeVersions/{version}", version=version)
            for version in RUNTIMES
        ]
        return cloud_tpu.ListRuntimeVersionsResponse(runtime_versions=versions)

    def _zone(self, parent: str) -> str:
        match = _PARENT.fullmatch(parent)
        if not match or match[1] != self._settings.project:
            raise ApiError(
                code_pb2.PERMISSION_DENIED, f"Permission denied on '{parent}' (or it may not exist)."
            )
        return match[2]

    def _check_room(self, name: str, parent: str, zone: str) -> None:
        if name in self._nodes:
            resource = error_details_pb2.ResourceInfo(resource_name=name)
            raise ApiError(code_pb2.ALREADY_EXISTS, f"Resource '{name}' already exists", resource)
        quota = self._settings.quotas.get(zone)
        if quota is not None and sum(other.startswith(f"{parent}/nodes/") for other in self._nodes) >= quota:
            said = (
                f"Quota limit 'TPUNodesPerProjectPerZone' has been exceeded. Limit: {quota} in zone {zone}."
            )
            violation = error_details_pb2.QuotaFailure.Violation(subject=parent, description=said)
            failure = error_details_pb2.QuotaFailure(violations=[violation])
            raise ApiError(code_pb2.RESOURCE_EXHAUSTED, said, failure)

    def _spec(self, node: Any, node_id: str, zone: str) -> VmSpec:
        project = self._settings.project
        network_name = (node.network_config.network or "default").rsplit("/", 1)[-1]
        network = self._settings.networks.get(network_name)
        if network is None:
            raise _invalid(f"The network '{network_name}' was not found in project {project}.")
        email = node.service_account.email
        if email not in self._settings.topics:
            raise _invalid(f"The service account '{email}' does not exist in project {project}.")
        internet = network.outer and network.internet and node.network_config.enable_external_ips
        instance = int(hashlib.sha256(f"{zone}/{node_id}/{now()}".encode()).hexdigest()[:15], 16)
        kind = {"accelerator-type": node.accelerator_type, "agent-worker-number": "0", "instance-id": node_id}
        return VmSpec(
            name=self._vm_name(node_id, zone),
            network=Network(internet, network.hosts),
            identity=Identity(
                email, self._settings.topics[email], tuple(node.service_account.scope) or _SCOPES
            ),
            place=Place(project, self._settings.project_number, zone, instance),
            attributes={**kind, **node.metadata},
            limits=self._settings.limits,
        )

    def _vm_name(self, node_id: str, zone: str) -> str:
        """The node's id, which is unique in its zone only; a namesake elsewhere gets the zone's hash behind it."""
        if node_id in self._vms.values():
            return f"{node_id[:54]}-{hashlib.sha256(zone.encode()).hexdigest()[:8]}"
        return node_id

    def _boot(self, name: str, spec: VmSpec, zone: str) -> Any:
        node, settled = self._nodes[name], self._settled[name]
        try:
            if zone in self._settings.no_capacity_zones:
                raise _no_capacity(zone)
            self._engine.boot(spec)
        except (ApiError, DmzError) as error:
            self._forget(name)
            if isinstance(error, ApiError):
                raise
            raise ApiError(code_pb2.INTERNAL, str(error)) from error
        finally:
            settled.set()
        with self._lock:
            if node.state == State.CREATING:  # and not being deleted by now
                node.state, node.health = State.READY, cloud_tpu.Node.Health.HEALTHY
            node.api_version = cloud_tpu.Node.ApiVersion.V2
        return self._observed(node)

    def _forget(self, name: str) -> None:
        with self._lock:
            for known in (self._nodes, self._vms, self._settled):
                known.pop(name, None)

    def _observed(self, node: Any) -> Any:
        """The node as it is, for an answer: one whose VM ended by itself is STOPPED."""
        with self._lock:
            vm = self._engine.get(self._vms.get(node.name, ""))
            if node.state == State.READY and (vm is None or not vm.alive):
                node.state, node.health_description = State.STOPPED, "The VM has ended."
            return _copy(node)


_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)


def _copy(node: Any) -> Any:
    return cloud_tpu.Node.deserialize(cloud_tpu.Node.serialize(node))


def _check(node: Any, node_id: str) -> None:
    if not _NODE_ID.fullmatch(node_id):
        raise _invalid(f"Invalid node id '{node_id}': it must match {_NODE_ID.pattern}.")
    if not node.runtime_version:
        raise _invalid("The field 'runtime_version' is required.")
    if not node.accelerator_type and not node.accelerator_config:
        raise _invalid("One of 'accelerator_type' and 'accelerator_config' is required.")
    if node.network_config and node.network_configs:
        raise _invalid("The fields 'network_config' and 'network_configs' are mutually exclusive.")
    _check_metadata(node.metadata)
    if node.network_configs:
        raise _invalid("This stand-in gives a node one network: use 'network_config'.")


def _page_start(token: str) -> str:
    try:
        return base64.b64decode(token, b"-_", validate=True).decode()
    except ValueError:
        raise _invalid("The page token is not valid.") from None


def _check_metadata(attributes: Mapping[str, str]) -> None:
    """Limits: https://docs.cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations"""
    sizes = {name: len(value.encode()) for name, value in attributes.items()}
    for name, size in sizes.items():
        if not _KEY.fullmatch(name):
            raise _invalid(f"The metadata key '{name}' must match {_KEY.pattern}.")
        if size > _MAX_VALUE:
            raise _invalid(f"The metadata value '{name}' has {size} bytes; {_MAX_VALUE} are allowed.")
    total = sum(sizes.values()) + sum(map(len, sizes))
    if total > _MAX_METADATA:
        raise _invalid(f"The metadata has {total} bytes; {_MAX_METADATA} are allowed.")


def _invalid(message: str) -> ApiError:
    return ApiError(code_pb2.INVALID_ARGUMENT, message)


def _no_capacity(zone: str) -> ApiError:
    return ApiError(
        code_pb2.RESOURCE_EXHAUSTED,
        f'There is no more capacity in the zone "{zone}"; you can try in another zone where Cloud TPU Nodes are '
        "offered (see https://cloud.google.com/tpu/docs/regions)",
    )
