"""The decoder at the edge: everything in a message is somebody else's."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Permanent
from shared.events import TYPES, Delivery, Event, RunRequested, SyncShardPlanned, decode, derive
from tests.support.samples import RUN, SOME, manifest_published, shard_planned, verdicts_written

GOOD = {"run_id": RUN, "manifest": SOME}


def refused(body: bytes, topic: str = "manifest-published", **attributes: str) -> str:
    """The sentence of a refusal, which must be one, short, and safe on a terminal."""
    names = {key.replace("_", "-"): value for key, value in attributes.items()}
    started = time.thread_time()  # of the processor: the machine may be busy
    with pytest.raises(Permanent) as caught:
        decode(Delivery(body, topic, names, "1", "2026-11-21T20:00:00Z"))
    assert time.thread_time() - started < 1
    words = str(caught.value)
    assert words.isprintable()
    assert words.endswith(".")
    assert len(words) < 600
    return words


def test_a_bare_body_is_filled_in_from_topic_and_message() -> None:
    event = decode(Delivery(b'{"workload":"quickstart"}', "run-requested", {}, "17", "2026-11-21T20:00:00Z"))
    assert event.data == RunRequested(workload="quickstart")
    assert event.time == "2026-11-21T20:00:00Z"
    assert event.source == "/package-dmz/operator"
    assert event.run_id.startswith("run-")


@pytest.mark.parametrize("event", [manifest_published(replay="r-1"), verdicts_written(), shard_planned(4)])
def test_an_encoded_event_decodes_to_itself(event: Event) -> None:
    assert decode(Delivery(event.body(), event.type, event.attributes())) == event


# --- ids ----------------------------------------------------------------------------------------------------------


def entry(message: str = "1", published: str = "2026-11-21T20:00:00Z", **attributes: str) -> Event:
    names = {key.replace("_", "-"): value for key, value in attributes.items()}
    return decode(Delivery(b'{"workload":"quickstart"}', "run-requested", names, message, published))


def test_the_same_request_sent_twice_is_two_runs_and_delivered_twice_is_one() -> None:
    assert entry("1").run_id == entry("1").run_id
    assert entry("1").run_id != entry("2").run_id
    # The emulator counts its message ids from 1 again after a restart.
    assert entry("1", "2026-11-21T20:00:00Z").run_id != entry("1", "2026-11-21T21:00:00Z").run_id


def test_a_request_with_an_id_is_one_run_however_often_it_is_sent() -> None:
    assert entry("1", ce_id="mine").run_id == entry("2", ce_id="mine").run_id
    assert entry("1", ce_id="mine").run_id != entry("1", ce_id="other").run_id


def test_long_or_odd_ids_that_differ_stay_different() -> None:
    ids = ["x" * 200 + "a", "x" * 200 + "b", "\x1b[31m", "\x1b[32m", "\ud800", "\ud801", "a b", "ü"]
    assert len({entry(ce_id=id).run_id for id in ids}) == len(ids)
    assert all(entry(ce_id=id).id.isprintable() and len(entry(ce_id=id).id) <= 128 for id in ids)


def test_a_derived_id_is_not_the_senders_to_choose() -> None:
    body = json.dumps(GOOD).encode()
    ids = {decode(Delivery(body, "manifest-published", {"ce-id": id})).id for id in ("", "a", "b")}
    assert ids == {manifest_published().id}


def test_a_forced_replay_has_other_ids_and_hands_them_down() -> None:
    again = decode(Delivery(json.dumps(GOOD).encode(), "manifest-published", {"replay-id": "again-1"}))
    assert again.id != manifest_published().id
    data = verdicts_written().data
    following = derive(again, "verdicts-written", data, stage="scanner", now=0)
    assert following.replay_id == "again-1"
    assert following.id != derive(manifest_published(), "verdicts-written", data, stage="scanner", now=0).id


def test_what_derive_names_decode_names_too() -> None:
    cause = manifest_published(replay="again-1")
    for shard in range(3):
        data = SyncShardPlanned(run_id=RUN, plan=SOME, shard=shard)
        event = derive(cause, "sync-shard-planned", data, stage="sync", now=1_800_000_000)
        assert decode(Delivery(event.body(), event.type, event.attributes())) == event


@pytest.mark.parametrize("replay", ["a b", "a\nb", "ü", "x" * 65, "\x1b[31m"])
def test_a_replay_id_is_plain(replay: str) -> None:
    assert "replay-id" in refused(json.dumps(GOOD).encode(), replay_id=replay)


# --- topics and types -----------------------------------------------------------------------------------------------


def test_an_event_that_came_by_another_topic_is_refused() -> None:
    """The outer VM may publish to one topic: what it says the type is must not matter."""
    words = refused(
        manifest_published().body(), "outer-install-completed", ce_type="package-dmz.manifest-published.v1"
    )
    assert words.startswith("An event of type manifest-published came by the topic outer-install-completed")


@pytest.mark.parametrize("topic", ["", "unheard-of", "run-requested ", "\x1b[2J", "x" * 5000])
def test_an_unknown_topic_is_refused(topic: str) -> None:
    assert refused(b"{}", topic).startswith("There is no event '")


def test_an_unknown_type_is_refused() -> None:
    assert "There is no event 'other'" in refused(b"{}", ce_type="package-dmz.other.v1")
    assert "There is no event 'com.example" in refused(b"{}", ce_type="com.example.other")


# --- bodies ---------------------------------------------------------------------------------------------------------

TEN = 10_000_000
SHARD = json.dumps({"run_id": RUN, "plan": SOME, "shard": 0}).encode()
BAD: dict[str, tuple[str, bytes]] = {
    "empty": ("manifest-published", b""),
    "not JSON": ("manifest-published", b"run_id=1"),
    "cut short": ("manifest-published", json.dumps(GOOD).encode()[:-1]),
    "two documents": ("manifest-published", json.dumps(GOOD).encode() * 2),
    "another kind of document": ("manifest-published", b"[1,2]"),
    "a missing field": ("manifest-published", json.dumps({"run_id": RUN}).encode()),
    "a field too many": ("manifest-published", json.dumps(GOOD | {"x": 1}).encode()),
    "a key twice": (
        "manifest-published",
        json.dumps(GOOD).encode()[:-1] + b',"run_id":"' + RUN.encode() + b'"}',
    ),
    "a key twice, spelled in two ways": (
        "manifest-published",
        json.dumps(GOOD).encode()[:-1] + b',"run\\u005fid":"' + RUN.encode() + b'"}',
    ),
    "a number as text": ("sync-shard-planned", SHARD.replace(b": 0", b': "0"')),
    "a boolean as a number": ("sync-shard-planned", SHARD.replace(b": 0", b": true")),
    "a fraction": ("sync-shard-planned", SHARD.replace(b": 0", b": 0.5")),
    "a negative count": ("sync-shard-planned", SHARD.replace(b": 0", b": -1")),
    "more than 64 bits": ("sync-shard-planned", SHARD.replace(b": 0", b": 99999999999999999999")),
    "five thousand digits": ("sync-shard-planned", SHARD.replace(b": 0", b": " + b"9" * 5000)),
    "five million digits": ("sync-shard-planned", SHARD.replace(b": 0", b": " + b"9" * 5_000_000)),
    "NaN": ("sync-shard-planned", SHARD.replace(b": 0", b": NaN")),
    "a line feed after the run": ("manifest-published", json.dumps(GOOD | {"run_id": RUN + "\n"}).encode()),
    "control characters": ("manifest-published", json.dumps(GOOD | {"run_id": "\x1b]0;x\x07\r\n"}).encode()),
    "raw control characters": ("manifest-published", b'{"run_id":"\x00\x1b[2J"}'),
    "a digest in capitals": ("manifest-published", json.dumps(GOOD | {"manifest": SOME.upper()}).encode()),
    "half a surrogate pair": ("manifest-published", b'{"run_id":"\\ud800"}'),
    "invalid UTF-8": ("manifest-published", b'{"run_id":"\xff\xfe"}'),
    "overlong UTF-8": ("manifest-published", b'{"run_id":"\xc0\xaf"}'),
    "a byte order mark": ("manifest-published", b"\xef\xbb\xbf" + json.dumps(GOOD).encode()),
    "UTF-16": ("manifest-published", json.dumps(GOOD).encode("utf-16")),
    "UTF-32": ("manifest-published", json.dumps(GOOD).encode("utf-32-le")),
    "gzip": ("manifest-published", gzip.compress(json.dumps(GOOD).encode())),
    "deep lists": ("manifest-published", b"[" * TEN),
    "deep maps": ("manifest-published", b'{"a":' * (TEN // 5)),
    "deep but closed": ("run-requested", b'{"workload":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "ten megabytes of zeroes": ("manifest-published", bytes(TEN)),
    "ten megabytes of garbage": ("manifest-published", bytes(range(256)) * (TEN // 256)),
    "ten megabytes of one string": ("manifest-published", b'{"run_id":"' + b"x" * (TEN - 20) + b'"}'),
    "ten megabytes of quotes": ("manifest-published", b'"' * TEN),
    "ten megabytes of backslashes": ("manifest-published", b'"' + b"\\" * (TEN - 2) + b'"'),
    "ten megabytes of white space": ("manifest-published", b" " * TEN),
    "more than Pub/Sub takes": ("manifest-published", json.dumps(GOOD).encode().ljust(TEN + 1)),
    "a workload that is a path": ("run-requested", b'{"workload":"/etc/passwd"}'),
    "a workload with control characters": ("run-requested", b'{"workload":"\\u001b[31m"}'),
}


@pytest.mark.parametrize(("topic", "body"), BAD.values(), ids=BAD.keys())
def test_a_bad_body_is_one_sentence_within_a_second(topic: str, body: bytes) -> None:
    assert f"The {topic} event" in refused(body, topic)


REPORT: dict[str, Any] = {
    "run_id": RUN,
    "report_token": "t" * 32,
    "state": "failed",
    "tail": "",
    "seconds": {},
    "claim": None,
}


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b'"1"'])
def test_a_duration_is_a_finite_number(number: bytes) -> None:
    body = json.dumps(REPORT).encode().replace(b'"seconds": {}', b'"seconds": {"install": ' + number + b"}")
    assert "seconds.install" in refused(body, "outer-install-completed")


@pytest.mark.parametrize(
    "change",
    [
        {"tail": "x" * 16_385},
        {"report_token": "short"},
        {"state": "fine"},
        {"seconds": {str(number): 1 for number in range(101)}},
        {"seconds": {"": 1}},
        {"seconds": {"\x1b[31m": 1}},
    ],
    ids=repr,
)
def test_a_report_of_the_hostile_machine_is_bounded(change: dict[str, Any]) -> None:
    refused(json.dumps(REPORT | change).encode(), "outer-install-completed")


def test_a_duplicate_key_deep_inside_is_found() -> None:
    body = json.dumps(REPORT).encode().replace(b'"seconds": {}', b'"seconds": {"install": 1, "install": 2}')
    assert "'install' twice" in refused(body, "outer-install-completed")


def test_a_million_unknown_keys_are_counted_not_listed() -> None:
    body = b"{" + b",".join(b'"%d":1' % number for number in range(300_000)) + b"}"
    assert "300002 mistakes" in refused(body)


def opened(delivery: Delivery) -> Event | str:
    """An event or the sentence of its refusal; anything else is a crash."""
    try:
        return decode(delivery)
    except Permanent as error:
        return str(error)


@given(st.binary(max_size=300), st.sampled_from(sorted(TYPES)))
def test_any_bytes_give_an_event_or_a_permanent_sentence(body: bytes, topic: str) -> None:
    found = opened(Delivery(body, topic, {}, "1", "now"))
    if isinstance(found, Event):
        assert decode(Delivery(found.body(), topic, found.attributes())).data == found.data
    else:
        assert found.isprintable()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
_FIELDS = st.sampled_from(["run_id", "manifest", "shard", "plan", "workload", "x"])


@given(st.dictionaries(_FIELDS, _JSON), st.sampled_from(sorted(TYPES)))
def test_any_json_gives_an_event_or_a_permanent_sentence(body: dict[str, Any], topic: str) -> None:
    found = opened(Delivery(json.dumps(body).encode(), topic))
    assert isinstance(found, Event) or found.isprintable()


_NAMES = st.sampled_from(["ce-id", "ce-source", "ce-time", "traceparent", "replay-id", "x"])


@given(st.dictionaries(_NAMES, st.text()))
def test_any_attributes_give_an_event_that_can_be_sent_on(attributes: dict[str, str]) -> None:
    found = opened(Delivery(b'{"workload":"quickstart"}', "run-requested", attributes, "1", "now"))
    if isinstance(found, str):
        assert "replay-id" in found
        return
    assert all(value.isprintable() and len(value.encode()) <= 1024 for value in found.attributes().values())
