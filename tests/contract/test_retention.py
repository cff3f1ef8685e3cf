"""When documents and content end, over both stores; and that Firestore is given what its TTL policies go by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from google.cloud import firestore

from shared import retention
from shared.errors import Permanent
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.value import Digest
from shared.ports.store import Blobs, Create, Increment, Put, Store, Write
from shared.retention import DAY, EXPIRING, FOR_EVER, REPLAY_DAYS, RUN_DAYS, WITH_RUN_DAYS
from tests.contract.conftest import BOTH

NOW = 1_800_000_000.0
CLAIM = "scanner:manifest-published:0123"


@dataclass
class Time:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass(frozen=True)
class Timed:
    """Both ports at a time that the test sets, and when things in them end."""

    time: Time
    store: Store
    blobs: Blobs
    end: Callable[[str, str], float | None]
    """Of a document, by collection and id."""
    ends: Callable[[Digest], Sequence[float | None]]
    """Of content: of every document that holds a part of it."""


@pytest.fixture(params=BOTH)
def timed(request: pytest.FixtureRequest) -> Timed:
    time = Time()
    if request.param == "memory":
        store, blobs = MemoryStore(time), MemoryBlobs(time)
        return Timed(time, store, blobs, store.end, lambda digest: [blobs.end(digest)])
    project = request.getfixturevalue("project")
    database = firestore.Client(project=project)

    def read(path: str) -> float | None:
        return unix(database.document(path).get().to_dict())

    def ends(digest: Digest) -> list[float | None]:
        """The lasting copy is what counts if there is one."""
        heads = [database.collection(place).document(digest) for place in ("lasting", "blobs")]
        head = next(each for each in heads if each.get().exists)
        parts = [head.get(), *head.collection("chunks").stream()]
        assert len(parts) > 1
        return [unix(part.to_dict()) for part in parts]

    return Timed(
        time,
        FirestoreStore(project, time),
        FirestoreBlobs(project, time),
        lambda collection, id: read(f"{collection}/{id}"),
        ends,
    )


def unix(fields: dict[str, Any]) -> float | None:
    until = fields.get(retention.FIELD)
    # Firestore's TTL goes by timestamps; a number would be kept for ever without a word.
    assert until is None or isinstance(until, datetime)
    return until.timestamp() if until else None


def after(days: int, now: float = NOW) -> float:
    return now + days * DAY


WRITES: list[tuple[str, Callable[[str, str], Write]]] = [
    ("put", lambda collection, id: Put(collection, id, {"a": 1})),
    ("merge", lambda collection, id: Put(collection, id, {"a": 1}, merge=True)),
    ("create", lambda collection, id: Create(collection, id, {"a": 1})),
    ("increment", lambda collection, id: Increment(collection, id, "a", 1)),
]


@pytest.mark.parametrize("write", [write for _, write in WRITES], ids=[name for name, _ in WRITES])
def test_every_kind_of_write_sets_the_end(timed: Timed, write: Callable[[str, str], Write]) -> None:
    timed.store.put([write("runs", "run-1"), write("votes", "v")])
    assert timed.end("runs", "run-1") == after(RUN_DAYS)
    assert timed.end("votes", "v") is None


@pytest.mark.parametrize(
    "collection", sorted({*EXPIRING, *FOR_EVER} - {"claims", "blobs", "chunks", "lasting"})
)
def test_each_collection_ends_as_the_table_says(timed: Timed, collection: str) -> None:
    timed.store.put([Put(collection, "one", {"a": 1})])
    timed.store.put_many(collection, {"two": {"a": 1}})
    wanted = after(EXPIRING[collection].days) if collection in EXPIRING else None
    assert timed.end(collection, "one") == wanted
    assert timed.end(collection, "two") == wanted


@pytest.mark.parametrize(
    "write",
    [
        Put("runs", "run-1", {"b": 2}, merge=True),
        Put("runs", "run-1", {}, merge=True),
        Put("runs", "run-1", {"a": 2}),
        Increment("runs", "run-1", "a", 1),
    ],
)
def test_a_later_write_puts_the_end_off(timed: Timed, write: Write) -> None:
    timed.store.put([Put("runs", "run-1", {"a": 1})])
    timed.time.now = after(10)
    timed.store.put([write])
    assert timed.end("runs", "run-1") == after(RUN_DAYS, after(10))


def test_readers_do_not_see_the_end(timed: Timed) -> None:
    timed.store.put([Put("runs", "run-1", {"state": "running"})])
    assert timed.store.get("runs", "run-1") == {"state": "running"}
    assert timed.store.find("runs", "state", "running") == [("run-1", {"state": "running"})]


def test_a_field_of_that_name_is_refused(timed: Timed) -> None:
    fields = {retention.FIELD: 7}
    for collection in ("runs", "votes"):
        for write in (Put(collection, "a", fields), Create(collection, "a", fields)):
            with pytest.raises(Permanent, match="the store's own"):
                timed.store.put([write])
        with pytest.raises(Permanent, match="the store's own"):
            timed.store.put_many(collection, {"a": fields})
        assert timed.store.get(collection, "a") is None


def test_a_nonces_own_expires_is_its_own(timed: Timed) -> None:
    timed.store.put([Create("nonces", "n", {"expires": 7})])
    assert timed.store.get("nonces", "n") == {"expires": 7}
    assert timed.end("nonces", "n") == after(REPLAY_DAYS)


def test_a_claim_ends_long_after_its_last_change(timed: Timed) -> None:
    claim = timed.store.claim(CLAIM, NOW, 20)
    assert timed.end("claims", CLAIM) == after(REPLAY_DAYS)
    timed.time.now = after(1)
    claim = timed.store.claim(CLAIM, timed.time.now, 20)
    assert claim.state == "won"
    assert timed.end("claims", CLAIM) == after(REPLAY_DAYS, after(1))
    timed.time.now = after(2)
    timed.store.finish(claim, [Put("runs", "run-1", {"a": 1})], [], timed.time.now)
    assert timed.end("claims", CLAIM) == after(REPLAY_DAYS, after(2))
    assert timed.end("runs", "run-1") == after(RUN_DAYS, after(2))


def test_content_ends_with_all_its_parts(timed: Timed) -> None:
    digest = timed.blobs.put(b"a lock")
    assert set(timed.ends(digest)) == {after(WITH_RUN_DAYS)}


def test_content_that_is_put_again_ends_later(timed: Timed) -> None:
    digest = timed.blobs.put(b"a lock that two runs name")
    timed.time.now = after(200)
    assert timed.blobs.put(b"a lock that two runs name") == digest
    assert set(timed.ends(digest)) == {after(WITH_RUN_DAYS, after(200))}


def test_lasting_content_has_no_end_whoever_else_puts_it(timed: Timed) -> None:
    data = b"an image's configuration"
    for kept in (False, True, False):
        digest = timed.blobs.put(data, lasting=kept)
        timed.time.now += 10 * DAY
    assert set(timed.ends(digest)) == {None}
    assert timed.blobs.get(digest) == data


def test_many_puts_in_a_day_are_one(project: str) -> None:
    """Each write costs: content that is as good as new is left alone."""
    time = Time()
    blobs, database = FirestoreBlobs(project, time), firestore.Client(project=project)
    digest = blobs.put(b"content")
    first = database.document(f"blobs/{digest}").get().update_time
    time.now = NOW + DAY / 2
    blobs.put(b"content")
    assert database.document(f"blobs/{digest}").get().update_time == first
    time.now = NOW + 2 * DAY
    blobs.put(b"content")
    assert database.document(f"blobs/{digest}").get().update_time > first


def test_a_part_that_went_first_is_written_again(project: str) -> None:
    """What is past its end is deleted in no particular order."""
    time = Time()
    blobs, database = FirestoreBlobs(project, time), firestore.Client(project=project)
    digest = blobs.put(b"content")
    database.document(f"blobs/{digest}/chunks/000000").delete()
    time.now = after(WITH_RUN_DAYS + 1)
    blobs.put(b"content")
    assert blobs.get(digest) == b"content"


def test_lasting_content_is_read_while_the_other_copy_goes(project: str) -> None:
    blobs, database = FirestoreBlobs(project), firestore.Client(project=project)
    digest = blobs.put(b"content")
    blobs.put(b"content", lasting=True)
    database.document(f"blobs/{digest}/chunks/000000").delete()
    assert blobs.get(digest) == b"content"
    database.document(f"blobs/{digest}").delete()
    assert blobs.get(digest) == b"content"


def test_firestore_gets_a_timestamp_of_utc(project: str) -> None:
    FirestoreStore(project, lambda: NOW).put([Put("runs", "run-1", {})])
    until = firestore.Client(project=project).document("runs/run-1").get().to_dict()[retention.FIELD]
    assert until == datetime.fromtimestamp(after(RUN_DAYS), UTC)


def test_the_twin_forgets_what_has_ended() -> None:
    time = Time()
    store, blobs = MemoryStore(time), MemoryBlobs(time)
    store.put([Put("runs", "run-1", {}), Put("votes", "v", {})])
    store.finish(store.claim(CLAIM, NOW, 20), [], [], NOW)
    lasting, ending = blobs.put(b"kept", lasting=True), blobs.put(b"for a while")
    store.expire(after(REPLAY_DAYS) - 1)
    assert store.claim(CLAIM, after(REPLAY_DAYS), 20).state == "done"
    store.expire(after(WITH_RUN_DAYS) + 1)
    blobs.expire(after(WITH_RUN_DAYS) + 1)
    assert store.claim(CLAIM, after(WITH_RUN_DAYS), 20).state == "won"
    assert store.get("runs", "run-1") is None
    assert store.get("votes", "v") == {}
    assert blobs.get(lasting) == b"kept"
    with pytest.raises(Permanent):
        blobs.get(ending)
