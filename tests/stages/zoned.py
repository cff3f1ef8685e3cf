"""Workloads that may run in several zones, and which VMs there are."""

from __future__ import annotations

from typing import Any

from shared.creation import Kind, vm_name
from shared.events import Delivery
from tests.stages.world import WORKLOAD, World

A, B, C = "us-east1-a", "us-east1-b", "us-east1-c"
ZONES = WORKLOAD.model_copy(update={"zones": (A, B, C)})
KINDS: tuple[Kind, Kind] = ("outer", "inner")


def record(world: World, run_id: str, kind: Kind = "outer") -> dict[str, Any]:
    return world.store.get("vms", vm_name(kind, run_id)) or {}


def places(world: World) -> list[tuple[str, str]]:
    return sorted((vm.name, vm.zone) for vm in world.vms.all())


def no_room(zone: str) -> str:
    return f'There is no more capacity in the zone "{zone}"'


def tick(world: World, stage: str = "outer") -> None:
    """One tick of one stage's watchdog, in this thread."""
    world.desks[stage].deliver(Delivery(b"{}", "sweep-requested", {}, "tick"))
