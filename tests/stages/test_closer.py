"""Who closes a run: one of those who could, and nobody for ever."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from shared import closer
from shared.errors import Transient
from shared.memory.store import MemoryStore
from shared.ports.registry import Stored
from shared.ports.store import Create, Write
from tests.stages.world import World

SYNC, NOW = "run-1-abc", 1000.0


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_the_first_shard_closes_and_may_come_again(store: MemoryStore) -> None:
    assert closer.is_mine(SYNC, "first", store, NOW)
    assert not closer.is_mine(SYNC, "second", store, NOW)
    assert closer.is_mine(SYNC, "first", store, NOW + 1000)
    assert closer.is_mine("run-2-abc", "second", store, NOW)


@pytest.mark.parametrize(
    ("later", "left"), [(0.0, False), (19.0, False), (20.0, True), (-0.5, True), (-3600.0, True)]
)
def test_the_watchdog_closes_where_nothing_is_heard_of_who_began(
    store: MemoryStore, later: float, left: bool
) -> None:
    assert closer.is_mine(SYNC, "shard", store, NOW)
    assert closer.is_left(SYNC, "tick", store, NOW + later) is left


def test_a_shard_leaves_alone_what_the_watchdog_closes(store: MemoryStore) -> None:
    assert closer.is_left(SYNC, "tick", store, NOW)
    assert closer.is_left(SYNC, "tick", store, NOW), "the same tick once more"
    assert not closer.is_mine(SYNC, "shard", store, NOW)
    assert not closer.is_left(SYNC, "another tick", store, NOW + 5)


def test_who_cannot_close_keeps_nobody_waiting(store: MemoryStore) -> None:
    assert closer.is_mine(SYNC, "shard", store, NOW)
    closer.gives_up(SYNC, store)
    assert closer.is_left(SYNC, "tick", store, NOW + 1)
    assert closer.is_mine(SYNC, "shard", store, NOW + 1), "it may try again"


def test_of_two_at_once_one_closes(store: MemoryStore) -> None:
    """Another leaves its mark between the look and one's own."""

    class Between(MemoryStore):
        def put(self, writes: Sequence[Write]) -> None:
            if not super().get("shards", f"{SYNC}-closed"):
                super().put([Create("shards", f"{SYNC}-closed", {"by": "other", "at": NOW})])
            super().put(writes)

    assert not closer.is_mine(SYNC, "shard", Between(), NOW)


def test_a_store_that_takes_no_mark_is_told() -> None:
    class Broken(MemoryStore):
        def put(self, writes: Sequence[Write]) -> None:
            raise Transient("The store does not answer.")

    with pytest.raises(Transient, match="does not answer"):
        closer.is_mine(SYNC, "shard", Broken(), NOW)
    closer.gives_up(SYNC, Broken())


def test_the_watchdog_does_not_list_the_repositories_beside_a_shard_that_closes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a platform where twenty runs close while the watchdog ticks."""
    world.inner = lambda _: None
    real, asked = world.registry.stored, [0]
    found: list[tuple[int, int]] = []

    def listed(repository: str) -> Sequence[Stored]:
        asked[0] += 1
        if not found and _is_being_closed(world):
            before, tick = asked[0], replace(world.bus.published[0], id="tick")
            found.append((len([*world.desks["sync"].sweep(tick)]), asked[0] - before))
        return real(repository)

    monkeypatch.setattr(world.registry, "stored", listed)
    run_id = world.request()
    assert found == [(0, 0)]
    assert [each.type for each in world.bus.published].count("sync-completed") == 1
    assert world.run(run_id)["stage"] == "inner"


def _is_being_closed(world: World) -> bool:
    return any(
        world.store.get("shards", f"{sync}-closed")
        for run, _ in world.store.find("runs", "state", "running")
        for sync, _ in world.store.find("syncs", "run_id", run)
    )
