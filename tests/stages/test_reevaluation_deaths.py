"""The stage dies after any of its calls while it judges again: what is refused still goes, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.held import searched
from tests.stages.faults import Fuse
from tests.stages.refreshing import TOOL, changes, evictions, refresh
from tests.stages.world import World

LEASE = 0.4
"""Seconds: what the next delivery, or the next search for a relock, waits for after a death."""


def refreshed(tmp: Path, at: int) -> tuple[Fuse, list[str], World]:
    """A run, then a refusal, and a death after so many calls of the refresh; 0: none. With what was held before."""
    tmp.mkdir()
    fuse = Fuse()
    world = World(tmp, lease=LEASE, through=fuse.through)
    world.request()
    before = world.repositories()["dmz-python"]
    world.market.flaw("tool", "1.0")
    fuse.arm(at)
    refresh(world, "one")
    world.bus.close()
    return fuse, before, world


def test_killed_after_any_step_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searched, "_LEASE", LEASE)
    counting, _, _ = refreshed(tmp_path / "plain", 0)
    steps = len(counting.calls)
    assert steps > 10

    def with_death_at(number: int) -> str:
        fuse, before, world = refreshed(tmp_path / str(number), number)
        good = (
            fuse.blown
            and set(before) - set(world.repositories()["dmz-python"]) == {"tool-1.0-py3-none-any.whl"}
            and {(purl, files) for purl, files, _ in evictions(world)} == {(TOOL, 1)}
            and set(changes(world)) == {(TOOL, "allow", "block")}
            and world.bus.dead == []
        )
        said = (world.repositories()["dmz-python"], evictions(world), changes(world), world.bus.dead)
        return "" if good else f"{number} {fuse.blown or 'nobody died'}: {said}"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(with_death_at, range(1, steps + 1)))
    assert [each for each in found if each] == []
