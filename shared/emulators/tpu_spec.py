"""From a node of the TPU API to the VMs behind it: what is refused, and what each worker is told.

Metadata of a worker as on real TPU VMs (JAX's cluster detection reads it): `agent-worker-number`, and in
`worker-network-endpoints` an entry `unknown:unknown:ADDRESS` per worker, the first worker first. The addresses are
distinct, but local VMs are sealed from one another: nothing answers there.
"""

import hashlib
import ipaddress
import itertools
import math
import re
from collections.abc import Mapping, Set
from typing import Any

from google.cloud.tpu_v2.types import cloud_tpu

from shared.emulators.tpu_capacity import Terms
from shared.emulators.tpu_errors import invalid, not_offered, too_many_hosts
from shared.emulators.tpu_messages import now
from shared.emulators.tpu_settings import Settings
from shared.emulators.vm.spec import Identity, Network, Place, VmSpec
from shared.errors import Permanent
from shared.model import accelerators

_NODE_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
_MAX_VALUE, _MAX_METADATA = 256 * 1024, 512 * 1024
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_TOPOLOGY = re.compile(r"[1-9][0-9]{0,2}(x[1-9][0-9]{0,2}){1,2}", re.ASCII)
_PORT = 8470
_Type = cloud_tpu.AcceleratorConfig.Type
_FAMILIES = {  # and what one chip adds to the number in the type's name
    _Type.V2: ("v2", 2),
    _Type.V3: ("v3", 2),
    _Type.V4: ("v4", 2),
    _Type.V5LITE_POD: ("v5litepod", 1),
    _Type.V5P: ("v5p", 2),
    _Type.V6E: ("v6e", 1),
}


class Planner:
    """Judges nodes and plans their VMs."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # 10.128.0.0/9 is where networks in auto mode have their subnets.
        self._addresses = map(ipaddress.ip_address("10.128.0.0").__add__, itertools.count(2))

    def check(self, node: Any, node_id: str, parent: str, zone: str) -> None:
        """ApiError if the API would refuse the request at once. Fills in `accelerator_type`."""
        if not _NODE_ID.fullmatch(node_id):
            raise invalid(f"Invalid node id '{node_id}': it must match {_NODE_ID.pattern}.")
        if not node.runtime_version:
            raise invalid("The field 'runtime_version' is required.")
        if not node.accelerator_type and not node.accelerator_config:
            raise invalid("One of 'accelerator_type' and 'accelerator_config' is required.")
        if node.accelerator_type and node.accelerator_config:
            raise invalid("The fields 'accelerator_type' and 'accelerator_config' are mutually exclusive.")
        if node.network_config and node.network_configs:
            raise invalid("The fields 'network_config' and 'network_configs' are mutually exclusive.")
        _check_metadata(node.metadata)
        if node.network_configs:
            raise invalid("This stand-in gives a node one network: use 'network_config'.")
        terms = node.scheduling_config
        if terms.reserved and (terms.spot or terms.preemptible):
            raise invalid("A node is either reserved, or spot or preemptible: set one of them.")
        if node.accelerator_config:
            node.accelerator_type = _type_of(node.accelerator_config)
        self._check_hosts(node.accelerator_type, parent, zone)

    def vms(self, node: Any, node_id: str, zone: str, taken: Set[str]) -> tuple[VmSpec, ...]:
        """The VMs of a checked node, one per worker, and its `network_endpoints`. ApiError for what turns out late:
        a network or an account that is not there."""
        network, identity = self._network(node), self._identity(node)
        workers = accelerators.hosts(node.accelerator_type)
        addresses = [str(next(self._addresses)) for _ in range(workers)]
        node.network_endpoints = [
            cloud_tpu.NetworkEndpoint(ip_address=address, port=_PORT) for address in addresses
        ]
        common = {
            **node.metadata,
            "accelerator-type": node.accelerator_type,
            "instance-id": node_id,
            "worker-network-endpoints": ",".join(f"unknown:unknown:{address}" for address in addresses),
        }
        return tuple(
            VmSpec(
                name=name,
                network=network,
                identity=identity,
                place=self._place(zone, name),
                attributes={**common, "agent-worker-number": str(number)},
                limits=self._settings.limits,
            )
            for number, name in enumerate(_names(node_id, zone, workers, taken))
        )

    def _check_hosts(self, kind: str, parent: str, zone: str) -> None:
        try:
            count = accelerators.hosts(kind)
        except Permanent:
            raise not_offered(kind, zone) from None
        if kind not in self._settings.offered.get(zone, (kind,)):
            raise not_offered(kind, zone)
        if count > self._settings.max_hosts:
            raise too_many_hosts(parent, f"The accelerator type {kind}", count, self._settings.max_hosts)

    def _network(self, node: Any) -> Network:
        name = (node.network_config.network or "default").rsplit("/", 1)[-1]
        network = self._settings.networks.get(name)
        if network is None:
            raise invalid(f"The network '{name}' was not found in project {self._settings.project}.")
        internet = network.outer and network.internet and node.network_config.enable_external_ips
        return Network(internet, network.hosts)

    def _identity(self, node: Any) -> Identity:
        email = node.service_account.email
        if email not in self._settings.topics:
            raise invalid(
                f"The service account '{email}' does not exist in project {self._settings.project}."
            )
        return Identity(email, self._settings.topics[email], tuple(node.service_account.scope) or _SCOPES)

    def _place(self, zone: str, name: str) -> Place:
        instance = int(hashlib.sha256(f"{zone}/{name}/{now()}".encode()).hexdigest()[:15], 16)
        return Place(self._settings.project, self._settings.project_number, zone, instance)


def terms(node: Any, reservation: str = "") -> Terms:
    """How the checked `node` is paid for; a named `reservation` is a reserved node's."""
    return Terms(node.scheduling_config.reserved or bool(reservation), reservation)


def spot(node: Any) -> bool:
    """Google may take it back."""
    return bool(node.scheduling_config.spot or node.scheduling_config.preemptible)


def _names(node_id: str, zone: str, workers: int, taken: Set[str]) -> list[str]:
    """The first VM is named after its node, which is unique in its zone only; a namesake elsewhere gets a hash behind
    it. The other workers have their number at the end."""
    mark = hashlib.sha256(f"{zone}/{node_id}".encode()).hexdigest()[:8]
    for base in (node_id, f"{node_id[:54]}-{mark}"):
        names = [base, *(f"{base[:56]}-w-{number}" for number in range(1, workers))]
        if not taken & {*names}:
            return names
    raise invalid(f"Nodes named like '{node_id}' stand in other zones: choose another id.")


def _type_of(config: Any) -> str:
    """The accelerator type of a version and a topology like 4x4 or 2x2x4, which counts chips."""
    if config.type_ not in _FAMILIES or not _TOPOLOGY.fullmatch(config.topology):
        raise invalid("The field 'accelerator_config' needs a 'type' and a 'topology' like 4x4 or 2x2x4.")
    family, per_chip = _FAMILIES[config.type_]
    return f"{family}-{per_chip * math.prod(int(side) for side in config.topology.split('x'))}"


def _check_metadata(attributes: Mapping[str, str]) -> None:
    """Limits: https://docs.cloud.google.com/compute/docs/metadata/setting-custom-metadata#limitations"""
    sizes = {name: len(value.encode()) for name, value in attributes.items()}
    for name, size in sizes.items():
        if not _KEY.fullmatch(name):
            raise invalid(f"The metadata key '{name}' must match {_KEY.pattern}.")
        if size > _MAX_VALUE:
            raise invalid(f"The metadata value '{name}' has {size} bytes; {_MAX_VALUE} are allowed.")
    total = sum(sizes.values()) + sum(map(len, sizes))
    if total > _MAX_METADATA:
        raise invalid(f"The metadata has {total} bytes; {_MAX_METADATA} are allowed.")
