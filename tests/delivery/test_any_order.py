"""Whatever dies, comes twice or comes late: every effect once, every event at least once, one end state."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.delivery import ATTEMPTS
from shared.events import SUBSCRIBERS, Delivery, decode, run_id_of
from shared.gcp.firestore import FirestoreStore
from shared.memory.bus import MemoryBus
from shared.memory.store import MemoryStore
from shared.ports.store import Store
from tests.delivery.world import SHARDS, Trouble, World, desk, expected, request

_TROUBLES = st.builds(Trouble, st.integers(0, 14), st.sampled_from(["die before", "die after", "pause"]))
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), st.integers(0, 20), st.lists(_TROUBLES, max_size=2)),
        st.tuples(st.just("sweep"), st.integers(0, 90), st.just([])),
    ),
    max_size=40,
)


def check(world: World, names: list[str]) -> None:
    """One end state, however it was reached."""
    runs = [run_id_of(name) for name in names]
    assert world.bus.dead == []
    for run in runs:
        assert world.store.get("counters", run) == expected(run)
    assert len(world.store.find("effects", "run", runs[0])) == 4 + SHARDS
    published = {(event.type, event.id) for event in world.bus.published}
    assert Counter(topic for topic, _ in published) == {
        "manifest-published": len(runs),
        "verdicts-written": len(runs),
        "sync-shard-planned": SHARDS * len(runs),
        "sync-completed": len(runs),
    }
    assert world.store.stale_outbox(world.now + 1000) == []


@settings(max_examples=400)
@given(_STEPS, st.lists(st.integers(1, 3), min_size=1, max_size=8), st.integers(1, 2))
def test_any_interleaving_of_deliveries_deaths_and_sweeps(
    steps: list[tuple[str, int, list[Trouble]]], copies: list[int], runs: int
) -> None:
    turn = iter(range(10**6))
    world = World(copies=lambda: copies[next(turn) % len(copies)])
    names = [f"request-{number}" for number in range(runs)]
    world.waiting = [request(name) for name in names] * copies[0]
    # An event that kills its worker more often than ATTEMPTS is given up, rightly.
    left = ATTEMPTS - 1
    for kind, number, troubles in steps:
        if kind == "sweep":
            world.now += number
            world.sweep()
        else:
            spent = troubles[:left]
            left -= len(spent)
            world.step(number, spent)
    world.drain()
    check(world, names)


@pytest.mark.parametrize("kind", ["die before", "die after", "pause"])
@pytest.mark.parametrize("call", range(15))
@pytest.mark.parametrize("victim", range(6))
def test_trouble_at_every_call_of_every_delivery(kind: str, call: int, victim: int) -> None:
    """The same, without chance: each port call of each of the six handlings is hit once, with a duplicate waiting."""
    world = World(copies=lambda: 2)
    world.waiting = [request()] * 2
    for _ in range(2 * victim):
        world.step(0)
    world.step(0, [Trouble(call, kind)])  # type: ignore[arg-type]
    world.drain()
    check(world, ["one"])


@pytest.mark.parametrize("kind", ["memory", "emulator"])
def test_three_copies_at_once_shuffled(kind: str, request_: pytest.FixtureRequest) -> None:
    """Real threads: every message three times, delayed at random, over both stores."""
    store: Store = MemoryStore() if kind == "memory" else FirestoreStore(request_.getfixturevalue("project"))
    bus = MemoryBus(copies=3, max_delay=0.05, seed=7, workers=12)
    handled: Counter[str] = Counter()
    lock = threading.Lock()
    for stage in SUBSCRIBERS:
        one = desk(stage, store, bus, clock=time.time, sleep=time.sleep)

        def receive(delivery: Delivery, one: object = one) -> bool:
            one.deliver(delivery)  # type: ignore[attr-defined]
            with lock:
                handled[decode(delivery).id] += 1
            return True

        bus.subscribe(stage, receive)
    names = [f"request-{number}" for number in range(8 if kind == "memory" else 3)]
    for name in names:
        first = request(name)
        bus.send(first.topic, first.body, first.attributes)
    assert bus.drain(60)
    bus.close()
    assert bus.dead == []
    for name in names:
        assert store.get("counters", run_id_of(name)) == expected(run_id_of(name))
    assert len(handled) == len(names) * (4 + SHARDS)
    assert min(handled.values()) >= 3


@pytest.fixture
def request_(request: pytest.FixtureRequest) -> pytest.FixtureRequest:
    return request
