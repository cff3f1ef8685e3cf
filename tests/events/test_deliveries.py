"""The three shapes in which Pub/Sub, Eventarc and others deliver, through the real functions-framework."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import functions_framework
import pytest

from shared.errors import Permanent
from shared.events import Delivery, Event, decode
from tests.support.received import received
from tests.support.samples import manifest_published

FUNCTION = """
import functions_framework
from shared.errors import Permanent
from shared.events import receive
from tests.support.received import received

@functions_framework.cloud_event
def handle(cloud_event):
    try:
        received.append(receive(cloud_event))
    except Permanent as error:
        received.append(error)
"""


class Function:
    """A deployed function that keeps what reached it."""

    def __init__(self, source: Path) -> None:
        source.write_text(FUNCTION)
        app = functions_framework.create_app("handle", str(source), "cloudevent")  # type: ignore[no-untyped-call]
        self._client = app.test_client()

    def post(self, path: str, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> int:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {"Content-Type": "application/json"} | (headers or {})
        return int(self._client.post(path, data=data, headers=all_headers).status_code)

    def got(self) -> Any:
        return received.pop()


@pytest.fixture
def function(tmp_path: Path) -> Function:
    return Function(tmp_path / "main.py")


def push(body: bytes, attributes: dict[str, str], *, message_id: str = "17") -> dict[str, Any]:
    """https://cloud.google.com/pubsub/docs/push#receive_push"""
    message = {
        "attributes": attributes,
        "data": base64.b64encode(body).decode(),
        "messageId": message_id,
        "message_id": message_id,
        "publishTime": "2026-11-21T20:00:00.123Z",
        "publish_time": "2026-11-21T20:00:00.123Z",
    }
    return {"subscription": "projects/p/subscriptions/scanner--manifest-published", "message": message}


EVENTARC = {
    "ce-id": "17",
    "ce-specversion": "1.0",
    "ce-type": "google.cloud.pubsub.topic.v1.messagePublished",
    "ce-source": "//pubsub.googleapis.com/projects/p/topics/manifest-published",
    "ce-time": "2026-11-21T20:00:00.123Z",
}
PATH = "/projects/p/topics/manifest-published"
EVENT = manifest_published(replay="again-1")


def test_pubsub_push(function: Function) -> None:
    assert function.post(PATH, push(EVENT.body(), EVENT.attributes())) == 200
    delivery = function.got()
    assert delivery == Delivery(
        EVENT.body(), "manifest-published", EVENT.attributes(), "17", "2026-11-21T20:00:00.123Z"
    )
    assert decode(delivery) == EVENT


def test_eventarc(function: Function) -> None:
    assert function.post("/", push(EVENT.body(), EVENT.attributes()), EVENTARC) == 200
    delivery = function.got()
    assert delivery.topic == "manifest-published"
    assert (delivery.message_id, delivery.publish_time) == ("17", "2026-11-21T20:00:00.123Z")
    assert decode(delivery) == EVENT


def test_eventarc_structured(function: Function) -> None:
    envelope = {name.removeprefix("ce-"): value for name, value in EVENTARC.items()}
    envelope["data"] = push(EVENT.body(), EVENT.attributes())  # type: ignore[assignment]
    assert function.post("/", envelope, {"Content-Type": "application/cloudevents+json"}) == 200
    assert decode(function.got()) == EVENT


def binary(event: Event) -> dict[str, str]:
    headers = {name: value for name, value in event.attributes().items() if name.startswith("ce-")}
    return headers | {"ce-replayid": event.replay_id, "ce-traceparent": event.traceparent}


def test_binary_cloud_event(function: Function) -> None:
    assert function.post("/", EVENT.body(), binary(EVENT)) == 200
    assert decode(function.got()) == EVENT


def test_a_bare_body_pushed_with_its_topic_in_the_path(function: Function) -> None:
    body = b'{"workload":"quickstart"}'
    assert function.post("/projects/p/topics/run-requested", push(body, {})) == 200
    first = decode(function.got())
    assert first.type == "run-requested"
    assert first.time == "2026-11-21T20:00:00.123Z"
    assert function.post("/projects/p/topics/run-requested", push(body, {})) == 200
    assert decode(function.got()) == first
    assert function.post("/projects/p/topics/run-requested", push(body, {}, message_id="18")) == 200
    assert decode(function.got()).run_id != first.run_id


@pytest.mark.parametrize(
    "message",
    [
        {"data": "not base64!", "messageId": "1"},
        {"data": "ü", "messageId": "1"},
        {"data": 5, "messageId": "1"},
        {"data": ["e30="], "messageId": "1"},
        {"data": "e30=", "messageId": "1", "attributes": ["a"]},
        {"data": "e30=", "messageId": "1", "attributes": "a"},
    ],
    ids=repr,
)
def test_a_malformed_message_is_one_sentence(function: Function, message: dict[str, Any]) -> None:
    for headers in ({}, EVENTARC):
        assert function.post(PATH, {"subscription": "s", "message": message}, headers) == 200
        assert str(function.got()).endswith(".")


@pytest.mark.parametrize("body", [b"{}", b"[]", b'"text"', b'{"message":[]}', b"\xff", b'{"message":"text"}'])
def test_an_eventarc_delivery_without_a_message_is_one_sentence(function: Function, body: bytes) -> None:
    assert function.post("/", body, EVENTARC) == 200
    assert "carries no Pub/Sub message" in str(function.got())


def test_odd_attributes_and_an_absent_message_id_still_make_a_delivery(function: Function) -> None:
    message = {"data": base64.b64encode(b"{}").decode(), "attributes": {"ce-id": "\ud800", "": "", "n": 5}}
    assert function.post("/", {"message": message}, EVENTARC) == 200
    assert function.got().attributes == {"ce-id": "\ud800", "": "", "n": "5"}


@pytest.mark.parametrize("body", [b"", b"not json", b"\xff\xfe", b"[1]", b"5", b'{"a":NaN}'])
def test_a_binary_cloud_event_with_a_bad_body_is_refused_by_decode(function: Function, body: bytes) -> None:
    assert function.post("/", body, binary(EVENT)) == 200
    with pytest.raises(Permanent):
        decode(function.got())
