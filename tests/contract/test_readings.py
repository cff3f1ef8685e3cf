"""What somebody who only looks may expect of the store: the same of both."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from shared.errors import Permanent
from shared.events import Event, SweepRequested
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


def test_among_takes_several_values_and_a_limit(both: Both) -> None:
    both.store.put([Put("vms", id, {"state": id[0]}) for id in ("a1", "a2", "b1", "c1")])
    assert [id for id, _ in both.readings.among("vms", "state", ["a", "b"], 9)] == ["a1", "a2", "b1"]
    assert len(both.readings.among("vms", "state", ["a", "b"], 2)) == 2
    assert both.readings.among("vms", "state", [], 9) == []
    both.store.put([Put("vms", "d1", {"state": True})])
    assert [id for id, _ in both.readings.among("vms", "state", [True], 9)] == ["d1"]


def test_counting_reads_nothing(both: Both) -> None:
    both.store.put([Put("alarms", str(n), {"open": n % 2 == 0}) for n in range(5)])
    assert both.readings.count("alarms", "open", True) == 3
    assert both.readings.count("alarms", "kind", "x") == 0


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
    assert names == {"get", "several", "among", "latest", "count", "content"}
