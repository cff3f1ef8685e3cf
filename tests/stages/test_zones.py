"""Zones tried in order: what a run becomes while some have no room, and what its VM boots with."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.creation import KIND_LABEL, RUN_LABEL, Kind, vm_name
from shared.errors import Permanent, Transient
from shared.guest.config import Config
from shared.memory.machines import HOME
from shared.ports.machines import Vm
from tests.stages import guests
from tests.stages.failing import failed, raising, silent
from tests.stages.world import WORKLOAD, World
from tests.stages.zoned import KINDS, ZONES, A, B, C, no_room, places, record, tick

# --- in which zone ---


def test_without_zones_it_is_the_zone_of_the_settings(world: World) -> None:
    run_id = world.request()
    assert places(world) == [(vm_name("inner", run_id), HOME)]
    assert world.run(run_id)["machines"] == {kind: {"zone": HOME, "tried": []} for kind in ("inner", "outer")}


def test_a_zone_that_refuses_at_the_call_is_passed_at_once(world: World) -> None:
    world.vms.full |= {A, B}
    run_id = world.request(ZONES)
    run = world.run(run_id)
    assert run["state"] == "completed"
    tried = [{"zone": zone, "reason": no_room(zone)} for zone in (A, B)]
    assert run["machines"] == {kind: {"zone": C, "tried": tried} for kind in KINDS}
    assert record(world, run_id)["tried"] == tried
    assert [zone for zone, name in world.vms.asked if name == vm_name("outer", run_id)] == [A, B, C]
    assert places(world) == [(vm_name("inner", run_id), C)]
    assert (world.bus.dead, world.raised) == ([], [])


@pytest.mark.parametrize("kind", KINDS)
def test_a_creation_that_fails_later_is_found_by_the_watchdog(world: World, kind: Kind) -> None:
    setattr(world, kind, silent)
    if kind == "outer":
        world.vms.short |= {A, B}
    else:

        def last_before_they_are_full(config: Config) -> guests.Payload:
            world.vms.short |= {A, B}
            return world.install(config)

        world.outer = last_before_they_are_full
    run_id = world.request(ZONES)
    assert world.run(run_id)["machines"][kind] == {"zone": A, "tried": []}
    world.sweep()
    world.sweep()
    assert record(world, run_id, kind)["zone"] == C
    assert world.run(run_id)["machines"][kind]["tried"] == [
        {"zone": zone, "reason": no_room(zone)} for zone in (A, B)
    ]
    assert places(world) == [(vm_name(kind, run_id), C)]


@pytest.mark.parametrize("late", [False, True])
def test_when_no_zone_has_room_the_run_says_each_ones_reason(world: World, late: bool) -> None:
    (world.vms.short if late else world.vms.full).update((A, B, C))
    run_id = world.request(ZONES)
    for _ in range(3):
        world.sweep()
    reason = failed(world, run_id)
    assert reason.startswith(
        f"The outer VM {vm_name('outer', run_id)} could not be had in any of its 3 zones: {A}: {no_room(A)}; "
        f"{B}: {no_room(B)}; {C}: {no_room(C)}."
    )
    assert [each["zone"] for each in world.run(run_id)["machines"]["outer"]["tried"]] == [A, B, C]
    assert [each["zone"] for each in record(world, run_id)["tried"]] == [A, B, C]
    assert world.bus.dead == [], "nobody can do anything about such an event"
    world.sweep()
    assert len(world.vms.asked) == 3


def test_a_zone_that_refuses_for_good_ends_the_run_with_what_was_before(world: World) -> None:
    """The accelerator type is not to be had there: a mistake in the workload, which no other zone mends."""
    world.vms.full.add(A)
    create = world.vms.create

    def refusing(spec: Any) -> str:
        if spec.zone == B:
            raise Permanent(f"Creating the VM in {B} was refused: there is no v9.")
        return create(spec)

    world.vms.create = refusing  # type: ignore[method-assign]
    run_id = world.request(ZONES)
    assert (
        failed(world, run_id)
        == f"Creating the VM in {B} was refused: there is no v9 (before, {A}: {no_room(A)})."
    )


def test_a_later_zone_that_refuses_for_good_ends_the_run_from_the_watchdog_too(world: World) -> None:
    world.vms.short.add(A)
    run_id = world.request(ZONES)
    world.vms.create = raising(Permanent("Creating the VM was refused: no such type."))  # type: ignore[method-assign]
    world.sweep()
    assert failed(world, run_id).startswith("Creating the VM was refused: no such type (before, ")
    assert world.raised == []


# --- what the VM boots with ---


def test_it_boots_with_the_same_wherever_it_is_but_for_its_secret(world: World) -> None:
    world.outer = silent
    run_id = world.request(ZONES)
    name = vm_name("outer", run_id)
    first = world.vms.specs[name]
    world.vms.become(name, "PREEMPTED", A)
    world.sweep()
    second = world.vms.specs[name]
    assert (first.zone, second.zone) == (A, B)
    configs = [json.loads(spec.metadata["dmz-config"]) for spec in (first, second)]
    own = {"report_token", "event_id"}
    assert {key for key in configs[0] if configs[0][key] != configs[1][key]} == own
    for key in first.metadata:
        assert key == "dmz-config" or first.metadata[key] == second.metadata[key]
    assert (first.accelerator_type, first.labels) == (second.accelerator_type, second.labels)


def test_the_stored_order_holds_no_secret(world: World) -> None:
    world.outer = silent
    run_id = world.request(ZONES)
    stands = record(world, run_id)
    order = world.blobs.get(stands["order"]).decode()
    assert world.configs[vm_name("outer", run_id)].report_token == stands["report_token"]
    assert stands["report_token"] not in order
    assert stands["report"] not in order
    assert '"dmz-guest":' in order


def test_the_vm_of_an_attempt_that_was_given_up_reports_in_vain(world: World) -> None:
    """It was taken for preempted, or came up late: its report is about another machine than the run's."""
    world.outer = silent
    run_id = world.request(ZONES)
    old = world.configs[vm_name("outer", run_id)]
    world.vms.become(vm_name("outer", run_id), "PREEMPTED", A)
    world.sweep()
    world.report(old, world.install(old))
    world.quiet()
    assert world.run(run_id)["stage"] == "outer"
    assert [reason for _, _, reason in world.bus.dead] == [
        f"A report about {run_id} does not carry the secret of its outer VM: it is from elsewhere."
    ]
    new = world.configs[vm_name("outer", run_id)]
    world.report(new, world.install(new))
    world.quiet()
    assert world.run(run_id)["state"] == "completed"


# --- a zone that does not answer ---


def test_a_zone_that_does_not_answer_is_no_zone_without_vms(world: World) -> None:
    world.outer = silent
    lost, other = world.request(ZONES), world.request(WORKLOAD)
    world.vms.dark.add(A)
    world.ahead = 600
    with pytest.raises(Transient, match="2 outer VMs could not be looked after"):
        tick(world)
    assert (world.run(lost)["state"], world.run(other)["state"]) == ("running", "running")
    world.vms.add(Vm("orphan", "READY", {RUN_LABEL: "run-000000000000", KIND_LABEL: "outer"}, B))
    world.ahead = 10**4
    for _ in range(2):
        with pytest.raises(Transient):
            tick(world)
        world.quiet()
    world.vms.dark.clear()
    assert places(world) == [(vm_name("outer", lost), A)], "what could be seen was looked after"
    tick(world)
    world.quiet()
    assert places(world) == []


def test_a_look_that_is_refused_ends_no_run(world: World) -> None:
    """A right of the service was taken away: the VM may well be at work."""
    world.outer = silent
    run_id = world.request(ZONES)
    world.vms.progress = raising(Permanent("Looking up was refused."))  # type: ignore[method-assign]
    with pytest.raises(Transient, match="1 outer VMs could not be looked after: Looking up was refused"):
        tick(world)
    assert world.run(run_id)["state"] == "running"
