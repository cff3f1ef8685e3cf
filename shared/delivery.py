"""At least once, in any order, twice at a time: the one place that makes this harmless.

A stage's `main` hands every delivery to `Desk.deliver`, which

1. decodes it, and keeps what cannot be decoded as a dead letter;
2. claims `stage:event-id`; a duplicate of work under way waits for its end or for its lease to run out;
3. lets the stage handle the event, renewing the lease meanwhile;
4. commits the outcome in one batch, fenced by the claim's generation: writes, outbox, done mark;
5. publishes the outbox. A duplicate of a finished event publishes what is left in the outbox, and nothing more.

A stage that dies at any point leaves either a claim whose lease runs out, or an outbox that the next duplicate or the
sweep publishes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shared.errors import DmzError, Permanent, Transient, Untrusted
from shared.events import Delivery, Event, RunFailed, decode, derive
from shared.model.value import printable
from shared.ports import Bus, Claim, Put, Store, Write

ATTEMPTS = 6
"""Tries of one event before a passing trouble counts as final: Pub/Sub's own limit (10 here) must not come first."""
_STALE_OUTBOX = 30.0
"""Seconds after which an unpublished outbox was left behind by a death, not by work under way."""


@dataclass(frozen=True)
class Outcome:
    """What handling an event comes to: documents to write and events to publish, in one batch."""

    writes: Sequence[Write] = ()
    events: Sequence[Event] = ()


Handle = Callable[[Event], Outcome]
Settle = Callable[[Event], Sequence[Event]]
Sweep = Callable[[Event], Sequence[tuple[str, Outcome]]]


def nothing_to_settle(_event: Event) -> Sequence[Event]:
    """For stages whose outcome depends on no other delivery."""
    return ()


def nothing_to_sweep(_event: Event) -> Sequence[tuple[str, Outcome]]:
    """For stages that own nothing that could be left behind."""
    return ()


@dataclass(frozen=True)
class Desk:
    """Takes one stage's deliveries.

    `settle` runs after every finished delivery, duplicates included, and returns events that follow from the state as
    a whole (the shard that finishes last closes the run). Its events have content-derived ids: publishing one twice
    is harmless. `sweep` runs at every tick of the watchdog and returns (key, outcome) pairs, each committed once.
    """

    stage: str
    store: Store
    bus: Bus
    handle: Handle
    settle: Settle = nothing_to_settle
    sweep: Sweep = nothing_to_sweep
    lease: float = 20.0
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def deliver(self, delivery: Delivery) -> None:
        """Returns when the delivery may be acknowledged; raises Transient if it must come again."""
        try:
            event = decode(delivery)
        except Permanent as error:
            self.bus.dead_letter(delivery.body, {**delivery.attributes, "topic": delivery.topic}, str(error))
            return
        if event.type == "sweep-requested":
            self._sweep(event)
            return
        key = f"{self.stage}:{event.id}"
        claim = self._claim(key)
        if claim.state == "won":
            self._work(event, claim)
        for waiting in self.store.outbox(key):
            self._send(key, waiting)
        for following in self.settle(event):
            self.bus.publish(following)

    def _claim(self, key: str) -> Claim:
        """Won or done. A duplicate waits while another works: answering at once would use up its deliveries."""
        deadline = self.clock() + 8 * self.lease
        while True:
            claim = self.store.claim(key, self.clock(), self.lease)
            if claim.state != "busy":
                return claim
            if self.clock() > deadline:
                raise Transient(f"{key} is still being handled by another worker.")
            self.sleep(min(0.5, self.lease / 10))

    def _work(self, event: Event, claim: Claim) -> None:
        try:
            with self._renewed(claim):
                outcome = self.handle(event)
        except Permanent as error:
            outcome = self._failure(event, error)
        except Transient as error:
            if claim.attempt < ATTEMPTS:
                self.store.release(claim, str(error))
                raise
            outcome = self._failure(event, Permanent(f"{str(error).rstrip('.')}, {claim.attempt} times."))
        except Exception as error:
            # A mistake of ours: the same event would fail for ever, and silence is the enemy.
            self.store.release(claim, repr(error))
            if claim.attempt < ATTEMPTS:
                raise
            name = type(error).__name__
            outcome = self._failure(
                event, Permanent(f"The {self.stage} stage has a defect: {name}: {error}.")
            )
        self.store.finish(claim, outcome.writes, outcome.events, self.clock())

    def _failure(self, event: Event, error: DmzError) -> Outcome:
        """The event is kept with its reason, and its run ends."""
        reason = printable(str(error), 2000)
        self.bus.dead_letter(event.body(), {**event.attributes(), "topic": event.type}, reason)
        if not event.run_id or event.type == "run-failed" or isinstance(error, Untrusted):
            return Outcome()
        return fail(event, event.run_id, self.stage, reason, "", self.clock())

    def _sweep(self, event: Event) -> None:
        for name, outcome in self.sweep(event):
            key = f"{self.stage}:sweep:{name}"
            claim = self.store.claim(key, self.clock(), self.lease)
            if claim.state == "won":
                self.store.finish(claim, outcome.writes, outcome.events, self.clock())
                for waiting in self.store.outbox(key):
                    self._send(key, waiting)
        for key, waiting in self.store.stale_outbox(self.clock() - _STALE_OUTBOX):
            if key.startswith(f"{self.stage}:"):
                self._send(key, waiting)

    def _send(self, key: str, event: Event) -> None:
        self.bus.publish(event)
        self.store.sent(key, event.id)

    @contextmanager
    def _renewed(self, claim: Claim) -> Iterator[None]:
        """Keeps the lease alive while the body runs, so that a lease can be short and a death is noticed soon."""
        stop = threading.Event()

        def renew() -> None:
            while not stop.wait(self.lease / 4):
                try:
                    if not self.store.renew(claim, self.clock() + self.lease):
                        return
                except Transient:
                    continue

        thread = threading.Thread(target=renew, name=f"lease {claim.key}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def fail(cause: Event, run_id: str, stage: str, reason: str, tail: str, now: float) -> Outcome:
    """The end of a run that cannot go on: its document says why, and everybody hears of it."""
    data = RunFailed(run_id=run_id, stage=stage, reason=reason, tail=tail)
    fields = {"state": "failed", "stage": stage, "reason": reason, "tail": tail, "ended": now}
    return Outcome(
        (Put("runs", run_id, fields, merge=True),),
        (derive(cause, "run-failed", data, stage=stage, now=now),),
    )
