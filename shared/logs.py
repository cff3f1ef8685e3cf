"""What a stage logs: one JSON line each, as Cloud Run hands it to Cloud Logging.

`severity` and `message` are Cloud Logging's own fields
(https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields); the others become
`jsonPayload`, where the metrics of `terraform/outer/metrics.tf` count them by `event`. No line holds a credential.

A line that is written while an event is handled says so: its trace and span, by which Cloud Trace shows it, and the run
and the event as labels, by which Cloud Logging finds all lines of one run, whichever stage wrote them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Literal

Severity = Literal["INFO", "WARNING", "ERROR"]
Event = Literal[
    "attestation-appraised",
    "data-lacking",
    "decision-logged",
    "dead-lettered",
    "delivery-postponed",
    "event-handled",
    "notification",
    "package-alarm",
    "stage-misconfigured",
    "traces-lost",
]


_NOTHING: Mapping[str, object] = MappingProxyType({})
_AROUND: ContextVar[Mapping[str, object]] = ContextVar("around", default=_NOTHING)
_PROJECT: ContextVar[str] = ContextVar("project", default="")


def line(
    event: Event,
    severity: Severity,
    message: str,
    stage: str,
    **fields: str | bool | float | Sequence[str],
) -> None:
    known = {"severity": severity, "message": message, "event": event, "stage": stage}
    print(json.dumps({**fields, **_AROUND.get(), **known}), file=sys.stderr, flush=True)


@contextmanager
def of_project(project: str) -> Iterator[None]:
    """Traces that lines name are this project's."""
    before = _PROJECT.set(project)
    try:
        yield
    finally:
        _PROJECT.reset(before)


@contextmanager
def about(trace: str, span: str, run_id: str, event: str, event_id: str) -> Iterator[None]:
    """Lines that this thread writes in here belong to the span and to the event.

    https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields
    """
    labels = {"run": run_id, "event": event, "event_id": event_id}
    project = _PROJECT.get()
    fields = {
        "logging.googleapis.com/trace": f"projects/{project}/traces/{trace}" if project else trace,
        "logging.googleapis.com/spanId": span,
        "logging.googleapis.com/trace_sampled": True,
        "logging.googleapis.com/labels": {key: value for key, value in labels.items() if value},
    }
    before = _AROUND.set(fields)
    try:
        yield
    finally:
        _AROUND.reset(before)
