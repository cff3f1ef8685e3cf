"""Zones tried in order: what a run becomes while some have no room, and that there is one VM whoever comes twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.creation import KIND_LABEL, RUN_LABEL, Kind, vm_name
from shared.errors import Permanent, Transient, Untrusted
from shared.events import Delivery
from shared.guest.config import Config
from shared.memory.machines import HOME
from shared.ports.machines import NoCapacity, Vm
from shared.ports.store import Put
from tests.stages import guests
from tests.stages.faults import Death, Fuse
from tests.stages.test_failures import _failure, _until, failed, silent
from tests.stages.world import WORKLOAD, World

A, B, C = "us-east1-a", "us-east1-b", "us-east1-c"
ZONES = WORKLOAD.model_copy(update={"zones": (A, B, C)})
ONE_ZONE = WORKLOAD.model_copy(update={"provisioning": "spot"})
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
    world.vms.create = _raising(Permanent("Creating the VM was refused: no such type."))  # type: ignore[method-assign]
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


# --- one VM, whoever comes twice ---


def test_two_ticks_at_once_change_the_zone_once(world: World) -> None:
    """The second one comes between the first one's look and its batch."""
    world.vms.short.add(A)
    world.outer = silent
    run_id = world.request(ZONES)
    put, ticks = world.store.put, iter((1,))

    def second(writes: Any) -> None:
        if any(write.collection == "vms" for write in writes) and next(ticks, None):
            tick(world)
        put(writes)

    world.store.put = second  # type: ignore[method-assign]
    tick(world)
    assert next(ticks, None) is None
    assert [each["zone"] for each in record(world, run_id)["tried"]] == [A]
    assert places(world) == [(vm_name("outer", run_id), B)]
    assert (
        world.vms.specs[vm_name("outer", run_id)]
        .metadata["dmz-config"]
        .count(record(world, run_id)["report_token"])
    )


def test_a_vm_that_another_tick_has_given_up_meanwhile_has_not_vanished(world: World) -> None:
    """This tick has read the record; then another one finds the VM preempted and goes on; then this one looks."""
    world.outer = silent
    run_id = world.request(ZONES)
    name = vm_name("outer", run_id)
    get, once = world.vms.get, iter((1,))

    def given_up(asked: str, zone: str) -> Vm | None:
        if next(once, None):
            world.vms.become(name, "PREEMPTED", A)
            tick(world)
        return get(asked, zone)

    world.vms.get = given_up  # type: ignore[method-assign]
    world.ahead = 600
    tick(world)
    world.quiet()
    assert (world.run(run_id)["state"], places(world)) == ("running", [(name, B)])


def test_many_ticks_at_once_leave_one_vm(make: Callable[..., World]) -> None:
    world = make()
    world.vms.short |= {A, B}
    world.outer = silent
    run_id = world.request(ZONES)

    def ticking(_: int) -> None:
        try:
            tick(world)
        except Transient:
            return  # it comes again

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ticking, range(24)))
    tick(world)
    assert [each["zone"] for each in record(world, run_id)["tried"]] == [A, B]
    assert places(world) == [(vm_name("outer", run_id), C)]
    assert world.vms.created == [vm_name("outer", run_id)]


def test_who_asks_for_a_zone_that_was_given_up_meanwhile_takes_it_back(world: World) -> None:
    """A delivery hangs before its call; meanwhile another one asked, failed, and the watchdog went on."""
    world.outer = silent
    create, calls = world.vms.create, iter((1,))

    def slow(spec: Any) -> str:
        if next(calls, None):
            world.vms.short.add(A)
            create(spec)
            known = {"requests": {"0": f"operations/{A}/{spec.name}"}}
            world.store.put([Put("vms", spec.name, known, merge=True)])
            tick(world)
            world.vms.short.clear()
        return create(spec)

    world.vms.create = slow  # type: ignore[method-assign]
    run_id = world.request(ZONES)
    assert record(world, run_id)["zone"] == B
    assert world.vms.created == [vm_name("outer", run_id)] * 2, "there were two for a moment"
    assert places(world) == [(vm_name("outer", run_id), B)]


@pytest.mark.parametrize("state", ["running", "completed"])
def test_a_vm_elsewhere_than_its_record_says_is_deleted(world: World, state: str) -> None:
    if state == "running":
        world.inner = silent
    run_id = world.request(ZONES)
    assert world.run(run_id)["state"] == state
    name = vm_name("inner", run_id)
    world.vms.add(Vm(name, "READY", {RUN_LABEL: run_id, KIND_LABEL: "inner"}, B))
    world.sweep()
    assert places(world) == [(name, A)]
    assert record(world, run_id, "inner").get("ended") is None, "the one that stands goes on"


def test_if_whoever_changed_the_zone_died_the_watchdog_asks(world: World) -> None:
    world.vms.short.add(A)
    world.outer = silent
    run_id = world.request(ZONES)
    world.vms.create = _raising(Transient("away"))  # type: ignore[method-assign]
    with pytest.raises(Transient):
        tick(world)
    del world.vms.create
    assert (record(world, run_id)["zone"], places(world)) == (B, [])
    world.sweep()
    assert places(world) == [], "it may still be under way"
    world.ahead = 130
    world.sweep()
    assert places(world) == [(vm_name("outer", run_id), B)]


def test_a_run_that_ends_while_the_zone_changes_leaves_no_vm(world: World) -> None:
    world.vms.full.add(A)
    create = world.vms.create

    def ended(spec: Any) -> str:
        if spec.zone == B:
            run_id = spec.labels[RUN_LABEL]
            world.bus.send("run-failed", _failure(run_id), {})
            _until(lambda: record(world, run_id)["state"] == "ended")
        return create(spec)

    world.vms.create = ended  # type: ignore[method-assign]
    world.outer = silent
    world.request(ZONES)
    assert places(world) == []


def test_a_death_after_any_call_while_zones_are_full(tmp_path: Path) -> None:
    def whole(fuse: Fuse, name: str) -> tuple[World, str]:
        (tmp_path / name).mkdir()
        world = World(tmp_path / name, lease=0.4, through=fuse.through)
        world.vms.full.add(A)
        world.vms.short.add(B)
        world.outer = silent
        run_id = world.request(ZONES)
        for _ in range(3):
            world.sweep()
            world.ahead += 130
        world.bus.close()
        return world, run_id

    counting = Fuse()
    plain, _ = whole(counting, "plain")
    assert plain.raised == []
    assert "vms.delete" in counting.calls

    def with_death_at(number: int) -> str:
        fuse = Fuse(number)
        world, run_id = whole(fuse, str(number))
        name, stands = vm_name("outer", run_id), record(world, run_id)
        good = (
            places(world) == [(name, C)]
            and (stands["zone"], stands["state"]) == (C, "asked")
            and [each["zone"] for each in stands["tried"]] == [A, B]
            and world.configs[name].report_token == stands["report_token"]
            and all(type(error) in (Death, Transient) for error in world.raised)
        )
        return "" if good else f"{number} {fuse.blown}: {places(world)} {stands} {world.raised}"

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(with_death_at, range(1, len(counting.calls) + 2)))
    assert [each for each in found if each] == []


# --- taken away ---


def test_a_spot_vm_that_is_preempted_is_had_elsewhere_if_there_is_an_elsewhere(world: World) -> None:
    world.outer = silent
    run_id = world.request(ZONES)
    name = vm_name("outer", run_id)
    for zone in (A, B):
        world.vms.become(name, "PREEMPTED", zone)
        world.sweep()
    assert places(world) == [(name, C)]
    world.vms.become(name, "PREEMPTED", C)
    world.sweep()
    reason = failed(world, run_id)
    assert f"{A}: it was preempted before it reported; {B}: it was" in reason


def test_with_one_zone_a_preempted_vm_is_the_end(world: World) -> None:
    world.outer = silent
    run_id = world.request(ONE_ZONE)
    world.vms.become(vm_name("outer", run_id), "PREEMPTED")
    world.sweep()
    assert failed(world, run_id) == (
        f"The outer VM {vm_name('outer', run_id)} was preempted before it reported; request the run again."
    )


def test_a_kept_vm_that_is_preempted_is_deleted_and_the_run_says_so(world: World) -> None:
    """It would never start again, and stay listed for ever."""
    run_id = world.request(ONE_ZONE)
    assert len(places(world)) == 1
    world.vms.become(vm_name("inner", run_id), "PREEMPTED")
    world.sweep()
    assert places(world) == []
    run = world.run(run_id)
    assert (run["state"], run["machines"]["inner"]["lost"]) == ("completed", "preempted")


def test_a_kept_vm_that_was_stopped_may_be_started_again(world: World) -> None:
    run_id = world.request()
    world.vms.become(vm_name("inner", run_id), "STOPPED")
    world.sweep()
    assert len(places(world)) == 1


def test_the_report_of_a_vm_that_is_being_given_up_does_not_count_for_another(world: World) -> None:
    """The report is read; before its result is written, the VM is found preempted, and another one is asked for."""
    world.inner = silent
    run_id = world.request(ZONES)
    name = vm_name("inner", run_id)
    config = world.configs[name]
    finish, once = world.store.finish, iter((1,))

    def given_up(claim: Any, *rest: Any) -> None:
        if claim.key.startswith("inner:inner-install-completed") and next(once, None):
            world.vms.become(name, "PREEMPTED", A)
            tick(world, "inner")
        finish(claim, *rest)

    world.store.finish = given_up  # type: ignore[method-assign]
    world.report(config, world.install_inner(config))
    world.quiet()
    assert next(once, None) is None
    assert (world.run(run_id)["state"], places(world)) == ("running", [(name, B)])
    new = world.configs[name]
    world.report(new, world.install_inner(new))
    world.quiet()
    assert (world.run(run_id)["state"], places(world)) == ("completed", [(name, B)])


def test_once_a_report_is_believed_no_other_vm_is_made(world: World) -> None:
    """The watchdog has looked; before it asks elsewhere, the report completes the run."""
    world.inner = silent
    run_id = world.request(ZONES)
    name = vm_name("inner", run_id)
    config = world.configs[name]
    put, once = world.store.put, iter((1,))

    def reported(writes: Any) -> None:
        if any(write.id == f"{name}@1" for write in writes) and next(once, None):
            world.report(config, world.install_inner(config))
            _until(lambda: world.run(run_id)["state"] == "completed")
        put(writes)

    world.store.put = reported  # type: ignore[method-assign]
    world.vms.become(name, "PREEMPTED", A)
    with pytest.raises(Transient):
        tick(world, "inner")
    assert world.vms.created.count(name) == 1


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
    world.vms.progress = _raising(Permanent("Looking up was refused."))  # type: ignore[method-assign]
    with pytest.raises(Transient, match="1 outer VMs could not be looked after: Looking up was refused"):
        tick(world)
    assert world.run(run_id)["state"] == "running"


# --- the queue ---


QUEUED = WORKLOAD.model_copy(update={"queue_minutes": 600, "zones": (A, B)})


def test_a_request_may_wait_in_the_queue_and_then_has_its_own_time(world: World) -> None:
    world.vms.crowded |= {A, B}
    world.outer = silent
    run_id = world.request(QUEUED)
    name = vm_name("outer", run_id)
    world.ahead = 590 * 60
    world.sweep()
    assert world.run(run_id)["state"] == "running"
    assert [(vm.state, vm.zone) for vm in world.vms.all()] == [("WAITING_FOR_RESOURCES", A)]
    world.vms.grant(name, A)
    world.sweep()
    world.ahead += (WORKLOAD.install_minutes + 4) * 60
    world.sweep()
    assert world.run(run_id)["state"] == "running"
    world.ahead += 2 * 60
    world.sweep()
    assert "was silent too long" in failed(world, run_id)


def test_a_vm_that_came_early_does_not_have_the_queues_time_too(world: World) -> None:
    world.outer = silent
    run_id = world.request(QUEUED)
    world.sweep()
    world.ahead = (WORKLOAD.install_minutes + 6) * 60
    world.sweep()
    assert "was silent too long" in failed(world, run_id)


def test_a_request_that_waited_in_vain_is_made_elsewhere_and_is_gone(world: World) -> None:
    world.vms.crowded |= {A, B}
    run_id = world.request(QUEUED)
    name = vm_name("outer", run_id)
    world.ahead = 601 * 60
    world.vms.expire(name, A)
    world.sweep()
    assert places(world) == [(name, B)]
    assert record(world, run_id)["deadline"] > world.clock() + 600 * 60
    world.ahead = 1190 * 60
    world.sweep()
    assert world.run(run_id)["state"] == "running", "each zone has its time"
    world.vms.expire(name, B)
    world.sweep()
    assert "in any of its 2 zones" in failed(world, run_id)


def test_a_waiting_request_of_a_run_that_failed_is_deleted(world: World) -> None:
    """Or the service makes a VM for it hours later, which nobody awaits."""
    world.vms.crowded |= {A}
    run_id = world.request(QUEUED)
    world.vms.delete = _raising(Transient("away"))  # type: ignore[method-assign]
    world.bus.send("run-failed", _failure(run_id), {})
    world.quiet()
    del world.vms.delete
    world.store.put([Put("runs", run_id, {"state": "failed"}, merge=True)])
    assert len(places(world)) == 1
    world.sweep()
    assert places(world) == []


def test_what_a_workload_asks_for_reaches_the_service(world: World) -> None:
    asked = {"provisioning": "reserved", "reservation": "ours", "queue_minutes": 7, "zones": (B,)}
    run_id = world.request(WORKLOAD.model_copy(update=asked))
    for kind in KINDS:
        spec = world.vms.specs[vm_name(kind, run_id)]
        assert (spec.provisioning, spec.reservation, spec.queue_minutes, spec.zone) == (
            "reserved",
            "ours",
            7,
            B,
        )


def test_refusals_keep_their_kinds() -> None:
    assert issubclass(NoCapacity, Permanent)
    assert not issubclass(NoCapacity, Untrusted)


def _raising(error: Exception) -> Callable[..., Any]:
    def raising(*_given: object) -> Any:
        raise error

    return raising
