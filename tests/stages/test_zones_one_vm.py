"""There is one VM of a run, whoever comes twice while its zones are tried, and whoever dies."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.creation import KIND_LABEL, RUN_LABEL, vm_name
from shared.errors import Transient
from shared.ports.machines import Vm
from shared.ports.store import Put
from tests.stages.failing import failure, raising, silent, until
from tests.stages.faults import Death, Fuse
from tests.stages.world import World
from tests.stages.zoned import ZONES, A, B, C, places, record, tick


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
    world.vms.create = raising(Transient("away"))  # type: ignore[method-assign]
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
            world.bus.send("run-failed", failure(run_id), {})
            until(lambda: record(world, run_id)["state"] == "ended")
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
