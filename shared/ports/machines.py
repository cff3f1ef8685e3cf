"""TPU VMs: what is asked for, what is there, and how asking fails."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from shared.errors import Permanent, Transient
from shared.model.workload import Provisioning


@dataclass(frozen=True)
class VmSpec:
    """A VM to create."""

    name: str
    kind: Literal["outer", "inner"]
    accelerator_type: str
    runtime_version: str
    metadata: Mapping[str, str]
    labels: Mapping[str, str]
    zone: str = ""
    """Empty: the zone that the settings name."""
    provisioning: Provisioning = "on-demand"
    reservation: str = ""
    """Name of the reservation, for `reserved`; empty: any of the project's."""
    queue_minutes: int = 0
    """How long the request may wait for capacity as a queued resource; 0: it is met at once or refused."""


@dataclass(frozen=True)
class Vm:
    """A VM, or the request for one that still waits in a queue."""

    name: str
    state: str
    """As the TPU API names it: CREATING, READY, DELETING, PREEMPTED, … A request in a queue without its VM has its own
    state: WAITING_FOR_RESOURCES, FAILED, SUSPENDED, …"""
    labels: Mapping[str, str]
    zone: str = ""
    workers: int = 1
    """Hosts of the slice; each boots with the same metadata."""


@dataclass(frozen=True)
class Progress:
    """What has become of the request for a VM."""

    state: Literal["waiting", "made", "failed", "unknown"]
    """`unknown`: the service does not remember it."""
    reason: str = ""
    """Why it failed, as the service says."""
    elsewhere: bool = False
    """It failed for want of capacity, or of quota: another zone may have some."""


class NoCapacity(Permanent):
    """The zone has no capacity for the VM, or the project no quota there: another zone may."""


class Unreachable(Transient):
    """Some places could not be looked at: what is there is not known, and not gone."""

    def __init__(self, message: str, found: Sequence[Vm]) -> None:
        super().__init__(message)
        self.found = tuple(found)
        """What the places that answered hold."""


class Vms(Protocol):
    """TPU VMs of one project, in any of its zones; a name is unique in its zone only.

    Written for the Cloud TPU API, and meant to outlive it: newer TPU types come as Compute Engine machine types. An
    adapter for those reads `VmSpec.accelerator_type` (whose text is the adapter's to understand) as the machine type,
    `runtime_version` as an image or its family, and gives `metadata`, `labels`, network and service account to an
    instance of that name, of the provisioning model STANDARD, SPOT or RESERVATION_BOUND; `create` returns the zonal
    operation, whose error ZONE_RESOURCE_POOL_EXHAUSTED or QUOTA_EXCEEDED is `Progress.elsewhere`; a queue is a resize
    request of an instance group; `all` is an aggregated list over zones, by label. It translates the states: RUNNING is
    READY, and a preempted instance is PREEMPTED as long as it is listed. `hosts` reads its own types. Nothing above
    this port names an API.
    """

    def hosts(self, accelerator_type: str) -> int:
        """Hosts of a slice of that type, each of which reports. Permanent if the adapter cannot tell. Asks nobody."""
        ...

    def create(self, spec: VmSpec) -> str:
        """Starts the creation and returns by what `progress` knows the request.

        Empty if a VM of that name is in that zone already, and nothing more is known. NoCapacity if the zone has none.
        """
        ...

    def progress(self, request: str) -> Progress: ...
    def get(self, name: str, zone: str) -> Vm | None:
        """None if the zone says that there is none; Transient if the zone does not answer."""
        ...

    def all(self) -> Sequence[Vm]:
        """VMs and waiting requests of all zones; Unreachable if one did not answer: what is there is not known."""
        ...

    def delete(self, name: str, zone: str) -> None:
        """Starts the deletion of the VM and of its request, and returns; what does not exist is not an error."""
        ...
