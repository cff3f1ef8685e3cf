"""Traces: which run an event belongs to, across stages and machines, in the form of W3C Trace Context.

https://www.w3.org/TR/trace-context/ (level 1). The ids of a run's trace and spans follow from the run and its events:
a duplicate, a replay and a worker that takes over say the same, so that one run is one trace. What does not follow the
form is as if it were not there, never an error; `tracestate` is not carried on, as the standard allows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.model.value import printable

# Version 00, and what a later one may append behind a hyphen; version ff is forbidden.
_FORM = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?", re.ASCII)
_SAMPLED = "01"
_MAX_GIVEN = 256
_WORDS = 500
"""Of a reason."""

Attribute = str | int | float | bool


@dataclass(frozen=True)
class Place:
    """A place in a trace."""

    trace: str
    """32 hexadecimal digits."""
    span: str
    """16 hexadecimal digits."""

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.span}-{_SAMPLED}"


def read(traceparent: str) -> Place | None:
    """The place that an attribute names; None if it names none (section 3.2.2 of the standard)."""
    found = _FORM.fullmatch(traceparent) if len(traceparent) <= _MAX_GIVEN else None
    if not found or (found[4] and found[1] == "00") or not (found[2].strip("0") and found[3].strip("0")):
        return None
    return Place(found[2], found[3])


def trace_id(subject: str) -> str:
    """Of a run, by its id; of what belongs to no run, by its event."""
    return hashlib.sha256(f"trace {subject}".encode()).hexdigest()[:32]


def span_id(*words: str) -> str:
    return hashlib.sha256(" ".join(("span", *words)).encode(errors="replace")).hexdigest()[:16]


@dataclass(frozen=True)
class Span:
    """Something that took time, as part of a trace."""

    trace: str
    id: str
    name: str
    stage: str
    """Who tells of it."""
    started: float
    """Unix time in seconds, as the other times."""
    ended: float | None = None
    """None: it goes on, or whoever was at it has died."""
    parent: str = ""
    """Id of the span that it came of; empty for the first."""
    run_id: str = ""
    outcome: str = ""
    """done, retried, failed; of a VM installed or failed; empty as long as it goes on."""
    reason: str = ""
    """Why it was not done, in words."""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    """Further facts: the event's type and id, the attempt, bytes."""
    key: str = ""
    """Of its document, where that is not the span's id: what was begun is overwritten by what it ended as."""

    @property
    def document_id(self) -> str:
        return f"{self.trace[:16]}-{self.key or self.id}"

    def document(self) -> dict[str, Any]:
        """As `spans/<trace>-<id>` holds it; the key is its name alone."""
        return {
            "trace": self.trace,
            "id": self.id,
            "parent": self.parent,
            "name": self.name,
            "stage": self.stage,
            "run_id": self.run_id,
            "started": self.started,
            "ended": self.ended,
            "outcome": self.outcome,
            "reason": printable(self.reason, _WORDS),
            "attributes": dict(self.attributes),
        }


def span(document: Mapping[str, Any]) -> Span:
    """The span of a document."""
    return Span(**{key: value for key, value in document.items() if key in Span.__dataclass_fields__})
