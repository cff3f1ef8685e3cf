"""A small chain in a world where anything may die: toy stages over the real Desk, a virtual clock, mortal ports.

run-requested -> outer -> manifest-published -> scanner -> verdicts-written -> sync -> two sync-shard-planned -> sync
-> (the shard that finishes last) sync-completed -> inner. Every handling has one effect: a document created together
with an increment of the run's counter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.delivery import Desk, Outcome
from shared.errors import Transient
from shared.events import (
    SUBSCRIBERS,
    Delivery,
    Event,
    ManifestPublished,
    SyncCompleted,
    SyncShardPlanned,
    VerdictsWritten,
    derive,
)
from shared.memory.store import MemoryStore
from shared.ports.store import Bus, Create, Increment, Put, Store
from tests.stages.faults import noted
from tests.support.samples import SOME

SHARDS = 2
LEASE = 20.0


class Death(BaseException):
    """The worker is gone: nothing of it runs any more."""


@dataclass(frozen=True)
class Trouble:
    """What befalls a delivery at its n-th call of a port."""

    call: int
    kind: Literal["die before", "die after", "pause"]
    """`pause`: the lease runs out, and meanwhile another delivery is handled."""


@dataclass
class Fuse:
    """Counts the calls of one delivery."""

    troubles: Sequence[Trouble] = ()
    paused: Callable[[], None] = lambda: None
    calls: int = 0

    def run(self, call: Callable[[], Any]) -> Any:
        number, self.calls = self.calls, self.calls + 1
        kinds = [trouble.kind for trouble in self.troubles if trouble.call == number]
        if "die before" in kinds:
            raise Death
        if "pause" in kinds:
            self.paused()
        result = call()
        if "die after" in kinds:
            raise Death
        return result


class Mortal:
    """A port whose every call may be the last."""

    def __init__(self, port: Any, fuse: Fuse) -> None:
        self._port, self._fuse = port, fuse

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._port, name)
        return lambda *given, **named: (
            method(*given, **named)
            if name == "put" and noted(given)
            else self._fuse.run(lambda: method(*given, **named))
        )


@dataclass
class Recorder:
    """A bus that keeps what it was given."""

    published: list[Event] = field(default_factory=list)
    dead: list[tuple[bytes, Mapping[str, str], str]] = field(default_factory=list)

    def publish(self, event: Event) -> None:
        self.published.append(event)

    def dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        self.dead.append((body, attributes, reason))


def delivery(event: Event) -> Delivery:
    return Delivery(event.body(), event.type, event.attributes(), "1", event.time)


def request(name: str = "one") -> Delivery:
    return Delivery(
        b'{"workload":"quickstart"}', "run-requested", {"ce-id": name}, "1", "2026-11-21T20:00:00Z"
    )


def handler(store: Store, clock: Callable[[], float]) -> Callable[[Event], Outcome]:
    """Every toy stage: read, write in bulk, then one outcome with an effect and what follows."""

    def handle(event: Event) -> Outcome:
        run = event.run_id
        store.get("runs", run)
        store.put([Put("bulk", f"{event.type}-{run}", {"content": "derived"})])
        shard = str(event.data.shard) if isinstance(event.data, SyncShardPlanned) else ""
        writes = (
            Create("effects", f"{event.type}-{run}-{shard}", {"run": run}),
            Increment("counters", run, event.type, 1),
        )
        following = [
            derive(event, topic, data, stage=stage_of(event.type), now=clock())
            for topic, data in follow(event)
        ]
        return Outcome(writes, following)

    return handle


def follow(event: Event) -> list[tuple[str, Any]]:
    run = event.run_id
    match event.type:
        case "run-requested":
            return [("manifest-published", ManifestPublished(run_id=run, manifest=SOME))]
        case "manifest-published":
            data = VerdictsWritten(run_id=run, manifest=SOME, verdicts=SOME, allow=1, hold=0, block=0)
            return [("verdicts-written", data)]
        case "verdicts-written":
            shards = [SyncShardPlanned(run_id=run, plan=SOME, shard=number) for number in range(SHARDS)]
            return [("sync-shard-planned", shard) for shard in shards]
    return []


def settler(store: Store, clock: Callable[[], float]) -> Callable[[Event], Sequence[Event]]:
    def settle(event: Event) -> Sequence[Event]:
        if event.type != "sync-shard-planned":
            return ()
        counted = store.get("counters", event.run_id) or {}
        if counted.get("sync-shard-planned", 0) < SHARDS:
            return ()
        data = SyncCompleted(run_id=event.run_id, lock=SOME)
        return (derive(event, "sync-completed", data, stage="sync", now=clock()),)

    return settle


def stage_of(topic: str) -> str:
    return next(stage for stage, topics in SUBSCRIBERS.items() if topic in topics)


def desk(
    stage: str,
    store: Store,
    bus: Bus,
    *,
    lease: float = LEASE,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> Desk:
    """The toy stage at its desk."""
    return Desk(
        stage, store, bus, handler(store, clock), settler(store, clock), lease=lease, clock=clock, sleep=sleep
    )


def expected(run: str) -> dict[str, int]:
    """The counters of a run that has come to its end."""
    topics = ("run-requested", "manifest-published", "verdicts-written", "sync-completed")
    return dict.fromkeys(topics, 1) | {"sync-shard-planned": SHARDS}


@dataclass
class World:
    """One thread, one virtual clock, deliveries that wait, and troubles by plan."""

    copies: Callable[[], int] = lambda: 1
    now: float = 1_800_000_000.0
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: Recorder = field(default_factory=Recorder)
    waiting: list[Delivery] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def publish(self, event: Event) -> None:
        self.bus.publish(event)
        self.waiting += [delivery(event)] * self.copies()

    def dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        self.bus.dead_letter(body, attributes, reason)

    def step(self, which: int, troubles: Sequence[Trouble] = ()) -> None:
        """Handle one waiting delivery; it waits again if it was not acknowledged."""
        if not self.waiting:
            return
        one = self.waiting.pop(which % len(self.waiting))
        stage = stage_of(one.topic)

        def paused() -> None:
            self.now += LEASE + 1
            self.step(which)

        fuse = Fuse(troubles, paused)
        store, bus = Mortal(self.store, fuse), Mortal(self, fuse)
        try:
            desk(stage, store, bus, clock=lambda: self.now, sleep=self.sleep).deliver(one)
        except (Death, Transient):
            self.waiting.append(one)

    def sweep(self) -> None:
        for stage in SUBSCRIBERS:
            tick = Delivery(b"{}", "sweep-requested", {}, "1", str(self.now))
            desk(stage, self.store, self, clock=lambda: self.now, sleep=self.sleep).deliver(tick)

    def drain(self) -> None:
        """From here on nothing dies."""
        for _ in range(500):
            while self.waiting:
                self.step(0)
            self.now += 60
            self.sweep()
            if not self.waiting:
                return
        raise AssertionError("the world does not come to rest")
