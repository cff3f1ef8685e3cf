"""A desk of the scanner, with a clock that only sleeping moves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from shared.delivery import Desk, Outcome
from shared.events import Delivery, Event, RunFailed
from shared.memory.store import MemoryStore
from shared.ports.store import Put
from tests.delivery.world import LEASE, Recorder, delivery
from tests.support.samples import manifest_published, verdicts_written

EVENT = manifest_published()
KEY = f"scanner:{EVENT.type}:{EVENT.id}"
DONE = Outcome((Put("results", "r", {"by": "scanner"}),), (verdicts_written(),))


@dataclass
class Office:
    """A scanner's desk with a clock that only sleeping moves."""

    handle: Callable[[Event], Outcome] = lambda _: DONE
    settle: Callable[[Event], Sequence[Event]] = lambda _: ()
    sweep: Callable[[Event], Sequence[tuple[str, Outcome]]] = lambda _: ()
    now: float = 1_800_000_000.0
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: Recorder = field(default_factory=Recorder)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    @property
    def desk(self) -> Desk:
        return Desk(
            "scanner",
            self.store,
            self.bus,
            lambda event: self.handle(event),
            lambda event: self.settle(event),
            lambda event: self.sweep(event),
            lease=LEASE,
            clock=lambda: self.now,
            sleep=self.wait,
        )

    def deliver(self, event: Event = EVENT) -> None:
        self.desk.deliver(delivery(event))

    def deliver_later(self) -> None:
        """When an event that failed has had its rest."""
        self.wait(8)
        self.deliver()

    def tick(self) -> None:
        self.desk.deliver(Delivery(b"{}", "sweep-requested", {}, "1", str(self.now)))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, _, reason in self.bus.dead]

    @property
    def failures(self) -> list[RunFailed]:
        return [event.data for event in self.bus.published if isinstance(event.data, RunFailed)]


def raising(error: BaseException) -> Callable[[Event], Outcome]:
    def handle(_: Event) -> Outcome:
        raise error

    return handle
