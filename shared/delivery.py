"""At least once, in any order, twice at a time: the one place that makes this harmless.

A stage's `main` hands every delivery to `Desk.deliver`, which

1. decodes it, and keeps what cannot be decoded as a dead letter;
2. claims `stage:type:event-id`; a duplicate of work under way waits for its end or for its lease to run out;
3. lets the stage handle the event, renewing the lease meanwhile;
4. commits the outcome in one batch, fenced by the claim's generation: writes, outbox, done mark;
5. publishes the outbox. A duplicate of a finished event publishes what is left in the outbox, and nothing more.

A stage that dies at any point leaves either a claim whose lease runs out, or an outbox that the next duplicate or the
sweep publishes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from shared.decision_log import witnessed
from shared.errors import DmzError, Permanent, Transient, Untrusted
from shared.events import REPORTS, Delivery, Event, RunFailed, decode, derive, kept
from shared.model.attestation_payloads import hidden
from shared.model.value import printable
from shared.ports import Bus, Claim, Create, Put, Store, Write

ATTEMPTS = 6
"""Tries of one event before a passing trouble counts as final: Pub/Sub's own limit (10 here) must not come first."""
ENDED = ("completed", "failed")
"""States of a run in which nothing more happens to it."""
_MAX_REASON = 20_000
_STALE_OUTBOX = 30.0
"""Seconds after which an unpublished outbox was left behind by a death, not by work under way."""


@dataclass(frozen=True)
class Outcome:
    """What handling an event comes to: documents to write and events to publish, in one batch."""

    writes: Sequence[Write] = ()
    events: Sequence[Event] = ()


Handle = Callable[[Event], Outcome]
Settle = Callable[[Event], Iterable[Event]]
Sweep = Callable[[Event], Iterable[tuple[str, Outcome]]]


def nothing_to_settle(_event: Event) -> Sequence[Event]:
    """For stages whose outcome depends on no other delivery."""
    return ()


def nothing_to_sweep(_event: Event) -> Iterable[tuple[str, Outcome]]:
    """For stages that own nothing that could be left behind."""
    return ()


def in_turn(*rounds: Iterable[tuple[str, Outcome]]) -> Iterator[tuple[str, Outcome]]:
    """One part of a sweep after the other; one that fails keeps none back. Transient at the end if any did."""
    troubles: list[DmzError] = []
    for each in rounds:
        try:
            yield from each
        except DmzError as error:
            troubles.append(error)
    if troubles:
        raise Transient(" ".join(str(error) for error in troubles))


@dataclass(frozen=True)
class Desk:
    """Takes one stage's deliveries.

    `settle` runs after every finished delivery, duplicates included, and gives events that follow from the state as
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
            attributes = {} if delivery.topic in REPORTS else delivery.attributes
            self.bus.dead_letter(kept(delivery), {**attributes, "topic": delivery.topic}, str(error))
            return
        if event.type == "sweep-requested":
            self._sweep(event)
            return
        key = f"{self.stage}:{event.type}:{event.id}"  # senders choose the ids of some types
        claim = self._claim(key)
        if claim.state == "won":
            self._work(event, claim)
        for waiting in self.store.outbox(key):
            self._send(key, waiting)
        for following in self._settled(event):
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
        if claim.attempt > ATTEMPTS:
            died = f"The {self.stage} stage died over this event again and again, {claim.attempt - 1} times."
            return self._give_up(event, claim, Permanent(died))
        try:
            with self._renewed(claim):
                outcome = self.handle(event)
            self.store.finish(claim, outcome.writes, outcome.events, self.clock())
            witnessed(outcome.writes)
        except Permanent as error:
            self._give_up(event, claim, error)
        except Transient as error:
            if claim.attempt < ATTEMPTS:
                self.store.release(claim, str(error))
                raise
            self._give_up(event, claim, Permanent(f"{str(error).rstrip('.')}, {claim.attempt} times."))
        except Exception as error:
            # A mistake of ours: the same event would fail for ever, and silence is the enemy.
            if claim.attempt < ATTEMPTS:
                self.store.release(claim, repr(error))
                raise
            name = type(error).__name__
            self._give_up(event, claim, Permanent(f"The {self.stage} stage has a defect: {name}: {error}."))

    def _give_up(self, event: Event, claim: Claim, error: Permanent) -> None:
        """Ends the event with its reason, unless another worker has taken over: then its result counts alone."""
        if not self.store.renew(claim, self.clock() + self.lease):
            raise Transient(f"Another worker has taken over {claim.key}; its result counts.") from error
        outcome = self._failure(event, error)
        self.store.finish(claim, outcome.writes, outcome.events, self.clock())

    def _settled(self, event: Event) -> Iterator[Event]:
        """One by one: a stage may note that an event was published once it asks for the next."""
        try:
            yield from self.settle(event)
        except Permanent as error:
            self._commit(f"{self.stage}:settle:{event.id}", self._failure(event, error))

    def _failure(self, event: Event, error: DmzError) -> Outcome:
        """The event is kept with its reason, and its run ends.

        Of a report that is not believed, neither its body nor the attributes that its sender chose: a VM without a way
        out may publish such messages for as long as it lives.
        """
        reason = printable(str(error), 2000)
        body, attributes = event.kept(), event.attributes()
        if isinstance(error, Untrusted) and event.type in REPORTS:
            body = hidden(event.body())
            attributes = {name: attributes[name] for name in ("ce-id", "ce-type", "ce-specversion")}
        self.bus.dead_letter(body, {**attributes, "topic": event.type}, reason)
        if not event.run_id or event.type == "run-failed" or isinstance(error, Untrusted):
            return Outcome()
        if (self.store.get("runs", event.run_id) or {}).get("state") in ENDED:
            return Outcome()
        return fail(event, event.run_id, self.stage, reason, "", self.clock())

    def _sweep(self, event: Event) -> None:
        """The whole round, whatever happens to a part of it; then it fails if anything did."""
        troubles: list[DmzError] = []
        if kept_back := self._publish_what_was_left():
            troubles.append(
                Transient(f"{len(kept_back)} events stay in the outbox of {self.stage}: {kept_back[0]}")
            )
        unwritten: list[DmzError] = []
        try:
            for name, outcome in self.sweep(event):
                try:
                    self._commit(f"{self.stage}:sweep:{name}", outcome)
                except DmzError as error:
                    unwritten.append(
                        error
                    )  # another has ended the run meanwhile, or the store does not take it
        except DmzError as error:
            troubles.append(error)
        if unwritten:
            troubles.append(
                Transient(f"{len(unwritten)} findings of the sweep are not written: {unwritten[0]}")
            )
        if troubles:
            raise Transient(" ".join(str(error) for error in troubles))

    def _commit(self, key: str, outcome: Outcome) -> None:
        """An outcome that no delivery waits for, once per key."""
        claim = self.store.claim(key, self.clock(), self.lease)
        if claim.state == "won":
            self.store.finish(claim, outcome.writes, outcome.events, self.clock())
            witnessed(outcome.writes)
            for waiting in self.store.outbox(key):
                self._send(key, waiting)

    def _publish_what_was_left(self) -> list[DmzError]:
        """Empty the outbox of those that died before they could; one that fails keeps no other back."""
        troubles: list[DmzError] = []
        try:
            left = self.store.stale_outbox(self.clock() - _STALE_OUTBOX)
        except DmzError as error:
            return [error]
        for key, waiting in left:
            if key.startswith(f"{self.stage}:"):
                try:
                    self._send(key, waiting)
                except DmzError as error:
                    troubles.append(error)
        return troubles

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
                except DmzError:
                    continue  # the next try may succeed; if none does, the fence keeps the result out

        thread = threading.Thread(target=renew, name=f"lease {claim.key}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def ending(run_id: str, state: str, now: float) -> Create:
    """Stands in the batch that ends a run: a run ends once, and whoever comes second is told by the store."""
    return Create("endings", run_id, {"state": state, "at": now})


def fail(cause: Event, run_id: str, stage: str, reason: str, tail: str, now: float) -> Outcome:
    """The end of a run that cannot go on: its document says why, and everybody hears of it."""
    data = RunFailed(run_id=run_id, stage=stage, reason=reason[:_MAX_REASON], tail=tail)
    fields = {"state": "failed", "stage": stage, "reason": data.reason, "tail": data.tail, "ended": now}
    return Outcome(
        (ending(run_id, "failed", now), Put("runs", run_id, fields, merge=True)),
        (derive(cause, "run-failed", data, stage=stage, now=now),),
    )
