"""Spans go out by OTLP in its JSON form; an endpoint that is away costs some spans, and no event."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from cloudevents.http import CloudEvent

from shared import serving
from shared.delivery import Desk
from shared.memory.store import MemoryStore
from shared.model.trace import Span
from shared.otlp import Exporter, request
from shared.settings import Settings
from tests.delivery.office import DONE, EVENT
from tests.delivery.world import Recorder
from tests.support.samples import RUN

Captured = pytest.CaptureFixture[str]
DONE_SPAN = Span(
    trace="ab" * 16,
    id="cd" * 8,
    name="sync sync-shard-planned 3",
    stage="sync",
    started=1_800_000_000.25,
    ended=1_800_000_001.5,
    parent="ef" * 8,
    run_id=RUN,
    outcome="done",
    attributes={"event_id": "x", "attempt": 1, "replay": False, "rate": 1.5},
)


class Collector:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.came: list[tuple[dict[str, str], Any]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.came.append(
                    ({name.lower(): value for name, value in self.headers.items()}, json.loads(body))
                )
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1/traces"

    def spans(self) -> list[dict[str, Any]]:
        return [
            span
            for _, body in self.came
            for resource in body["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_a_span_in_the_protocols_json() -> None:
    """https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding"""
    made = request([DONE_SPAN], {"service.name": "sync"})
    (resource,) = made["resourceSpans"]
    assert resource["resource"]["attributes"] == [{"key": "service.name", "value": {"stringValue": "sync"}}]
    ((span,),) = (scope["spans"] for scope in resource["scopeSpans"])
    assert (span["traceId"], span["spanId"], span["parentSpanId"]) == ("ab" * 16, "cd" * 8, "ef" * 8)
    assert (span["startTimeUnixNano"], span["endTimeUnixNano"]) == (
        "1800000000250000000",
        "1800000001500000000",
    )
    assert (span["kind"], span["status"]) == (5, {"code": 1})
    facts = {each["key"]: each["value"] for each in span["attributes"]}
    assert facts["dmz.attempt"] == {"intValue": "1"}
    assert facts["dmz.replay"] == {"boolValue": False}
    assert facts["dmz.rate"] == {"doubleValue": 1.5}
    assert facts["dmz.run_id"] == {"stringValue": RUN}


def test_what_failed_says_so_and_what_goes_on_is_not_sent() -> None:
    failed = Span("ab" * 16, "cd" * 8, "n", "sync", 1.0, 2.0, outcome="failed", reason="It is full.")
    begun = Span("ab" * 16, "ce" * 8, "n", "sync", 1.0)
    made = request([failed, begun], {})
    ((span,),) = (scope["spans"] for scope in made["resourceSpans"][0]["scopeSpans"])
    assert span["status"] == {"code": 2, "message": "It is full."}
    assert "parentSpanId" not in span


def test_it_is_sent_with_credentials_and_waited_for(collector: Collector) -> None:
    exporter = Exporter(collector.url, "sync", "p-1", lambda: {"Authorization": "Bearer t"})
    exporter([DONE_SPAN] * 500)
    assert exporter.drain(60)
    assert len(collector.spans()) == 500
    headers, body = collector.came[0]
    assert headers["authorization"] == "Bearer t"
    told = {each["key"]: each["value"] for each in body["resourceSpans"][0]["resource"]["attributes"]}
    assert told["gcp.project_id"] == {"stringValue": "p-1"}


def test_an_endpoint_that_refuses_costs_spans_and_one_line(collector: Collector, capsys: Captured) -> None:
    collector.status = 503
    exporter = Exporter(collector.url, "sync", "p-1")
    for _ in range(3):
        exporter([DONE_SPAN])
        assert exporter.drain(60)
    assert len(collector.came) == 1, "it is left alone for a while"
    (line,) = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (line["event"], line["severity"]) == ("traces-lost", "WARNING")
    assert "HTTP status 503" in line["message"]


def test_a_defect_costs_its_spans_and_not_all_that_come_after(collector: Collector) -> None:
    troubles = [RuntimeError("A login of another kind.")]

    def headers() -> dict[str, str]:
        if troubles:
            raise troubles.pop()
        return {}

    exporter = Exporter(collector.url, "sync", "p-1", headers)
    for _ in range(2):
        exporter([DONE_SPAN])
        assert exporter.drain(60)


def test_who_waits_waits_no_longer_than_it_says() -> None:
    gate = threading.Event()

    def stuck() -> dict[str, str]:
        gate.wait(60)
        return {}

    exporter = Exporter("http://127.0.0.1:9/v1/traces", "sync", "p-1", stuck)
    exporter([DONE_SPAN] * 5000)  # more than may wait: the others are dropped, and the call returns
    assert not exporter.drain(0.01)
    gate.set()


def test_a_stage_sends_its_spans_where_the_settings_say(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "dmz-test")
    monkeypatch.setenv("DMZ_TRACES", collector.url)

    def wire(_: Settings) -> Desk:
        return Desk("scanner", MemoryStore(), Recorder(), lambda _: DONE)

    body = base64.b64encode(EVENT.body()).decode()
    message = {"data": body, "messageId": "1", "attributes": EVENT.attributes()}
    attributes = {
        "type": "google.cloud.pubsub.topic.v1.messagePublished",
        "source": f"//pubsub/projects/p/topics/{EVENT.type}",
    }
    serving.entry_point("scanner", wire)(CloudEvent(attributes, {"message": message}))
    for _ in range(1000):
        if collector.spans():
            break
        threading.Event().wait(0.01)
    (span,) = collector.spans()
    assert (span["spanId"], span["traceId"]) == (EVENT.handled_by("scanner"), EVENT.trace)
    (line,) = [each for each in capsys.readouterr().err.splitlines() if '"event-handled"' in each]
    assert json.loads(line)["logging.googleapis.com/trace"] == f"projects/dmz-test/traces/{EVENT.trace}"
