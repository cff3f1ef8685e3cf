"""What a stage may expect of claims, fences and the outbox."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from google.cloud.firestore_v1.batch import WriteBatch

from functions.local.layout import CHECKOUT
from shared.errors import Transient
from shared.gcp.firestore import FirestoreStore
from shared.ports.store import Claim, Create, Increment, Put, Store, Write
from tests.support.samples import manifest_published, shard_planned, verdicts_written

KEY = "scanner:0123"


def finished(store: Store, *events: Any, now: float = 100.0, key: str = KEY) -> Claim:
    claim = store.claim(key, 0, 10)
    store.finish(claim, (), events, now)
    return claim


def test_the_first_claim_wins_and_the_second_is_busy(store: Store) -> None:
    assert store.claim(KEY, 100, 20) == Claim(KEY, "won", 1, 1)
    assert store.claim(KEY, 119, 20).state == "busy"


def test_a_lease_that_ran_out_is_taken_over_with_a_new_generation(store: Store) -> None:
    store.claim(KEY, 100, 20)
    assert store.claim(KEY, 120, 20) == Claim(KEY, "won", 2, 2)
    assert store.claim(KEY, 139, 20).state == "busy"
    assert store.claim(KEY, 140, 20) == Claim(KEY, "won", 3, 3)


def test_renewing_keeps_others_out(store: Store) -> None:
    claim = store.claim(KEY, 100, 20)
    assert store.renew(claim, 200)
    assert store.claim(KEY, 199, 20).state == "busy"
    assert store.claim(KEY, 200, 20).state == "won"


def test_a_lease_by_a_clock_that_was_an_hour_ahead_keeps_nobody_waiting(store: Store) -> None:
    ahead = store.claim(KEY, 3700, 20)
    assert store.claim(KEY, 3690, 20).state == "busy", "clocks differ by seconds"
    taken = store.claim(KEY, 100, 20)
    assert taken == Claim(KEY, "won", 2, 2)
    with pytest.raises(Transient, match="taken over"):
        store.finish(ahead, (), [manifest_published()], 3701)
    store.finish(taken, (), (), 101)


def test_who_lost_the_claim_cannot_renew_release_or_finish(store: Store) -> None:
    old = store.claim(KEY, 100, 20)
    new = store.claim(KEY, 130, 20)
    assert not store.renew(old, 10_000)
    store.release(old, "too late")
    assert store.claim(KEY, 131, 20).state == "busy"
    with pytest.raises(Transient, match="taken over"):
        store.finish(old, [Put("verdicts", "a", {"by": "old"})], [manifest_published()], 132)
    assert store.get("verdicts", "a") is None
    assert store.outbox(KEY) == []
    store.finish(new, [Put("verdicts", "a", {"by": "new"})], [], 133)
    assert store.get("verdicts", "a") == {"by": "new"}


def test_a_claim_that_was_released_until_a_time_rests_until_then(store: Store) -> None:
    store.release(store.claim(KEY, 100, 20), "upstream did not answer", 108)
    assert store.claim(KEY, 107.9, 20) == Claim(KEY, "resting", 1, 1)
    assert store.claim(KEY, 108, 20) == Claim(KEY, "won", 2, 2)
    assert store.claim(KEY, 109, 20).state == "busy"


def test_a_rest_by_a_clock_that_was_an_hour_ahead_keeps_nobody_waiting(store: Store) -> None:
    store.release(store.claim(KEY, 3700, 20), "upstream did not answer", 3708)
    assert store.claim(KEY, 100, 20) == Claim(KEY, "won", 2, 2)


def test_a_released_claim_is_free_at_once_and_counts_the_attempt(store: Store) -> None:
    store.release(store.claim(KEY, 100, 20), "upstream did not answer")
    assert store.claim(KEY, 100.1, 20) == Claim(KEY, "won", 2, 2)


def test_finished_is_finished(store: Store) -> None:
    claim = finished(store, manifest_published())
    assert store.claim(KEY, 10_000, 20) == Claim(KEY, "done", 1, 1)
    assert not store.renew(claim, 20_000)
    store.release(claim, "never mind")
    assert store.claim(KEY, 10_000, 20).state == "done"
    with pytest.raises(Transient, match="taken over"):
        store.finish(claim, [Put("verdicts", "a", {})], [], 101)
    assert store.get("verdicts", "a") is None
    assert len(store.outbox(KEY)) == 1


def test_finishing_without_a_claim_is_refused(store: Store) -> None:
    with pytest.raises(Transient, match="taken over"):
        store.finish(Claim(KEY, "won", 1, 1), [Put("verdicts", "a", {})], [manifest_published()], 1)
    assert store.get("verdicts", "a") is None
    assert store.outbox(KEY) == []


def test_claims_of_two_stages_and_odd_keys_are_apart(store: Store) -> None:
    keys = ["scanner:a", "sync:a", "sync:a/b", "sync:.", "outer:~x", "outer:" + "ü" * 128]
    assert [store.claim(key, 0, 10).state for key in keys] == ["won"] * len(keys)
    assert [store.claim(key, 0, 10).state for key in keys] == ["busy"] * len(keys)


def test_finish_writes_documents_and_outbox_together(store: Store) -> None:
    claim = store.claim(KEY, 0, 10)
    writes: list[Write] = [
        Put("runs", "r", {"state": "judged"}),
        Create("verdicts", "v", {"n": 1}),
        Increment("runs", "r", "n", 2),
    ]
    events = [verdicts_written(), shard_planned(0), shard_planned(1)]
    store.finish(claim, writes, events, 5)
    assert store.get("runs", "r") == {"state": "judged", "n": 2}
    assert store.get("verdicts", "v") == {"n": 1}
    assert sorted(event.id for event in store.outbox(KEY)) == sorted(event.id for event in events)
    assert all(event in events for event in store.outbox(KEY))


def test_a_conflict_in_finish_leaves_nothing_behind_and_the_claim_open(store: Store) -> None:
    store.put([Create("verdicts", "v", {"n": 1})])
    claim = store.claim(KEY, 0, 10)
    writes: list[Write] = [
        Put("runs", "r", {}),
        Increment("runs", "r", "n", 1),
        Create("verdicts", "v", {"n": 2}),
    ]
    with pytest.raises(Transient, match="exists already"):
        store.finish(claim, writes, [manifest_published()], 5)
    assert store.get("runs", "r") is None
    assert store.get("verdicts", "v") == {"n": 1}
    assert store.outbox(KEY) == []
    store.finish(claim, [Put("runs", "r", {"state": "judged"})], [], 6)
    assert store.claim(KEY, 0, 10).state == "done"


def test_sent_events_leave_the_outbox_one_by_one(store: Store) -> None:
    finished(store, shard_planned(0), shard_planned(1))
    store.sent(KEY, shard_planned(0).id)
    assert store.outbox(KEY) == [shard_planned(1)]
    store.sent(KEY, shard_planned(0).id)
    store.sent(KEY, shard_planned(1).id)
    assert store.outbox(KEY) == []
    assert store.stale_outbox(1000) == []


def test_the_outbox_of_what_was_never_claimed_is_empty(store: Store) -> None:
    assert store.outbox("scanner:unknown") == []
    store.sent("scanner:unknown", "x")


def test_one_event_id_in_the_outboxes_of_two_claims_is_two_entries(store: Store) -> None:
    finished(store, manifest_published(), key="scanner:a")
    finished(store, manifest_published(), key="scanner:b")
    store.sent("scanner:a", manifest_published().id)
    assert store.outbox("scanner:b") == [manifest_published()]


def test_stale_is_what_has_waited_since_before(store: Store) -> None:
    finished(store, shard_planned(0), now=100, key="sync:a")
    finished(store, shard_planned(1), now=200, key="sync:b")
    assert store.stale_outbox(100) == []
    assert store.stale_outbox(101) == [("sync:a", shard_planned(0))]
    assert sorted(key for key, _ in store.stale_outbox(201)) == ["sync:a", "sync:b"]


def test_more_than_a_hundred_stale_events_are_all_seen_in_the_end(store: Store) -> None:
    events = [shard_planned(number) for number in range(130)]
    finished(store, *events)
    seen = []
    while waiting := store.stale_outbox(1000):
        seen += [event.id for _, event in waiting]
        for key, event in waiting:
            store.sent(key, event.id)
    assert sorted(seen) == sorted(event.id for event in events)


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    """`work` on so many threads that all wait for each other first."""
    gate = threading.Barrier(count)

    def one(number: int) -> Any:
        gate.wait(20)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_thirty_threads_claim_and_one_wins(store: Store) -> None:
    states = [claim.state for claim in at_once(30, lambda _: store.claim(KEY, 100, 20))]
    assert sorted(states) == ["busy"] * 29 + ["won"]


def test_thirty_threads_take_over_and_one_wins(store: Store) -> None:
    store.claim(KEY, 100, 20)
    claims = at_once(30, lambda _: store.claim(KEY, 130, 20))
    assert sorted(claim.state for claim in claims) == ["busy"] * 29 + ["won"]
    assert next(claim for claim in claims if claim.state == "won") == Claim(KEY, "won", 2, 2)


def test_a_takeover_and_a_late_finish_at_once_have_one_result(store: Store) -> None:
    for round in range(5):
        key = f"scanner:{round}"
        old = store.claim(key, 100, 20)

        def work(number: int, key: str = key, old: Claim = old) -> str:
            try:
                if number:
                    return store.claim(key, 130, 20).state
                store.finish(old, [Put("results", key, {"by": "old"})], [], 130)
            except Transient:
                return "lost"
            return "finished"

        late, taken = at_once(2, work)
        assert (late, taken) in {("finished", "done"), ("finished", "busy"), ("lost", "won")}
        assert (store.get("results", key) is not None) == (late == "finished")


def test_a_shared_counter_counts_each_thing_once(store: Store) -> None:
    """Twenty shards report three times each, at once: a create-only document and an Increment in one batch."""
    store.put([Put("runs", "r", {"done": 0})])

    def report(number: int) -> bool:
        shard = number % 20
        for _ in range(20):
            try:
                store.put([Create("shards", f"r-{shard}", {"n": shard}), Increment("runs", "r", "done", 1)])
            except Transient as error:
                if "exists already" in str(error):
                    return False
            else:
                return True
        raise AssertionError("never got through")

    counted = at_once(60, report)
    assert sum(counted) == 20
    assert store.get("runs", "r") == {"done": 20}


def test_renewals_beside_the_end_lose_nothing(store: Store) -> None:
    """The thread that renews and the one that finishes write the same document."""
    claim = store.claim(KEY, 0, 10)
    over = threading.Event()

    def renew() -> None:
        while not over.is_set() and store.renew(claim, 1000):
            pass

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(renew)
        try:
            for number in range(20):
                assert store.renew(claim, 500 + number)
            store.finish(claim, [Put("verdicts", "a", {"by": "me"})], [manifest_published()], 1)
        finally:
            over.set()
        renewing.result()
    assert (store.claim(KEY, 2000, 10).state, store.get("verdicts", "a")) == ("done", {"by": "me"})
    assert len(store.outbox(KEY)) == 1


def test_who_is_overtaken_between_reading_and_writing_writes_nothing(
    project: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FirestoreStore(project)
    claim = store.claim(KEY, 0, 10)
    real, others = WriteBatch.commit, [FirestoreStore(project)]
    taken: list[Claim] = []

    def commit(batch: WriteBatch, *arguments: Any, **options: Any) -> Any:
        if others:
            taken.append(others.pop().claim(KEY, 20, 10))
        return real(batch, *arguments, **options)

    monkeypatch.setattr(WriteBatch, "commit", commit)
    with pytest.raises(Transient, match="taken over"):
        store.finish(claim, [Put("verdicts", "a", {})], [manifest_published()], 21)
    assert taken == [Claim(KEY, "won", 2, 2)]
    assert (store.get("verdicts", "a"), store.outbox(KEY)) == (None, [])
    assert store.claim(KEY, 22, 10).state == "busy"


DIES = """
import os, sys
from google.cloud.firestore_v1 import batch, transaction
from shared.gcp.firestore import FirestoreStore
from shared.ports.store import Claim, Put
def die(*_args, **_options):
    os._exit(9)
batch.WriteBatch.commit = transaction.Transaction._commit = die
FirestoreStore(sys.argv[1]).finish(Claim(sys.argv[2], "won", 1, 1), [Put("verdicts", "a", {})], [], 1)
"""


def test_a_worker_that_dies_before_it_commits_keeps_nobody_waiting(project: str) -> None:
    """A transaction's locks would outlive it: the claim could not be taken over for a minute and more."""
    store = FirestoreStore(project)
    store.claim(KEY, 0, 10)
    done = subprocess.run([sys.executable, "-c", DIES, project, KEY], cwd=CHECKOUT, check=False)
    assert done.returncode == 9
    assert store.claim(KEY, 20, 10) == Claim(KEY, "won", 2, 2)
    assert store.get("verdicts", "a") is None
