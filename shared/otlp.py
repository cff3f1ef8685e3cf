"""Sends spans by OTLP over HTTP in its JSON form, to Cloud Trace or to any collector that speaks OpenTelemetry.

https://opentelemetry.io/docs/specs/otlp/#otlphttp; Google's endpoint takes it as well
(https://docs.cloud.google.com/stackdriver/docs/otlp/overview). A thread of its own sends, out of a queue with a bound:
what does not get through is dropped and counted by a line of the log, and no event waits for it longer than `drain`
says. The spans of runs stand in the database besides.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from shared import logs
from shared.model.trace import Attribute, Span
from shared.upstream import http

_WAITING, _AT_ONCE = 2000, 200
"""Spans that may wait, and of one request."""
_REST = 60.0
"""Seconds for which an endpoint that did not answer is left alone."""
_CONSUMER, _INTERNAL = 5, 1
_OK, _ERROR = 1, 2
_FAILED = ("failed", "retried")
Headers = Callable[[], Mapping[str, str]]


def no_headers() -> Mapping[str, str]:
    """For a collector that asks for no credentials."""
    return {}


class Exporter:
    """`shared.handling.Export` over HTTP. The thread begins with the first span."""

    def __init__(self, url: str, stage: str, project: str, headers: Headers = no_headers) -> None:
        self._url, self._headers = url, headers
        self._resource = {
            "service.name": stage,
            "service.namespace": "package-dmz",
            "gcp.project_id": project,
        }
        self._stage = stage
        self._waiting: queue.Queue[Span] = queue.Queue(_WAITING)
        self._lock = threading.Condition()
        self._open, self._lost, self._begun, self._rests_until = 0, 0, False, 0.0

    def __call__(self, spans: Sequence[Span]) -> None:
        with self._lock:
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._work, name="traces", daemon=True).start()
            for span in spans:
                try:
                    self._waiting.put_nowait(span)
                    self._open += 1
                except queue.Full:
                    self._lost += 1

    def drain(self, seconds: float) -> bool:
        """Wait until all is sent or dropped, but no longer: an instance may get no time once it has answered."""
        with self._lock:
            return self._lock.wait_for(lambda: self._open == 0, seconds)

    def _work(self) -> None:
        with httpx.Client(verify=http.trust(), timeout=5.0, follow_redirects=False) as client:
            while True:
                spans = [self._waiting.get()]
                while len(spans) < _AT_ONCE and not self._waiting.empty():
                    spans.append(self._waiting.get())
                self._sent(client, spans)
                with self._lock:
                    self._open -= len(spans)
                    self._lock.notify_all()

    def _sent(self, client: httpx.Client, spans: Sequence[Span]) -> None:
        if time.monotonic() < self._rests_until:
            self._lost += len(spans)
            return
        trouble = ""
        try:
            body = json.dumps(request(spans, self._resource)).encode()
            headers = {"Content-Type": "application/json", **self._headers()}
            with client.stream("POST", self._url, content=body, headers=headers) as response:
                if not 200 <= response.status_code < 300:
                    trouble = f"HTTP status {response.status_code}"
        except (
            Exception
        ) as error:  # a thread that ends here would never send again, and every event wait for it
            trouble = type(error).__name__
        if trouble:
            self._rests_until = time.monotonic() + _REST
            lost, self._lost = self._lost + len(spans), 0
            words = (
                f"{lost} spans were not taken ({trouble}); traces lack them, the database has those of runs."
            )
            logs.line("traces-lost", "WARNING", words, self._stage)


def request(spans: Sequence[Span], resource: Mapping[str, Attribute]) -> dict[str, Any]:
    """ExportTraceServiceRequest as JSON: ids in hexadecimal digits, 64-bit integers as text, enumerations numbers."""
    told = [_span(span) for span in spans if span.ended is not None]
    scope = {"scope": {"name": "package-dmz"}, "spans": told}
    return {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scope]}]}


def _span(span: Span) -> dict[str, Any]:
    facts: dict[str, Attribute] = {f"dmz.{name}": value for name, value in span.attributes.items()}
    facts |= {"dmz.run_id": span.run_id, "dmz.outcome": span.outcome}
    failed = span.outcome in _FAILED
    status = {"code": _ERROR, "message": span.reason} if failed else {"code": _OK}
    return {
        "traceId": span.trace,
        "spanId": span.id,
        **({"parentSpanId": span.parent} if span.parent else {}),
        "name": span.name,
        "kind": _CONSUMER if "event_id" in span.attributes else _INTERNAL,
        "startTimeUnixNano": _nanoseconds(span.started),
        "endTimeUnixNano": _nanoseconds(span.ended or span.started),
        "attributes": _attributes(facts),
        "status": status,
    }


def _nanoseconds(seconds: float) -> str:
    return str(round(seconds * 1e6) * 1000)


def _attributes(facts: Mapping[str, Attribute]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(value)} for name, value in facts.items()]


def _value(value: Attribute) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
