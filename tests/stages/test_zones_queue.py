"""Requests that wait in the queue for a VM: they have their own time, and are gone with the run."""

from __future__ import annotations

from shared.creation import vm_name
from shared.errors import Permanent, Transient, Untrusted
from shared.ports.machines import NoCapacity
from shared.ports.store import Put
from tests.stages.failing import failed, failure, raising, silent
from tests.stages.world import WORKLOAD, World
from tests.stages.zoned import KINDS, A, B, places, record

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
    world.vms.delete = raising(Transient("away"))  # type: ignore[method-assign]
    world.bus.send("run-failed", failure(run_id), {})
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
