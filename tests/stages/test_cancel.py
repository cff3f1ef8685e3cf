"""A person ends a run by an event: once, as every other end, and whatever else happens meanwhile."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from shared.decision_log import altered
from shared.delivery import Outcome
from shared.errors import Transient
from shared.events import Delivery, Event
from shared.machines import vm_name
from shared.model.value import sha256
from shared.ports.store import Create
from tests.local.up import eventually
from tests.stages.failing import failed, silent
from tests.stages.world import World

WHY = {"reason": "the wrong workload.", "by": "ada@example.org"}
SAID = "The run was cancelled by ada@example.org: the wrong workload."


def cancel(world: World, run_id: str, **attributes: str) -> None:
    world.bus.send("cancel-requested", json.dumps({"run_id": run_id, **WHY}).encode(), attributes)
    world.quiet()


@pytest.mark.parametrize("role", ["outer", "inner"])
def test_a_run_that_goes_on_ends_as_failed_and_its_vms_go(world: World, role: str) -> None:
    setattr(world, role, silent)
    run_id = world.request()
    assert vm_name("outer" if role == "outer" else "inner", run_id) in [vm.name for vm in world.vms.all()]
    cancel(world, run_id)
    assert failed(world, run_id) == SAID
    assert world.store.get("endings", run_id)
    ended = (world.store.get("decisions", f"{run_id}-ended") or {})["reason"]
    assert ended == SAID
    assert world.bus.dead == []


def test_twice_is_once_and_a_run_that_has_ended_stays_as_it_is(world: World) -> None:
    world.inner = silent
    run_id = world.request()
    cancel(world, run_id)
    before = world.run(run_id)
    for _ in range(2):
        cancel(world, run_id)
    assert world.run(run_id) == before
    failed(world, run_id)
    world.inner = None
    completed = world.request()
    assert world.run(completed)["state"] == "completed"
    cancel(world, completed)
    assert world.run(completed)["state"] == "completed"
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", completed)]


def test_a_run_that_is_completed_while_it_is_cancelled_ends_once(world: World) -> None:
    """The last report comes between the moment when the stage looked and the moment when it writes."""
    world.inner = silent
    run_id = world.request()
    config = world.configs[vm_name("inner", run_id)]
    desk = world.desks["outer"]

    def slowly(event: Event) -> Outcome:
        outcome = desk.handle(event)
        world.report(config, world.install_inner(config))
        world.quiet()
        return outcome

    body = json.dumps({"run_id": run_id, **WHY}).encode()
    delivery = Delivery(body, "cancel-requested", {}, "1", "2026-11-22T10:00:00Z")
    with pytest.raises(Transient, match="exists already"):
        replace(desk, handle=slowly).deliver(delivery)
    assert world.run(run_id)["state"] == "completed"
    desk.deliver(delivery)
    world.quiet()
    assert world.run(run_id)["state"] == "completed"
    assert world.events("run-failed") == []
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", run_id)]


def test_what_was_being_decided_when_the_run_was_cancelled_does_not_look_like_a_forgery(world: World) -> None:
    """Sync has chosen replacements, and the run's last entry is written before it can write them."""
    desk, late = world.desks["sync"], threading.Event()

    def slowly(event: Event) -> Outcome:
        outcome = desk.handle(event)
        if event.type == "verdicts-written" and not late.is_set():
            late.set()
            assert [
                each for each in outcome.writes if isinstance(each, Create) and each.collection == "decisions"
            ]
            body = json.dumps({"run_id": event.run_id, **WHY}).encode()
            world.bus.send("cancel-requested", body, {})
            eventually(lambda: world.store.get("decisions", f"{event.run_id}-ended"))
        return outcome

    slow = replace(desk, handle=slowly)
    world.bus.subscribe("sync", lambda delivery: slow.deliver(delivery) is None)
    run_id = world.request()
    assert late.is_set()
    assert failed(world, run_id) == SAID
    found = dict(world.store.find("decisions", "run_id", run_id))
    assert list(altered(found)) == []


def test_a_run_that_is_not_there_is_said_and_nothing_fails(world: World) -> None:
    cancel(world, "run-000000000000")
    ((_, _, reason),) = world.bus.dead
    assert reason.startswith(
        "ada@example.org wants the run run-000000000000 to end, and there is no such run"
    )
    assert world.events("run-failed") == []


def test_a_dropped_dead_letter_stands_in_the_decision_log_once(world: World) -> None:
    body = {
        "message": "17",
        "topic": "manifest-published",
        "run": "run-000000000000",
        "body": sha256(b"x"),
        "failure": "No.",
        "reason": "it was requested again",
        "by": "ada@example.org",
    }
    for reason in ("it was requested again", "another reason"):
        world.bus.send("dead-letter-dropped", json.dumps(body | {"reason": reason}).encode(), {})
        world.quiet()
    found = [fields for _, fields in world.store.find("decisions", "kind", "dead-letter-dropped")]
    assert [(each["actor"], each["reason"], each["run_id"], each["subject"]) for each in found] == [
        ("ada@example.org", "it was requested again", "", "manifest-published 17")
    ]
    assert found[0]["details"]["failure"] == "No."
    assert world.bus.dead == []
