"""Relocks that fall over, hang or kill the stage: no eviction waits for them, and each lock is searched once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from functions.sync import stage
from shared.held import affected
from shared.held.reevaluation import standing_id
from shared.held.searched import Searched
from shared.model.holdings import HeldFile
from tests.stages.faults import Death
from tests.stages.refreshing import TOOL, evictions, refresh
from tests.stages.relocking import Broken, raising, recorded
from tests.stages.relocking import broken as broken
from tests.stages.world import World


def test_a_relock_that_falls_over_keeps_no_eviction_from_being_recorded(broken: tuple[World, Broken]) -> None:
    world, resolver = broken
    world.market.flaw("tool", "1.0")
    resolver.how = raising(RuntimeError("the resolver fell over"))
    refresh(world, "one")
    assert (evictions(world), recorded(world, TOOL), world.bus.dead) == ([(TOOL, 1, "")], ["gone"], [])
    told = world.store.get("affected", standing_id(TOOL)) or {}
    assert [each["why"] for each in told["relocks"]] == [
        "It could not be searched: RuntimeError: the resolver fell over"
    ]


def test_a_relock_that_takes_for_ever_is_let_go(
    broken: tuple[World, Broken], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, resolver = broken
    world.market.flaw("tool", "1.0")
    monkeypatch.setattr(affected, "_SECONDS", 0.2)
    ended = threading.Event()

    def hang() -> None:
        ended.wait(60)

    resolver.how = hang
    try:
        refresh(world, "one")
        assert (evictions(world), recorded(world, TOOL)) == ([(TOOL, 1, "")], ["gone"])
        told = world.store.get("affected", standing_id(TOOL)) or {}
        assert [each["why"] for each in told["relocks"]] == ["It could not be searched within 0 seconds."]
    finally:
        ended.set()


def test_a_search_over_which_the_stage_dies_is_given_up(broken: tuple[World, Broken]) -> None:
    world, resolver = broken
    world.market.flaw("tool", "1.0")
    resolver.how = raising(Death("out of memory"))
    before = resolver.calls
    refresh(world, "one")
    assert (evictions(world), recorded(world, TOOL), world.bus.dead) == ([(TOOL, 1, "")], ["gone"], [])
    assert resolver.calls - before == 2
    told = world.store.get("affected", standing_id(TOOL)) or {}
    assert [each["why"] for each in told["relocks"]] == [
        "It could not be searched: the stage died over it twice."
    ]
    assert told["holders"] == 1


def test_every_lock_is_named_whether_it_was_searched_or_not(world: World) -> None:
    run_id = world.request()
    lock, run = world.lock(run_id), world.run(run_id)
    others = [lock.model_copy(update={"workload": f"small-{number}"}) for number in range(1, 5)]
    for number, each in enumerate(others):
        digest = world.blobs.put(each.canonical())
        world.store.put_many("runs", {f"run-more{number}": {**run, "lock": digest, "requested": number}})
    workloads = {lock.workload, *(each.workload for each in others)}
    places = [one for each in lock.environments for one in each.packages if one.name == "tool"]
    held = [HeldFile(repository="dmz-python", name=one.filename, sha256=one.sha256) for one in places]
    found = affected.holders(held, workloads, world.store, world.blobs, world.settings)
    assert len(found) == 5
    searched = Searched(world.store, world.blobs, "of this refresh", world.clock)
    rows = affected.relocks(found, lambda each: each.lock, searched)
    assert [str(row.get("why", ""))[:12] for row in rows] == ["", "", "", "Not searched", "Not searched"]
    assert {row["lock"] for row in rows} == {one.remembered.run["lock"] for one in found}
    assert "3 of 5 locks" in str(rows[3]["why"])


@pytest.mark.parametrize("fits", [True, False])
def test_the_same_lock_is_searched_once_in_a_refresh(
    broken: tuple[World, Broken], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two packages of one lock are refused at once; the second one's runs get what was found for the first."""
    world, _ = broken
    searches: list[str] = []
    honest = stage._lock_anew

    def counted(each: Any, ports: Any) -> Any:
        searches.append(each.run_id)
        return honest(each, ports)

    monkeypatch.setattr(stage, "_lock_anew", counted)
    world.registry.sealed = True
    world.market.flaw("tool", "1.0")
    world.market.flaw("app", "1.0")
    if fits:
        world.market.wheel("app", "1.1", "lib<2", "tool")
    refresh(world, "one")
    assert len(searches) == 1
    found = [world.store.get("affected", standing_id(f"pkg:pypi/{name}@1.0")) for name in ("tool", "app")]
    (first,), (second,) = ((each or {})["relocks"] for each in found)
    assert first == second
    assert ("proposal" in first, "why" in first) == (fits, not fits)
    world.ahead = 2 * 86_400.0
    refresh(world, "two")
    assert len(searches) == 2  # another refresh searches for itself
