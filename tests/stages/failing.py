"""Trouble for a run of the small world, and how it looks afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NoReturn

from shared.memory.machines import HOME
from tests.stages.world import World


def silent(_config: object) -> None:
    """A VM that does not report by itself."""


def full(world: World) -> None:
    """From now on the service has no capacity."""
    world.vms.short.add(HOME)


def failed(world: World, run_id: str) -> str:
    """The reason of a run that has failed, told once to everybody, without a VM left."""
    run = world.run(run_id)
    assert run["state"] == "failed"
    (event,) = world.events("run-failed")
    assert (event.run_id, event.reason, event.stage) == (run_id, run["reason"], run["stage"])
    assert world.vms.all() == []
    return str(run["reason"])


def raising(error: Exception) -> Callable[..., NoReturn]:
    """A port's method that fails."""

    def fail(*_given: object) -> NoReturn:
        raise error

    return fail


def failure(run_id: str) -> bytes:
    """The body of a run-failed."""
    return b'{"run_id": "%s", "stage": "sync", "reason": "Something is wrong."}' % run_id.encode()


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
