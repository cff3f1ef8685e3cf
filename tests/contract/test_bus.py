"""What a stage may expect of the bus."""

from __future__ import annotations

import pytest

from shared.events import Delivery, decode
from tests.contract.conftest import Line
from tests.support.samples import manifest_published, shard_planned


def test_an_event_arrives_with_its_body_and_attributes_and_decodes_to_itself(line: Line) -> None:
    event = manifest_published(replay="again-1")
    line.bus.publish(event)
    body, attributes = line.received("manifest-published")
    assert body == event.body()
    assert attributes == event.attributes()
    assert decode(Delivery(body, "manifest-published", attributes)) == event


def test_events_go_to_the_topic_that_they_name(line: Line) -> None:
    line.bus.publish(shard_planned(7))
    line.bus.publish(manifest_published())
    assert decode(Delivery(*_swap(line, "sync-shard-planned"))).data.shard == 7  # type: ignore[attr-defined]
    assert decode(Delivery(*_swap(line, "manifest-published"))) == manifest_published()


def _swap(line: Line, topic: str) -> tuple[bytes, str, dict[str, str]]:
    body, attributes = line.received(topic)
    return body, topic, dict(attributes)


def test_a_dead_letter_keeps_body_attributes_and_reason(line: Line) -> None:
    event = manifest_published()
    line.bus.dead_letter(event.body(), {**event.attributes(), "topic": event.type}, "It cannot be read.")
    body, attributes, reason = line.dead()
    assert (body, reason) == (event.body(), "It cannot be read.")
    assert attributes == {**event.attributes(), "topic": "manifest-published"}


ODD = {
    "names of the client's own arguments": {
        "topic": "t",
        "data": "d",
        "ordering_key": "o",
        "retry": "r",
        "self": "s",
    },
    "a reserved name": {"googclient_deliveryattempt": "1"},
    "an empty name": {"": "nothing"},
    "long names and values": {"k" * 400: "v" * 4000, "ü" * 200: "ü" * 2000},
    "a lone surrogate": {"ce-id": "a\ud800b"},
    "a name that is a lone surrogate": {"\udcff": "x"},
    "control characters": {"ce-id": "\x00\x1b[31m\r\n"},
    "more than Pub/Sub takes": {f"name-{number}": "x" for number in range(150)},
    "a reason that was there before": {"reason": "the sender's own"},
}


@pytest.mark.parametrize("attributes", ODD.values(), ids=ODD.keys())
def test_a_dead_letter_with_hostile_attributes_is_kept_all_the_same(
    line: Line, attributes: dict[str, str]
) -> None:
    line.bus.dead_letter(b"\xff\x00garbage", attributes, "It cannot be read.")
    body, kept, reason = line.dead()
    assert (body, reason) == (b"\xff\x00garbage", "It cannot be read.")
    assert all(len(key.encode()) <= 256 and len(value.encode()) <= 1024 for key, value in kept.items())


@pytest.mark.parametrize("reason", ["", "long " * 2000, "ü" * 2000, "lone \ud800 surrogate"])
def test_a_dead_letter_keeps_the_beginning_of_any_reason(line: Line, reason: str) -> None:
    line.bus.dead_letter(b"{}", {}, reason)
    _, _, kept = line.dead()
    assert len(kept.encode()) <= 1024
    assert kept[:5] == reason[:5].encode(errors="replace").decode()


def test_a_dead_letter_without_a_body_is_kept(line: Line) -> None:
    line.bus.dead_letter(b"", {}, "There is no body.")
    assert line.dead() == (b"", {}, "There is no body.")
