"""At least once, in any order, twice at a time: the one place that makes this harmless.

A stage's `main` hands every delivery to `Desk.deliver`, which

1. decodes it, and keeps what cannot be decoded as a dead letter;
2. claims `stage:type:event-id`; a duplicate of work under way waits for its end or for its lease to run out;
3. lets the stage handle the event, renewing the lease meanwhile;
4. commits the outcome in one batch, fenced by the claim's generation: writes, outbox, done mark;
5. publishes the outbox. A duplicate of a finished event publishes what is left in the outbox, and nothing more.

A stage that dies at any point leaves either a claim whose lease runs out, or an outbox that the next duplicate or the
sweep publishes.

Each try at an event is a span of its run's trace (`shared.handling`); what cannot be noted of it fails nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

from shared import handling, letters, logs
from shared.creation import Kind, vm_name
from shared.decision_log import without, witnessed
from shared.errors import DmzError, Permanent, Transient, Untrusted
from shared.events import (
    DEAD_LETTERS,
    REPORTS,
    WITH_TOKENS,
    Delivery,
    Event,
    RunFailed,
    decode,
    derive,
    kept,
)
from shared.handling import Handling
from shared.model import trace as tracing
from shared.model.attestation_payloads import hidden
from shared.model.trace import Attribute, Place, Span
from shared.model.value import printable
from shared.ports.store import Bus, Claim, Create, Put, Store, Write

ATTEMPTS = 6
"""Tries of one event before a passing trouble counts as final: Pub/Sub's own limit (10 here) must not come first."""
RESTS = (1.0, 2.0, 4.0, 8.0, 8.0)
"""Seconds after each failed try in which the event is not tried again, however soon it comes: shorter than the least
pause that Pub/Sub makes by our subscriptions' retry policy. Google's emulator comes again every second."""
ENDED = ("completed", "failed")
"""States of a run in which nothing more happens to it."""
_MAX_REASON = 20_000
_REPLAYS = 200
"""Replay ids that a run's document names: it holds 1 MiB at most. What came after them stands in log and trace."""
_ASIDE = (*REPORTS, "attestation-appraised", "run-failed")
"""Types that do not come down the chain by themselves: from a VM, a token's answer, what the watchdog found."""
_STALE_OUTBOX = 30.0
"""Seconds after which an unpublished outbox was left behind by a death, not by work under way."""


@dataclass(frozen=True)
class Outcome:
    """What handling an event comes to: documents to write and events to publish, in one batch."""

    writes: Sequence[Write] = ()
    events: Sequence[Event] = ()
    told: Mapping[str, Attribute] = field(default_factory=dict)
    """What the work came to in numbers, for the log and the trace: bytes, files."""


Handle = Callable[[Event], Outcome]
Settle = Callable[[Event], Iterable[Event]]
Sweep = Callable[[Event], Iterable[tuple[str, Outcome]]]


def nothing_to_settle(_event: Event) -> Sequence[Event]:
    """For stages whose outcome depends on no other delivery."""
    return ()


def nothing_to_sweep(_event: Event) -> Iterable[tuple[str, Outcome]]:
    """For stages that own nothing that could be left behind."""
    return ()


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
    rests: Sequence[float] = RESTS
    """Seconds after the first failed try, the second, and so on; the last one counts on."""
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    export: handling.Export = handling.nowhere
    """Takes what has ended to where traces are looked at."""

    def deliver(self, delivery: Delivery) -> None:
        """Returns when the delivery may be acknowledged; raises Transient if it must come again."""
        if delivery.topic == DEAD_LETTERS:
            return letters.note(self.store, self.stage, delivery)
        try:
            event = decode(delivery)
        except Permanent as error:
            attributes = {} if delivery.topic in REPORTS else delivery.attributes
            self._dead_letter(kept(delivery), {**attributes, "topic": delivery.topic}, str(error))
            return
        if event.type == "sweep-requested":
            self._sweep(event)
            return
        event = self._placed(event)
        with Handling(self.stage, event, 0, self.clock()).lines():
            self._handled(event)

    def _handled(self, event: Event) -> None:
        key = f"{self.stage}:{event.type}:{event.id}"  # senders choose the ids of some types
        claim = self._claim(key)
        handled = Handling(self.stage, event, claim.attempt, self.clock())
        if claim.state == "won":
            self._work(handled, claim)
        else:
            with suppress(DmzError):  # a note
                self.store.put(handled.duplicate(self.clock()))
        for waiting in self.store.outbox(key):
            self._send(key, waiting)
        for following in self._settled(event):
            self.bus.publish(following)

    def _claim(self, key: str) -> Claim:
        """Won or done. A duplicate waits while another works: answering at once would use up its deliveries."""
        deadline = self.clock() + 8 * self.lease
        while True:
            claim = self.store.claim(key, self.clock(), self.lease)
            if claim.state == "resting":
                times = "1 time" if claim.attempt == 1 else f"{claim.attempt} times"
                raise Transient(
                    f"{key} failed a moment ago, {times} by now; it is tried again after a pause."
                )
            if claim.state != "busy":
                return claim
            if self.clock() > deadline:
                raise Transient(f"{key} is still being handled by another worker.")
            self.sleep(min(0.5, self.lease / 10))

    def _work(self, handled: Handling, claim: Claim) -> None:
        event = handled.event
        if claim.attempt > ATTEMPTS:
            died = f"The {self.stage} stage died over this event again and again, {claim.attempt - 1} times."
            return self._give_up(handled, claim, Permanent(died))
        try:
            with self._renewed(claim, handled):
                outcome = self._in_time(event, self.handle(event))
            handled.told.update(outcome.told)
            self._finish(handled, claim, outcome, "done")
            witnessed(outcome.writes)
        except Permanent as error:
            self._give_up(handled, claim, error)
        except Transient as error:
            if claim.attempt < ATTEMPTS:
                self._release(handled, claim, str(error))
                raise
            self._give_up(handled, claim, Permanent(f"{str(error).rstrip('.')}, {claim.attempt} times."))
        except Exception as error:
            # A mistake of ours: the same event would fail for ever, and silence is the enemy.
            if claim.attempt < ATTEMPTS:
                self._release(handled, claim, repr(error))
                raise
            name = type(error).__name__
            defect = Permanent(f"The {self.stage} stage has a defect: {name}: {error}.")
            self._give_up(handled, claim, defect)

    def _in_time(self, event: Event, outcome: Outcome) -> Outcome:
        """Without what would come into the decision log of a run that ended meanwhile: its last entry is written."""
        writes = without(outcome.writes, event.run_id)
        if len(writes) == len(outcome.writes):
            return outcome
        state = (self.store.get("runs", event.run_id) or {}).get("state")
        return replace(outcome, writes=writes) if state in ENDED else outcome

    def _finish(
        self, handled: Handling, claim: Claim, outcome: Outcome, how: handling.Ended, reason: str = ""
    ) -> None:
        """The result and its spans, in one batch."""
        now, events = self.clock(), outcome.events
        if handled.event.type == WITH_TOKENS:
            events = [self._placed(each) for each in events]
        ended = handled.ended(now, how, reason, events)
        spans = (ended, *(self._of_vm(handled.event, now) if how == "done" else ()))
        noted = [handling.put(each) for each in spans if each.run_id]
        again = self._again(handled.event, outcome, now)
        self.store.finish(claim, (*outcome.writes, *noted, *again), events, now)
        self._told(handled, spans)

    def _again(self, event: Event, outcome: Outcome, now: float) -> tuple[Put, ...]:
        """What was done once more, because somebody asked for it by a replay id, stands in the run's document.

        A run that was requested with one does everything for the first time.
        """
        run = self.store.get("runs", event.run_id) if event.replay_id and event.run_id else None
        if run is None or run.get("replay_id") == event.replay_id:
            return ()
        if event.type == "run-requested":
            return (Put("runs", event.run_id, {"replay_id": event.replay_id}, merge=True),)
        if not (outcome.writes or outcome.events):
            return ()
        # Firestore keeps names like __this__ for itself (https://cloud.google.com/firestore/quotas).
        name = f"~{event.replay_id}" if event.replay_id.startswith("__") else event.replay_id
        listed = run.get("replays") or {}
        if name not in listed and len(listed) >= _REPLAYS:
            return ()
        done = {"stage": self.stage, "at": now, "published": [each.type for each in outcome.events]}
        return (Put("runs", event.run_id, {"replays": {name: {event.type: done}}}, merge=True),)

    def _release(self, handled: Handling, claim: Claim, reason: str) -> None:
        self.store.release(claim, reason, self.clock() + self.rests[min(claim.attempt, len(self.rests)) - 1])
        span = handled.ended(self.clock(), "retried", reason)
        self._note(span)
        self._told(handled, (span,))

    def _told(self, handled: Handling, spans: Sequence[Span]) -> None:
        handled.tell(spans[0])
        self.export(spans)

    def _note(self, span: Span) -> None:
        """What stands in no result's batch."""
        with suppress(DmzError):
            if span.run_id:
                self.store.put([handling.put(span)])

    def _placed(self, event: Event) -> Event:
        """The event in its run's trace, where its sender does not know that one, or may say what it likes."""
        if event.type not in _ASIDE or not event.run_id:
            return event
        with suppress(DmzError):
            known = (self.store.get("runs", event.run_id) or {}).get("trace")
            trace = str(known or tracing.trace_id(event.run_id))
            span = handling.vm_span(event.type, event.run_id) if event.type in REPORTS else event.parent
            return replace(event, traceparent=str(Place(trace, span)) if span else "")
        return event

    def _of_vm(self, event: Event, now: float) -> Iterator[Span]:
        """What a report that was believed says of its VM."""
        if event.type not in REPORTS:
            return
        # Whatever the VM's record has become: the report counts, with a span or without.
        with suppress(DmzError, TypeError, ValueError):
            kind: Kind = "outer" if event.type == REPORTS[0] else "inner"
            if record := self.store.get("vms", vm_name(kind, event.run_id)):
                yield from handling.of_vm(event, record, now)

    def _dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        """Kept for an operator; and a line of the log, which a metric counts."""
        self.bus.dead_letter(body, {**attributes, "stage": self.stage}, reason)
        topic = printable(str(attributes.get("topic", "")), 60)
        logs.line("dead-lettered", "ERROR", f"{topic}: {printable(reason, 2000)}", self.stage, topic=topic)

    def _give_up(self, handled: Handling, claim: Claim, error: Permanent) -> None:
        """Ends the event with its reason, unless another worker has taken over: then its result counts alone."""
        if not self.store.renew(claim, self.clock() + self.lease):
            raise Transient(f"Another worker has taken over {claim.key}; its result counts.") from error
        outcome = self._failure(handled.event, error)
        self._finish(handled, claim, outcome, "failed", str(error))

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
        self._dead_letter(body, {**attributes, "topic": event.type}, reason)
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
                    self._commit(f"{self.stage}:sweep:{name}", outcome, event)
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

    def _commit(self, key: str, outcome: Outcome, tick: Event | None = None) -> None:
        """An outcome that no delivery waits for, once per key. `tick`: the watchdog's, whose finding it is."""
        now = self.clock()
        claim = self.store.claim(key, now, self.lease)
        if claim.state == "won":
            events = [self._placed(each) for each in outcome.events]
            found = [handling.found_by_sweep(self.stage, tick, each, now) for each in events if tick]
            noted = [handling.put(each) for each in found if each.run_id]
            self.store.finish(claim, (*outcome.writes, *noted), events, self.clock())
            self.export(found)
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
    def _renewed(self, claim: Claim, handled: Handling) -> Iterator[None]:
        """Keeps the lease alive while the body runs, so that a lease can be short and a death is noticed soon."""
        stop = threading.Event()

        def renew() -> None:
            pause, begun = min(handling.SLOW, self.lease / 4), False
            while not stop.wait(pause):
                pause = self.lease / 4
                with suppress(DmzError):  # the next try may succeed; if none does, the fence holds
                    if not self.store.renew(claim, self.clock() + self.lease):
                        return
                if not begun:
                    self._note(handled.begun())  # who is killed leaves this
                begun = True

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
