"""A stage dies after any call that it makes over a worker's report: no report is lost, and none counts twice."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.machines import vm_name
from tests.stages.faults import Death, Fuse
from tests.stages.test_slices import begun, broken, of
from tests.stages.world import World

LEASE = 0.4
"""Seconds: what the next delivery waits for after a death."""
ORDERS = {"one after the other": False, "at once": True}
_names = itertools.count()


def played(tmp: Path, at: int, bad: Sequence[int], at_once: bool, **changes: Any) -> tuple[World, str, Fuse]:
    """A run of two workers whose stage dies after call `at`, counted from their first report."""
    fuse = Fuse()
    folder = tmp / str(next(_names))
    folder.mkdir()
    world = World(folder, lease=LEASE, through=fuse.through)
    run_id, config = begun(world, 2, **changes)
    fuse.arm(at)
    for number in (1, 0):
        payload = of(world, config, number)
        world.report(config, broken(payload) if number in bad else payload)
        if not at_once:
            world.quiet()
    world.quiet()
    world.bus.close()
    return world, run_id, fuse


def problems(world: World, run_id: str, bad: Sequence[int]) -> list[str]:
    run, found = world.run(run_id), []
    state = "failed" if bad else "completed"
    if run["state"] != state:
        found.append(f"{run['state']} {run.get('reason')}")
    elif bad and f"Worker {bad[0]} (of 0 to 1)" not in run["reason"]:
        found.append(run["reason"])
    elif not bad and sorted(run["inner"]["workers"]) != ["0", "1"]:
        found.append(str(run["inner"]["workers"]))
    if len(world.events(f"run-{state}")) != 1:
        found.append(f"{len(world.events(f'run-{state}'))} different ends")
    if [vm.name for vm in world.vms.all()] != ([] if bad else [vm_name("inner", run_id)]):
        found.append(f"left {world.vms.all()}")
    counted = (world.store.get("slices", vm_name("inner", run_id)) or {}).get("reported", 0)
    if counted != len(world.store.find("workers", "vm", vm_name("inner", run_id))):
        found.append(f"counted {counted}")
    return found + [reason for _, _, reason in world.bus.dead]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "bad", [(), (1,), (0,)], ids=["both are good", "the first is bad", "the last is bad"]
)
def test_a_death_after_any_call(tmp_path: Path, bad: tuple[int, ...], order: str) -> None:
    world, run_id, counting = played(tmp_path, 0, bad, ORDERS[order])
    assert problems(world, run_id, bad) == []
    assert "store.put" in counting.calls
    assert "store.finish" in counting.calls

    def with_death_at(number: int) -> str:
        world, run_id, fuse = played(tmp_path, number, bad, ORDERS[order])
        died = [error for error in world.raised if isinstance(error, Death)]
        wrong = problems(world, run_id, bad) + ([] if died or not fuse.blown else ["nobody died"])
        return f"{number} {fuse.blown}: {wrong}" if wrong else ""

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(with_death_at, range(1, len(counting.calls) + 2)))
    assert [each for each in found if each] == []


def test_a_death_as_a_data_service_is_about_to_be_asked(tmp_path: Path) -> None:
    changes = {"data_services": ("model_updater",)}
    _, _, counting = played(tmp_path, 0, (), True, **changes)
    for number in range(1, len(counting.calls) + 1):
        world, run_id, fuse = played(tmp_path, number, (), True, **changes)
        run = world.run(run_id)
        assert (run["state"], run["stage"]) == ("running", "attestation"), fuse.blown
        assert len(world.events("nonce-requested")) == 1, fuse.blown
