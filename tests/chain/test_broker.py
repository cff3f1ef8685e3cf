"""Google's Pub/Sub emulator dies, and all that it held with it: the run completes, and its user is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from functions.local import platform
from shared import journal
from shared.events import REPORTS, run_id_of
from shared.machines import vm_name
from tests.chain.system import System, eventually

MOMENTS = (
    ("outer", "run-requested"),
    ("outer", "outer-install-completed"),
    ("sync", "verdicts-written"),
    ("inner", "inner-install-completed"),
)
"""Stage, and the event that it never got: an operator's, the VMs', and one of another stage."""


def published(system: System, topic: str) -> list[journal.Message]:
    return [each for each in journal.messages(system.layout.journal) if each.topic == topic]


def until(check: Callable[[str], Any], name: str) -> None:
    eventually(lambda: check(name), name)


def notices(system: System) -> list[str]:
    found = platform.read(system.layout.platform)
    return found.notices if found else []


def test_a_run_completes_though_every_kind_of_event_was_lost_once(system: System) -> None:
    run_id = run_id_of("broker")
    for number, (stage, topic) in enumerate(MOMENTS):
        if topic in REPORTS:  # a stage that is stopped before it asks for its VM would never get a report
            until(
                lambda name: name in system.vms(), vm_name("outer" if stage == "outer" else "inner", run_id)
            )
            until(lambda name: not system.claims(name, done=False), stage)
        with system.paused(stage):
            if topic == "run-requested":
                system.request("broker")
            until(lambda name: published(system, name), topic)
            system.kill("pubsub")
            system.kill(stage)  # what was pushed to it is lost as well
        until(lambda _: len(notices(system)) > number, "the sentence about it")  # noqa: B023 - called at once
    run = system.ended(run_id)
    assert run["state"] == "completed", run
    created = system.creations()
    assert [created[vm_name(kind, run_id)] for kind in ("outer", "inner")] == [1, 1]
    assert len(notices(system)) == len(MOMENTS)
    said = "Z The Pub/Sub emulator was ended by signal 9. It was started again, and "
    assert all(said in each and each.endswith(": runs go on.") for each in notices(system))
    # A stage may take one before it is stopped.
    assert sum("was published again" in each for each in notices(system)) >= 3, notices(system)
    assert notices(system)[-1] in system.dmz("status").stdout
