"""VMs that the service takes away: had elsewhere if there is an elsewhere, and no report counts for another VM."""

from __future__ import annotations

from typing import Any

import pytest

from shared.creation import vm_name
from shared.errors import Transient
from tests.stages.failing import failed, silent, until
from tests.stages.world import WORKLOAD, World
from tests.stages.zoned import ZONES, A, B, C, places, tick

ONE_ZONE = WORKLOAD.model_copy(update={"provisioning": "spot"})


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
            until(lambda: world.run(run_id)["state"] == "completed")
        put(writes)

    world.store.put = reported  # type: ignore[method-assign]
    world.vms.become(name, "PREEMPTED", A)
    with pytest.raises(Transient):
        tick(world, "inner")
    assert world.vms.created.count(name) == 1
