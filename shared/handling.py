"""One try of a stage at one event, as a span: what is stored, logged and sent of it. None of this ever fails an event.

The try that ends an event (done, failed) has the span whose id follows from stage and event alone, so that the events
which come of it can name it as their parent before it has ended. A try that is followed by another one has a span of
its own beside it. Spans of runs are kept in `spans`, by which the console draws a run's trace:

1. What ended stands there by the very batch that holds the result, so that it costs no call of its own.
2. What takes longer is noted when it has begun: who is killed leaves a span without an end.
3. A VM has a span from when it is asked for until its report is believed; that brings one for each step, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Literal

from shared import logs
from shared.events import WITH_TOKENS, Event
from shared.model import trace as tracing
from shared.model.trace import Attribute, Place, Span
from shared.ports.store import Document, Increment, Put

SLOW = 0.25
"""Seconds after which a try that still goes on is noted as begun."""
_STEPS = ("interpreter", "inventory", "apt", "python", "install", "smoke")
"""Of a VM, in the order in which the guest takes them (shared/guest/outer.py, shared/guest/inner.py)."""
_MAX_STEPS = 20
_LONGEST = 7 * 86_400.0

Ended = Literal["done", "retried", "failed", "duplicate"]
Export = Callable[[Sequence[Span]], None]
"""Sends spans to where traces are looked at. Returns at once, and never raises."""


def nowhere(_spans: Sequence[Span]) -> None:
    """Traces are looked at in the database alone."""


def vm_span(topic: str, run_id: str) -> str:
    """The span of the VM that owes a report of this topic."""
    return tracing.span_id("vm", topic, run_id)


@dataclass(frozen=True)
class Handling:
    """One try."""

    stage: str
    event: Event
    attempt: int
    started: float
    told: dict[str, Attribute] = field(default_factory=dict)
    """What the stage says of its work in numbers."""

    def lines(self) -> AbstractContextManager[None]:
        """Log lines in here name the trace, the run and the event."""
        event = self.event
        return logs.about(
            event.trace, event.handled_by(self.stage), event.run_id, event.type, printable_id(event)
        )

    def begun(self) -> Span:
        """As long as it goes on."""
        return self._span(self._own, None, "", "")

    def ended(self, now: float, how: Ended, reason: str = "", events: Sequence[Event] = ()) -> Span:
        """`events`: what came of it. Who brings a token speaks for no run; the answer says which one it was."""
        last = how in ("done", "failed")
        made = self._span(self.event.handled_by(self.stage) if last else self._own, now, how, reason)
        of = next((each for each in events if each.run_id and self.event.type == WITH_TOKENS), None)
        return replace(made, run_id=of.run_id, trace=of.trace, parent="") if of else made

    def tell(self, span: Span) -> None:
        """A line of the log, which the metrics of stage times and bytes count."""
        seconds = round(max(0.0, (span.ended or self.started) - self.started), 3)
        event, name = self.event, printable_id(self.event)
        words = f"{self.stage} {_WORDS[span.outcome]} {event.type} {name} in {seconds:.3f} s"
        fields: dict[str, Attribute] = {**span.attributes, "seconds": seconds, "outcome": span.outcome}
        fields |= {"run_id": span.run_id}
        logs.line("event-handled", "INFO", words, self.stage, **fields)

    def duplicate(self, now: float) -> tuple[Increment, ...]:
        """It was handled before: a line, and one more on the span of the try that ended it.

        Who brings a token speaks for no run: its duplicates are lines alone.
        """
        self.tell(self.ended(now, "duplicate"))
        done = self._span(self._own, None, "", "").document_id
        return (Increment("spans", done, "duplicates", 1),) if self.event.run_id else ()

    @property
    def _own(self) -> str:
        return tracing.span_id(self.event.handled_by(self.stage), str(self.attempt))

    def _span(self, name: str, ended: float | None, outcome: str, reason: str) -> Span:
        event = self.event
        shard = getattr(event.data, "shard", None)
        facts: dict[str, Attribute] = {
            "event_type": event.type,
            "event_id": printable_id(event),
            "attempt": self.attempt,
            "replay": bool(event.replay_id),
            **({} if shard is None else {"shard": int(shard)}),
            **self.told,
        }
        return Span(
            trace=event.trace,
            id=name,
            name=f"{self.stage} {event.type}" + ("" if shard is None else f" {shard}"),
            stage=self.stage,
            started=self.started,
            ended=ended,
            parent=event.parent,
            run_id=event.run_id,
            outcome=outcome,
            reason=reason,
            attributes=facts,
            key=self._own,
        )


_WORDS: Mapping[str, str] = {
    "done": "handled",
    "retried": "tries again",
    "failed": "gave up",
    "duplicate": "knew already",
}


def printable_id(event: Event) -> str:
    """An event's id in a log or a document: the id of an attestation request is a nonce's, and hidden."""
    return tracing.span_id(event.id) if event.type == WITH_TOKENS else event.id


def found_by_sweep(stage: str, tick: Event, event: Event, now: float) -> Span:
    """The watchdog has found something about a run, and says so by `event`."""
    name = f"{stage} watchdog: {event.type}"
    return Span(
        trace=event.trace,
        id=tick.handled_by(stage),
        name=name,
        stage=stage,
        started=now,
        ended=now,
        run_id=event.run_id,
        outcome="done",
        attributes={"event_type": tick.type, "event_id": tick.id, "attempt": 1, "replay": False},
    )


def vm_begun(event: Event, kind: str, asked: float) -> Span:
    """The VM that `event` leads to, as long as it has not reported: one that never does leaves this."""
    return Span(
        trace=event.trace,
        id=vm_span(f"{kind}-install-completed", event.run_id),
        name=f"{kind} VM",
        stage=kind,
        started=asked,
        parent=event.handled_by(kind),
        run_id=event.run_id,
    )


def of_vm(event: Event, record: Document, now: float) -> Iterator[Span]:
    """The spans of the VM whose report was believed.

    The guest says how long each step took, and not when it began: they stand one after the other and end as the report
    comes. Its clock, and what it calls its steps, count for nothing else.
    """
    kind = event.type.removesuffix("-install-completed")
    worker = int(getattr(event.data, "worker", 0))
    place, asked = Place(event.trace, vm_span(event.type, event.run_id)), float(record.get("asked", now))
    state = str(getattr(event.data, "state", ""))
    yield Span(
        trace=place.trace,
        id=place.span,
        name=f"{kind} VM",
        stage=kind,
        started=asked,
        ended=now,
        parent=str(record.get("span", "")),
        run_id=event.run_id,
        outcome=state,
        attributes={"zone": str(record.get("zone", "")), "tried": len(record.get("tried", ()))},
    )
    claimed: Mapping[str, float] = getattr(event.data, "seconds", {})
    known = [name for name in _STEPS if name in claimed]
    steps = [*known, *sorted(claimed.keys() - {*known})][:_MAX_STEPS]
    taken = {name: min(max(0.0, claimed[name]), _LONGEST) for name in steps}
    begin = max(asked, now - sum(taken.values()))
    suffix = f" (worker {worker})" if worker else ""
    for name in steps:
        end = min(now, begin + taken[name])
        yield Span(
            trace=place.trace,
            id=tracing.span_id(place.span, str(worker), name),
            name=f"{kind} VM: {name}{suffix}",
            stage=kind,
            started=begin,
            ended=end,
            parent=place.span,
            run_id=event.run_id,
            outcome="done",
            attributes={"step": name, "worker": worker, "seconds": taken[name]},
        )
        begin = end


def put(span: Span) -> Put:
    return Put("spans", span.document_id, span.document())
