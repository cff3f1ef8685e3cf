"""The trace of a run: every try at an event, every VM and each of its steps, as they stand in `spans`. Pure.

A duplicate of a finished event has no span of its own: it is counted on that of the try which ended it
(`shared.handling`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.console.words import number, part

AT_ONCE = 200
"""Spans of one page."""
_DEEPEST = 6


@dataclass(frozen=True)
class Step:
    """One span, placed in the run's time."""

    name: str
    stage: str
    depth: int
    state: str
    """done, retried, failed, installed, or running as long as it has no end."""
    started: float
    seconds: float | None
    start: float
    """Share of the whole time, 0 to 1, that had passed when it began."""
    share: float
    reason: str
    event_type: str
    event_id: str
    attempt: int
    tries: int
    """Spans about the same event in the same stage."""
    replay: bool
    duplicates: int
    """Deliveries of the event after it was done."""


def steps(spans: Iterable[Mapping[str, Any]], over: bool, now: float) -> list[Step]:
    """By their beginning; what came of something is indented below it. `over`: the run has ended."""
    known = [each for each in spans if number(each.get("started")) is not None]
    if not known:
        return []
    known.sort(key=lambda each: (number(each["started"]) or 0.0, str(each.get("name", ""))))
    began = float(known[0]["started"])
    ends = [end for each in known if (end := number(each.get("ended"))) is not None]
    last = max(ends, default=now) if over else now
    whole = max(0.001, last - began)
    parents = {str(each.get("id")): str(each.get("parent", "")) for each in known}
    tries = Counter(_event(each) for each in known)
    return [_step(each, parents, tries[_event(each)], began, whole, last) for each in known]


def _step(
    span: Mapping[str, Any], parents: Mapping[str, str], tries: int, began: float, whole: float, last: float
) -> Step:
    started, ended = float(span["started"]), number(span.get("ended"))
    facts = part(span, "attributes")
    end = last if ended is None else ended
    return Step(
        name=str(span.get("name", "")),
        stage=str(span.get("stage", "")),
        depth=_depth(str(span.get("id")), parents),
        state=str(span.get("outcome") or "running"),
        started=started,
        seconds=None if ended is None else max(0.0, ended - started),
        start=min(1.0, max(0.0, (started - began) / whole)),
        share=min(1.0, max(0.0, (end - started) / whole)),
        reason=str(span.get("reason", "")),
        event_type=str(facts.get("event_type", "")),
        event_id=str(facts.get("event_id", "")),
        attempt=int(number(facts.get("attempt")) or 0),
        tries=tries,
        replay=facts.get("replay") is True,
        duplicates=int(number(span.get("duplicates")) or 0),
    )


def _event(span: Mapping[str, Any]) -> tuple[str, str, str]:
    facts = part(span, "attributes")
    return str(span.get("stage")), str(facts.get("event_type", "")), str(facts.get("event_id", ""))


def _depth(id: str, parents: Mapping[str, str]) -> int:
    """How many known spans stand above it; a ring of them ends somewhere, too."""
    depth = 0
    while (id := parents.get(id, "")) in parents and depth < _DEEPEST:
        depth += 1
    return depth


def events(found: Sequence[Step]) -> list[Step]:
    """Those that were tries at an event."""
    return [each for each in found if each.event_id]
