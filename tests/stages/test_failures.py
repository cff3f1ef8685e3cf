"""What goes wrong with VMs, and what the watchdog makes of it: a sentence, and nothing that goes on costing money."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared import machines
from shared.errors import Permanent, Transient
from shared.events import Delivery
from shared.guest.config import Config
from shared.machines import KIND_LABEL, RUN_LABEL, vm_name
from shared.memory.machines import HOME, MemoryVms
from shared.ports.machines import Vm, VmSpec
from shared.ports.store import Put
from tests.stages import guests
from tests.stages.failing import failed, failure, full, raising, silent
from tests.stages.world import WORKLOAD, World

Make = Callable[..., World]


def test_what_the_guest_says_of_its_failure_stands_in_the_reason() -> None:
    tail = (
        "2026-11-21T19:00:00Z dmz: install script\nhash mismatch\n"
        "2026-11-21T19:00:01Z dmz: failed: The wheel six-1.17.0 has another hash \x1b[31mthan the lock.\n"
    )
    assert machines.broken("inner", tail) == (
        "The install on the inner VM failed, in the VM's own words: The wheel six-1.17.0 has another hash "
        "\\u001b[31mthan the lock. Its last lines say more."
    )
    assert len(machines.broken("outer", " dmz: failed: " + "x" * 10_000)) < 700


@pytest.mark.parametrize("role", ["outer", "inner"])
def test_a_failed_install_ends_the_run_with_its_last_lines(world: World, role: str) -> None:
    tail = "E: Unable to locate package nonsense\n\x1b[31mred\x1b[0m\n"
    if role == "outer":
        world.outer = lambda config: guests.outer_failed(config, tail)
    else:
        world.inner = lambda config: (
            guests.common(config, "failed", tail)
            | {
                "installed": None,
                "smoke": None,
                "egress": "open",
                "egress_probes": [],
            }
        )
    run_id = world.request()
    assert failed(world, run_id) == f"The install on the {role} VM failed; its last lines say why."
    # What a terminal would obey does not reach one.
    assert world.run(run_id)["tail"] == "E: Unable to locate package nonsense\n\ufffd[31mred\ufffd[0m\n"
    assert world.run(run_id)["stage"] == role


@pytest.mark.parametrize("role", ["outer", "inner"])
def test_a_vm_that_never_reports_is_ended_after_its_time(world: World, role: str) -> None:
    setattr(world, role, silent)
    run_id = world.request()
    world.ahead = WORKLOAD.install_minutes * 60 + 240
    world.sweep()
    assert world.run(run_id)["state"] == "running"
    world.ahead += 120
    world.sweep()
    reason = failed(world, run_id)
    assert f"The {role} VM {vm_name(role, run_id)} was silent too long" in reason  # type: ignore[arg-type]
    world.sweep()
    assert len(world.events("run-failed")) == 1


def test_a_report_that_comes_after_the_end_changes_nothing(world: World) -> None:
    world.outer = silent
    run_id = world.request()
    world.ahead = 10**4
    world.sweep()
    before = world.run(run_id)
    (config,) = world.configs.values()
    world.report(config, world.install(config))
    world.quiet()
    assert world.run(run_id) == before
    assert world.events("manifest-published") == []


@pytest.mark.parametrize("role", ["outer", "inner"])
def test_no_capacity_is_told_in_the_services_own_words(world: World, role: str) -> None:
    setattr(world, role, lambda _: None)
    if role == "outer":
        full(world)
    else:

        def last_before_it_is_full(config: Config) -> guests.Payload:
            full(world)
            return world.install(config)

        world.outer = last_before_it_is_full
    run_id = world.request()
    world.sweep()
    reason = failed(world, run_id)
    assert reason.startswith(f"The {role} VM {vm_name(role, run_id)} could not be created: ")  # type: ignore[arg-type]
    assert 'There is no more capacity in the zone "us-central1-a"' in reason


@pytest.mark.parametrize("state", ["PREEMPTED", "TERMINATED", "STOPPED"])
@pytest.mark.parametrize("role", ["outer", "inner"])
def test_a_vm_that_was_taken_away(world: World, role: str, state: str) -> None:
    setattr(world, role, silent)
    run_id = world.request()
    world.vms.become(vm_name(role, run_id), state)  # type: ignore[arg-type]
    world.sweep()
    assert f"was {state.lower()} before it reported" in failed(world, run_id)


def test_a_vm_that_vanished(world: World) -> None:
    world.outer = silent
    run_id = world.request()
    world.vms.delete(vm_name("outer", run_id))
    world.sweep()
    assert world.run(run_id)["state"] == "running", "the service may list a new VM with a delay"
    world.ahead = 180
    world.sweep()
    assert "vanished before it reported" in failed(world, run_id)


def test_a_report_under_way_while_the_watchdog_looks_is_not_taken_for_a_vanished_vm(make: Make) -> None:
    """The VM is deleted in the middle of handling its report; the tick comes in just then."""
    world = make(lease=5.0)
    delete = world.vms.delete
    ticks: list[str] = []

    def deleted(name: str, zone: str) -> None:
        delete(name, zone)
        if not ticks:
            ticks.append(name)
            world.ahead = 600
            world.desks["outer"].deliver(Delivery(b"{}", "sweep-requested", {}, "tick"))

    world.vms.delete = deleted  # type: ignore[method-assign]
    run_id = world.request()
    assert ticks
    assert world.run(run_id)["state"] == "completed"


def test_a_vm_that_ends_between_two_looks_of_the_watchdog_has_not_vanished(world: World) -> None:
    """The tick has read that it owes its report; then it is ended; then the tick looks for it."""
    world.outer = silent
    run_id = world.request()
    get = world.vms.get

    def ended_meanwhile(name: str, zone: str) -> Vm | None:
        world.store.put([Put("vms", name, {"state": "ended"}, merge=True)])
        world.vms.delete(name)
        return get(name, zone)

    world.vms.get = ended_meanwhile  # type: ignore[method-assign]
    world.ahead = 600
    world.sweep()
    assert world.run(run_id)["state"] == "running"
    assert world.events("run-failed") == []


def test_a_refused_creation_ends_the_run_at_once(world: World) -> None:
    words = "Creating the VM was refused: accelerator type v9 does not exist."
    world.vms.create = raising(Permanent(words))  # type: ignore[method-assign]
    run_id = world.request()
    assert failed(world, run_id) == words


@pytest.mark.parametrize("kind", ["v99-1", "v5litepod-5", "tpu7x-standard-4t"])
def test_a_type_that_nobody_can_read_is_refused_before_anything_is_paid_for(world: World, kind: str) -> None:
    run_id = world.request(WORKLOAD.model_copy(update={"accelerator_type": kind}))
    assert failed(world, run_id).startswith(
        f"There is no TPU accelerator type '{kind}': give one like v5litepod-8"
    )
    assert world.run(run_id)["stage"] == "outer"
    assert world.vms.asked == []
    assert world.store.get("vms", vm_name("outer", run_id)) is None


def test_a_type_is_the_adapters_to_read(world: World) -> None:
    """A machine type of Compute Engine, say: whoever makes the VMs knows how many hosts it has."""
    world.vms.hosts = {"tpu7x-standard-4t": 2}.__getitem__  # type: ignore[method-assign, assignment]
    run_id = world.request(WORKLOAD.model_copy(update={"accelerator_type": "tpu7x-standard-4t"}))
    run = world.run(run_id)
    assert (run["state"], run["inner"]["hosts"]) == ("completed", 2), run
    assert world.vms.specs[vm_name("inner", run_id)].accelerator_type == "tpu7x-standard-4t"


def test_the_twin_makes_what_the_service_might() -> None:
    """The service has types that our table lacks; it is the stages that refuse them."""
    vms, one = MemoryVms(), "tpu7x-8"
    vms.create(VmSpec("vm", "outer", one, "v2", {}, {}, HOME))
    made = vms.get("vm")
    assert made is not None
    assert (made.state, made.workers) == ("READY", 1)


def test_a_file_by_url_that_the_policy_holds_ends_the_run(world: World) -> None:
    generic = world.policy.generic.model_copy(update={"fetched_by_url": "hold"})
    world.policy = world.policy.model_copy(update={"generic": generic})
    reason = failed(world, world.request())
    assert reason.startswith("https://files.test/data.bin is refused (it was fetched from")
    assert world.registry.uploads == []


@pytest.mark.parametrize("stage", ["scanner", "sync"])
def test_a_run_that_fails_anywhere_leaves_no_vm(world: World, stage: str) -> None:
    if stage == "scanner":
        world.market.findings = raising(Permanent("The advisory data is gone."))  # type: ignore[method-assign]
    else:
        world.market.flaw("lib", "1.1")
        world.market.flaw("lib", "2.0")
    run_id = world.request()
    failed(world, run_id)
    assert world.run(run_id)["stage"] == stage
    assert len(world.bus.dead) == 1
    assert vm_name("inner", run_id) not in world.vms.created


def test_run_failed_deletes_both_vms(world: World) -> None:
    world.inner = silent
    run_id = world.request()
    world.vms.add(Vm(vm_name("outer", run_id), "READY", {RUN_LABEL: run_id, KIND_LABEL: "outer"}))
    world.bus.send("run-failed", failure(run_id), {})
    world.quiet()
    assert world.vms.all() == []


def test_a_late_run_failed_does_not_take_the_vm_of_a_completed_run(world: World) -> None:
    run_id = world.request()
    world.bus.send("run-failed", failure(run_id), {})
    world.quiet()
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", run_id)]


def test_a_passing_trouble_passes(world: World) -> None:
    fetch, times = world.market.fetch, iter(range(2))

    def moody(*arguments: object, **promised: object) -> int:
        if next(times, None) is not None:
            raise Transient("The index does not answer.")
        return fetch(*arguments, **promised)  # type: ignore[arg-type]

    world.market.fetch = moody  # type: ignore[method-assign]
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"


def test_a_lasting_trouble_ends_the_run(world: World) -> None:
    world.market.findings = raising(Transient("OSV.dev does not answer."))  # type: ignore[method-assign]
    run_id = world.request()
    assert failed(world, run_id) == "OSV.dev does not answer, 6 times."
