"""Entries of the decision log: what changed what may enter, about what, why, by whom and because of which event."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.model.value import Digest, Value
from shared.model.waiver import Moment

Kind = Literal[
    "policy-changed",
    "verdicts",
    "refusal",
    "replacement",
    "waiver-granted",
    "waiver-revoked",
    "waiver-used",
    "waiver-expired",
    "verdict-changed",
    "eviction",
    "kept",
    "admission",
    "run-ended",
    "dead-letter-dropped",
]
Detail = None | bool | int | str | tuple[str, ...]
"""Nothing that two readers write in two ways: no floating point."""


class Cause(Value):
    """The event that led to it."""

    type: str
    id: str
    source: str


class LoggedDecision(Value):
    """One decision. Its digest is over all of this; its document's name follows from all but the time."""

    format: Literal["package-dmz/decision/v1"] = "package-dmz/decision/v1"
    kind: Kind
    subject: Annotated[str, Field(max_length=1200)]
    """What it is about: a purl, a run, a waiver's or a policy's name."""
    reason: Annotated[str, Field(max_length=2100)]
    """In words, one line."""
    at: Moment
    actor: Annotated[str, Field(max_length=600)]
    """The stage that decided, or the person."""
    run_id: Annotated[str, Field(max_length=60)]
    """Empty for what belongs to no run."""
    about: Digest | Literal[""]
    """The stored content that says it in full: verdicts, a lock, a waiver, a policy."""
    cause: Cause
    details: dict[str, Detail]
