"""What the watchdog finds at its tick: orphans, runs that hang, what a dead worker left; each is dealt with once."""

from __future__ import annotations

import pytest

from shared.errors import Permanent
from shared.machines import KIND_LABEL, RUN_LABEL, vm_name
from shared.ports.machines import Vm
from tests.stages.failing import failed, silent, until
from tests.stages.world import WORKLOAD, World


def test_a_run_whose_files_are_listed_late_goes_on(world: World) -> None:
    """Longer than the deliveries of the last shard last; then the tick finds that everything is there."""
    stored = world.registry.stored
    world.registry.stored = lambda repository: []  # type: ignore[method-assign]
    run_id = world.request()
    assert (world.run(run_id)["state"], world.run(run_id)["stage"]) == ("running", "sync")
    world.sweep()
    assert world.run(run_id)["stage"] == "sync"
    assert world.events("sync-completed") == []
    world.registry.stored = stored  # type: ignore[method-assign]
    world.sweep()
    assert world.run(run_id)["state"] == "completed"
    world.sweep()
    assert len(world.events("sync-completed")) == 1


def test_orphans_are_deleted_and_strangers_are_not(world: World) -> None:
    run_id = world.request()
    for kind in ("outer", "inner"):
        world.vms.add(Vm(f"orphan-{kind}", "READY", {RUN_LABEL: "run-000000000000", KIND_LABEL: kind}))
        world.vms.add(Vm(f"no-run-{kind}", "READY", {KIND_LABEL: kind}))
    world.vms.add(Vm("somebody-elses", "READY", {}))
    world.vms.add(Vm(vm_name("outer", run_id), "READY", {RUN_LABEL: run_id, KIND_LABEL: "outer"}))
    world.sweep()
    assert sorted(vm.name for vm in world.vms.all()) == [vm_name("inner", run_id), "somebody-elses"]


def test_an_outer_vm_that_has_done_its_work_is_deleted_while_the_run_goes_on(world: World) -> None:
    world.inner = silent
    run_id = world.request()
    world.vms.add(Vm(vm_name("outer", run_id), "READY", {RUN_LABEL: run_id, KIND_LABEL: "outer"}))
    world.sweep()
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", run_id)]
    assert world.run(run_id)["state"] == "running"


def test_one_vm_that_cannot_be_deleted_does_not_keep_the_others_alive(world: World) -> None:
    for number in range(3):
        world.vms.add(Vm(f"orphan-{number}", "READY", {RUN_LABEL: "run-000000000000", KIND_LABEL: "outer"}))
    delete = world.vms.delete

    def deleted(name: str, zone: str) -> None:
        if name == "orphan-0":
            raise Permanent("Deleting was refused.")
        delete(name, zone)

    world.vms.delete = deleted  # type: ignore[method-assign]
    world.outer = silent
    run_id = world.request()
    world.ahead = 10**4
    world.sweep()
    assert [vm.name for vm in world.vms.all()] == ["orphan-0"]
    assert world.run(run_id)["state"] == "failed"


@pytest.mark.parametrize("stage", ["scanner", "sync", "inner"])
def test_a_run_that_hangs_without_a_vm_is_ended(world: World, stage: str) -> None:
    """The stage's subscription is gone, or its messages are: nobody would ever report."""
    world.bus.subscribe(stage, lambda _: True)
    run_id = world.request(WORKLOAD.model_copy(update={"install_minutes": 10}))
    assert (world.run(run_id)["state"], world.run(run_id)["stage"]) == ("running", stage)
    world.ahead = 79 * 60
    world.sweep()
    assert world.run(run_id)["state"] == "running"
    world.ahead = 81 * 60
    world.sweep()
    reason = failed(world, run_id)
    assert f"The run is stuck in the stage {stage}: it has not ended within 80 minutes" in reason
    world.sweep()
    assert len(world.events("run-failed")) == 1


def test_a_run_ends_once_even_if_the_watchdog_and_the_report_come_together(world: World) -> None:
    """The tick finds the inner VM silent; before it writes that down, the report completes the run."""
    world.inner = silent
    run_id = world.request()
    config = world.configs[vm_name("inner", run_id)]
    finish = world.store.finish
    said: list[object] = []

    def finishing(claim: object, writes: object, outbox: object, now: float) -> None:
        if claim.key.startswith("inner:sweep:") and not said:  # type: ignore[attr-defined]
            said.append(claim)
            world.ahead = 0
            world.report(config, world.install_inner(config))
            until(lambda: world.run(run_id)["state"] == "completed")
        finish(claim, writes, outbox, now)  # type: ignore[arg-type]

    world.store.finish = finishing  # type: ignore[method-assign]
    world.ahead = 4000
    world.sweep()
    assert said
    assert world.run(run_id)["state"] == "completed"
    assert world.events("run-failed") == []
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", run_id)]


def test_what_a_dead_worker_left_unpublished_goes_out_with_the_tick(world: World) -> None:
    publish = world.bus.publish
    world.bus.publish = lambda event: None if event.type == "verdicts-written" else publish(event)  # type: ignore[method-assign]
    sent = world.store.sent
    world.store.sent = lambda key, event_id: None if key.startswith("scanner:") else sent(key, event_id)  # type: ignore[method-assign]
    run_id = world.request()
    assert world.run(run_id)["stage"] == "sync"
    world.bus.publish, world.store.sent = publish, sent  # type: ignore[method-assign]
    world.sweep()
    assert world.run(run_id)["state"] == "running", "younger than what a live worker may need"
    world.ahead = 60
    world.sweep()
    assert world.run(run_id)["state"] == "completed"
