"""What somebody who only looks may expect of the store: the same of both."""

from __future__ import annotations

import math
from typing import NamedTuple

import pytest

from shared import letters
from shared.errors import Permanent
from shared.events import DEAD_LETTERS, Delivery, Event, SweepRequested
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.gcp.readings import FirestoreReadings
from shared.memory.readings import MemoryReadings
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.value import sha256
from shared.ports.store import Blobs, Put, Store
from shared.readings import Cursor, Readings
from tests.contract.conftest import BOTH


class Both(NamedTuple):
    store: Store
    blobs: Blobs
    readings: Readings


@pytest.fixture(params=BOTH)
def both(request: pytest.FixtureRequest) -> Both:
    if request.param == "memory":
        store, blobs = MemoryStore(), MemoryBlobs()
        return Both(store, blobs, MemoryReadings(store, blobs))
    project = request.getfixturevalue("project")
    return Both(FirestoreStore(project), FirestoreBlobs(project), FirestoreReadings(project))


def test_documents_are_read_as_they_were_written(both: Both) -> None:
    both.store.put([Put("runs", "r/1", {"a": 1, "b": {"c": "x"}})])
    assert both.readings.get("runs", "r/1") == {"a": 1, "b": {"c": "x"}}
    assert both.readings.get("runs", "absent") is None
    assert both.readings.several("runs", ["r/1", "absent"]) == {"r/1": {"a": 1, "b": {"c": "x"}}}
    assert both.readings.several("runs", []) == {}


def test_only_what_is_asked_for_comes_along(both: Both) -> None:
    both.store.put([Put("vms", "v", {"state": "asked", "asked": 5.0, "report_token": "secret"})])
    only = ("state", "zone")
    assert both.readings.get("vms", "v", only) == {"state": "asked"}
    assert both.readings.several("vms", ["v"], only) == {"v": {"state": "asked"}}
    assert both.readings.among("vms", "state", ["asked"], 9, only) == [("v", {"state": "asked"})]
    assert both.readings.latest("vms", "asked", 9, only=only) == [("v", {"state": "asked"})]


def test_the_latest_come_first_and_a_cursor_goes_on_behind_them(both: Both) -> None:
    times = {"a": 3, "b": 1.5, "c": 3, "d": 2, "e": 7.25}
    both.store.put([Put("runs", id, {"at": at}) for id, at in times.items()])
    both.store.put([Put("runs", "timeless", {"other": 1}), Put("walks", "z", {"at": 9})])
    ids, cursor = [], None
    while page := both.readings.latest("runs", "at", 2, cursor):
        ids += [id for id, _ in page]
        cursor = Cursor(page[-1][1]["at"], page[-1][0])
    assert ids == ["e", "c", "a", "d", "b"]


def test_what_is_no_number_is_no_place_in_an_order(both: Both) -> None:
    odd = {"text": "2026", "yes": True, "none": None, "list": [1], "map": {"a": 1}, "nan": math.nan}
    both.store.put([Put("runs", id, {"at": at, "of": "x"}) for id, at in {**odd, "a": 1, "b": 2.5}.items()])
    assert [id for id, _ in both.readings.latest("runs", "at", 9)] == ["b", "a"]
    assert [id for id, _ in both.readings.within("runs", "of", "x", "at", 9, down=False)] == ["a", "b"]


@pytest.mark.parametrize("down", [True, False])
def test_part_of_a_collection_in_order_by_pages(both: Both, down: bool) -> None:
    times = {"a": 3, "b": 1.5, "c": 3, "d": 2, "e": 7.25}
    both.store.put([Put("spans", id, {"at": at, "of": "x", "more": id}) for id, at in times.items()])
    both.store.put([Put("spans", "other", {"at": 2, "of": "y"}), Put("spans", "timeless", {"of": "x"})])
    ids, cursor = [], None
    while page := both.readings.within("spans", "of", "x", "at", 2, cursor, down=down, only=("at",)):
        ids += [id for id, _ in page]
        cursor = Cursor(page[-1][1]["at"], page[-1][0])
    assert ids == (["e", "c", "a", "d", "b"] if down else ["b", "d", "a", "c", "e"])
    assert both.readings.within("spans", "of", "z", "at", 9, down=down) == []


def test_what_begins_alike_is_found(both: Both) -> None:
    names = ("jax", "jaxlib", "jinja2", "jaxé", "ja", "JAX")
    both.store.put([Put("holdings", f"id-{name}", {"about": {"name": name}}) for name in names])
    both.store.put([Put("holdings", "odd", {"about": {"name": 5}})])
    found = both.readings.beginning("holdings", "about.name", "jax", 9)
    assert [fields["about"]["name"] for _, fields in found] == ["jax", "jaxlib", "jaxé"]
    assert len(both.readings.beginning("holdings", "about.name", "ja", 2)) == 2
    for none in ("", "x" * 1401, "\ud800"):
        assert both.readings.beginning("holdings", "about.name", none, 9) == []


def test_adding_up_reads_nothing(both: Both) -> None:
    sizes = {"a": 3, "b": 4.5, "c": 10, "d": None}
    both.store.put(
        [Put("holdings", id, {"of": "x", "gone": None, "size": size}) for id, size in sizes.items()]
    )
    both.store.put(
        [Put("holdings", "c", {"gone": 5.0}, merge=True), Put("holdings", "e", {"of": "x", "gone": None})]
    )
    assert both.readings.total("holdings", {"of": "x", "gone": None}, "size") == 7.5
    assert both.readings.count("holdings", {"of": "x", "gone": None}) == 4
    assert both.readings.total("holdings", {"of": "y", "gone": None}, "size") == 0


@pytest.mark.parametrize("name", ["", "x" * 1001, "é" * 600, "\ud800", ".", "..", "__a__", "a/b", "~", "~x"])
def test_a_name_that_no_document_has_is_that_of_none(both: Both, name: str) -> None:
    assert both.readings.get("runs", name) is None
    assert both.readings.several("runs", [name, "y"]) == {}
    assert both.readings.among("runs", "of", [name], 9) == []
    assert both.readings.within("runs", "of", name, "at", 9, down=True) == []


@pytest.mark.parametrize("name", ["x" * 1000, "é" * 500, ".", "__a__", "a/b", "~", "~x", "\x00", "~\uffff"])
def test_a_cursor_may_name_what_is_not_there(both: Both, name: str) -> None:
    both.store.put([Put("runs", "a", {"at": 3}), Put("runs", "b", {"at": 5.5})])
    assert [id for id, _ in both.readings.latest("runs", "at", 9, Cursor(4.0, name))] == ["a"]


def test_among_takes_several_values_and_a_limit(both: Both) -> None:
    both.store.put([Put("vms", id, {"state": id[0]}) for id in ("a1", "a2", "b1", "c1")])
    assert [id for id, _ in both.readings.among("vms", "state", ["a", "b"], 9)] == ["a1", "a2", "b1"]
    assert len(both.readings.among("vms", "state", ["a", "b"], 2)) == 2
    assert both.readings.among("vms", "state", [], 9) == []
    both.store.put([Put("vms", "d1", {"state": True})])
    assert [id for id, _ in both.readings.among("vms", "state", [True], 9)] == ["d1"]


def test_counting_reads_nothing(both: Both) -> None:
    both.store.put([Put("alarms", str(n), {"open": n % 2 == 0}) for n in range(5)])
    assert both.readings.count("alarms", {"open": True}) == 3
    assert both.readings.count("alarms", {"kind": "x"}) == 0


def test_a_note_of_a_dead_letter_is_kept_whatever_was_sent(both: Both) -> None:
    """Firestore itself takes what the stage writes, and gives it back in the order of time."""
    hostile = {
        "": "a",
        "__b__": "\x00",
        "goog-c": "\u202e",
        "d.e/f": "g" * 1024,
        "reason": "No.",
        "topic": "x/y",
    }
    for id, minute in (("17", 1), ("18", 2)):
        when = f"2026-11-22T10:0{minute}:00.123456789Z"
        letters.note(both.store, "outer", Delivery(b"\xff{" * 99_999, DEAD_LETTERS, hostile, id, when))
    both.store.put([letters.dropped("17", "why", "ada", 5.0)])
    letters.note(both.store, "outer", Delivery(b"", DEAD_LETTERS, hostile, "17", "2026-11-22T10:01:00Z"))
    found = both.readings.latest(letters.COLLECTION, "at", 9)
    assert [(id, fields["reason"]) for id, fields in found] == [("18", "No."), ("17", "No.")]
    assert found[1][1]["dropped"]["by"] == "ada"


def test_claims_and_the_outbox_are_documents(both: Both) -> None:
    key = "outer:run-requested:1"
    claim = both.store.claim(key, 100.0, 20.0)
    both.store.release(claim, "the index did not answer")
    known = both.readings.several("claims", [key])[key]
    assert {**known, "until": 0} == {
        "key": key,
        "done": False,
        "until": 0,
        "generation": 1,
        "attempt": 1,
        "rests": 0,
        "reason": "the index did not answer",
    }
    again = both.store.claim(key, 200.0, 20.0)
    event = Event("sweep-requested", "e1", "/x", "2026-11-22T00:00:00.000Z", SweepRequested())
    both.store.finish(again, [], [event], 201.0)
    known = both.readings.several("claims", [key])[key]
    assert (known["done"], known["finished"], known["attempt"]) == (True, 201.0, 2)
    ((_, waiting),) = both.readings.latest("outbox", "since", 9, only=("key", "since", "type"))
    assert waiting == {"key": key, "since": 201.0, "type": "sweep-requested"}


def test_contents_are_held_to_their_digest(both: Both) -> None:
    digest = both.blobs.put(b"content")
    assert both.readings.content(digest) == b"content"
    with pytest.raises(Permanent, match="no stored content"):
        both.readings.content(sha256(b"other"))


def test_no_method_writes(both: Both) -> None:
    names = {name for name in dir(both.readings) if not name.startswith("_")}
    assert names == {"get", "several", "among", "latest", "within", "beginning", "count", "total", "content"}
