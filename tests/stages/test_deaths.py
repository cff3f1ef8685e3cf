"""A worker dies after any call that it makes: the run still ends as it should, and no VM is paid for twice."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.machines import vm_name
from tests.stages import guests
from tests.stages.faults import Death, Fuse
from tests.stages.test_run import outcome
from tests.stages.world import World

LEASE = 0.4
"""Seconds: what the next delivery waits for after a death."""


def world_with(fuse: Fuse, tmp: Path) -> World:
    tmp.mkdir()
    return World(tmp, lease=LEASE, through=fuse.through)


def whole_run(world: World) -> str:
    """The inner VM takes its time: what comes again because of a death comes into a run that still goes on."""
    world.inner = lambda _: None
    run_id = world.request()
    config = world.configs[vm_name("inner", run_id)]
    world.report(config, world.install_inner(config))
    world.quiet()
    world.bus.close()
    return run_id


def test_the_fuse_kills_exactly_once_and_leaves_the_claim(tmp_path: Path) -> None:
    fuse = Fuse(1)
    world = world_with(fuse, tmp_path / "one")
    world.request()
    assert [type(error) for error in world.raised] == [Death]
    assert fuse.blown == "store.claim"
    world.bus.close()


def test_a_death_after_any_call(tmp_path: Path) -> None:
    counting = Fuse()
    plain = world_with(counting, tmp_path / "plain")
    expected = outcome(plain, whole_run(plain))
    assert expected["state"] == "completed"
    assert {"vms.create", "vms.delete", "store.finish", "bus.publish", "registry.upload_apt"} <= set(
        counting.calls
    )
    assert len(counting.calls) > 80

    def with_death_at(number: int) -> str:
        fuse = Fuse(number)
        world = world_with(fuse, tmp_path / str(number))
        run_id = whole_run(world)
        problems = _problems(world, run_id, outcome(world, run_id), expected)
        return f"{number} {fuse.blown}: {problems}" if problems else ""

    # A few calls more than were counted: threads of a shard make some more or fewer.
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(with_death_at, range(1, len(counting.calls) + 4)))
    assert [each for each in found if each] == []


@pytest.mark.parametrize("role", ["outer", "inner"])
def test_a_death_after_any_call_of_a_run_that_fails(role: str, tmp_path: Path) -> None:
    def failing(fuse: Fuse, name: str) -> World:
        world = world_with(fuse, tmp_path / name)
        if role == "outer":
            world.outer = lambda config: guests.outer_failed(config, "no such package\n")
        else:
            world.inner = lambda config: (
                guests.common(config, "failed", "no such package\n")
                | {
                    "installed": None,
                    "smoke": None,
                    "egress": "denied",
                    "egress_probes": [],
                }
            )
        return world

    counting = Fuse()
    plain = failing(counting, "plain")
    plain.request()
    plain.bus.close()
    first = 1 if role == "outer" else len(counting.calls) - 20

    def with_death_at(number: int) -> str:
        fuse = Fuse(number)
        world = failing(fuse, str(number))
        run_id = world.request()
        world.bus.close()
        run, failures = world.run(run_id), world.events("run-failed")
        good = (
            run["state"] == "failed"
            and run["tail"] == "no such package\n"
            and len(failures) == 1
            and world.vms.all() == []
            and max(Counter(world.vms.created).values()) == 1
        )
        return "" if good else f"{number} {fuse.blown}: {run} {failures} {world.vms.all()}"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(with_death_at, range(first, len(counting.calls) + 2)))
    assert [each for each in found if each] == []


def _problems(world: World, run_id: str, found: dict[str, object], expected: dict[str, object]) -> list[str]:
    problems = [f"{key}: {found[key]} != {expected[key]}" for key in expected if found[key] != expected[key]]
    if sorted(world.vms.created) != [vm_name("inner", run_id), vm_name("outer", run_id)]:
        problems.append(f"created {world.vms.created}")
    if [vm.name for vm in world.vms.all()] != [vm_name("inner", run_id)]:
        problems.append(f"left {world.vms.all()}")
    # On a busy machine a lease runs out under work that goes on: its result is refused, and the other's counts.
    if any(type(error) is not Death and "has taken over" not in str(error) for error in world.raised):
        problems.append(f"raised {world.raised}")
    for topic in ("manifest-published", "verdicts-written", "sync-completed", "run-completed"):
        if len(world.events(topic)) != 1:
            problems.append(f"{len(world.events(topic))} different {topic}")
    return problems
