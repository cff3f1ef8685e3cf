"""The desk, rule by rule."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from shared.delivery import ATTEMPTS, Desk, Outcome, fail, in_turn
from shared.errors import Permanent, Transient, Untrusted
from shared.events import Delivery, Event, RunFailed, decode
from shared.memory.store import MemoryStore
from shared.ports.store import Claim, Create, Put
from tests.delivery.world import LEASE, Death, Recorder, delivery
from tests.support.samples import RUN, manifest_published, shard_planned, verdicts_written

EVENT = manifest_published()
KEY = f"scanner:{EVENT.type}:{EVENT.id}"
DONE = Outcome((Put("results", "r", {"by": "scanner"}),), (verdicts_written(),))


@dataclass
class Office:
    """A scanner's desk with a clock that only sleeping moves."""

    handle: Callable[[Event], Outcome] = lambda _: DONE
    settle: Callable[[Event], Sequence[Event]] = lambda _: ()
    sweep: Callable[[Event], Sequence[tuple[str, Outcome]]] = lambda _: ()
    now: float = 1_800_000_000.0
    store: MemoryStore = field(default_factory=MemoryStore)
    bus: Recorder = field(default_factory=Recorder)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    @property
    def desk(self) -> Desk:
        return Desk(
            "scanner",
            self.store,
            self.bus,
            lambda event: self.handle(event),
            lambda event: self.settle(event),
            lambda event: self.sweep(event),
            lease=LEASE,
            clock=lambda: self.now,
            sleep=self.wait,
        )

    def deliver(self, event: Event = EVENT) -> None:
        self.desk.deliver(delivery(event))

    def deliver_later(self) -> None:
        """When an event that failed has had its rest."""
        self.wait(8)
        self.deliver()

    def tick(self) -> None:
        self.desk.deliver(Delivery(b"{}", "sweep-requested", {}, "1", str(self.now)))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, _, reason in self.bus.dead]

    @property
    def failures(self) -> list[RunFailed]:
        return [event.data for event in self.bus.published if isinstance(event.data, RunFailed)]


def raising(error: BaseException) -> Callable[[Event], Outcome]:
    def handle(_: Event) -> Outcome:
        raise error

    return handle


# --- once ----------------------------------------------------------------------------------------------------------


def test_an_event_is_handled_and_what_follows_is_published() -> None:
    office = Office()
    office.deliver()
    assert office.store.get("results", "r") == {"by": "scanner"}
    assert office.bus.published == [verdicts_written()]
    assert office.store.outbox(KEY) == []


def test_a_duplicate_of_a_finished_event_does_nothing() -> None:
    handled: list[Event] = []
    office = Office(lambda event: handled.append(event) or DONE)  # type: ignore[func-returns-value]
    for _ in range(3):
        office.deliver()
    assert handled == [EVENT]
    assert office.bus.published == [verdicts_written()]


def test_a_duplicate_of_work_under_way_waits_and_is_acknowledged_after_it() -> None:
    """Real threads and time: three copies at once, one works for longer than the lease, which is renewed meanwhile."""
    store, bus, handled = MemoryStore(), Recorder(), []

    def handle(event: Event) -> Outcome:
        handled.append(event)
        time.sleep(0.9)
        return DONE

    desk = Desk("scanner", store, bus, handle, lease=0.3)
    threads = [threading.Thread(target=desk.deliver, args=(delivery(EVENT),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert handled == [EVENT]
    assert store.claim(KEY, 0, 1) == Claim(KEY, "done", 1, 1)
    assert len(bus.published) >= 1


def test_a_duplicate_that_waited_too_long_comes_again() -> None:
    office = Office()
    claim = office.store.claim(KEY, office.now, LEASE)
    sleep = office.wait

    def wait(seconds: float) -> None:
        sleep(seconds)
        assert office.store.renew(claim, office.now + LEASE), "the other worker is alive"

    office.wait = wait  # type: ignore[method-assign]
    with pytest.raises(Transient, match="still being handled"):
        office.deliver()
    assert office.bus.dead == []


# --- deaths ---------------------------------------------------------------------------------------------------------


def test_who_dies_over_an_event_is_succeeded_when_the_lease_has_run_out() -> None:
    office = Office(raising(Death()))
    with pytest.raises(Death):
        office.deliver()
    office.handle = lambda _: DONE
    before = office.now
    office.deliver()
    assert LEASE <= office.now - before <= LEASE + 1
    assert office.store.claim(KEY, office.now, LEASE) == Claim(KEY, "done", 2, 2)
    assert office.bus.published == [verdicts_written()]


class Deaf(Recorder):
    """A bus whose caller dies before the message is out."""

    def publish(self, event: Event) -> None:
        raise Death


def dead_before_publishing(office: Office) -> None:
    bus, office.bus = office.bus, Deaf()
    with pytest.raises(Death):
        office.deliver()
    office.bus = bus


def test_what_a_dead_worker_left_in_the_outbox_goes_out_with_the_next_duplicate() -> None:
    office = Office()
    dead_before_publishing(office)
    assert office.bus.published == []
    office.deliver()
    assert office.bus.published == [verdicts_written()]
    assert office.store.outbox(KEY) == []


def test_what_a_dead_worker_left_in_the_outbox_goes_out_with_the_sweep() -> None:
    office = Office()
    dead_before_publishing(office)
    office.tick()
    assert office.bus.published == [], "it may still be under way"
    office.wait(31)
    office.tick()
    assert office.bus.published == [verdicts_written()]
    office.tick()
    assert len(office.bus.published) == 1


def test_a_sweep_leaves_the_outbox_of_other_stages_alone() -> None:
    office = Office()
    office.store.finish(office.store.claim("sync:x", 0, 1), (), [shard_planned(1)], 0)
    office.tick()
    assert office.bus.published == []


def test_an_event_that_nobody_can_publish_keeps_no_other_back() -> None:
    class Picky(Recorder):
        def publish(self, event: Event) -> None:
            if event == shard_planned(0):
                raise Permanent("Publishing was refused.")
            super().publish(event)

    office = Office(sweep=lambda _: [("vm", Outcome((Put("results", "swept", {}),)))], bus=Picky())
    office.store.finish(office.store.claim("scanner:x", 0, 1), (), [shard_planned(0), shard_planned(1)], 0)
    with pytest.raises(Transient, match="1 events stay in the outbox of scanner: Publishing was refused"):
        office.tick()
    assert office.bus.published == [shard_planned(1)]
    assert office.store.get("results", "swept") == {}
    assert office.store.outbox("scanner:x") == [shard_planned(0)]


def test_an_event_that_kills_every_worker_ends_its_run() -> None:
    """Out of memory, say: no exception is ever seen, and Pub/Sub alone would deliver it until it is forgotten."""
    office, handled = Office(raising(Death())), 0
    for _ in range(ATTEMPTS):
        with pytest.raises(Death):
            office.deliver()
        handled += 1
    office.deliver()
    assert handled == ATTEMPTS
    assert office.failures[0].reason.startswith(
        "The scanner stage died over this event again and again, 6 times"
    )
    assert len(office.bus.dead) == 1


# --- fences ---------------------------------------------------------------------------------------------------------


def slow(office: Office, then: Callable[[], Outcome]) -> Callable[[Event], Outcome]:
    """Handles for longer than the lease, while another delivery of the same event is handled to its end."""

    def handle(_: Event) -> Outcome:
        office.handle = lambda _: Outcome((Put("results", "r", {"by": "the other"}),), (verdicts_written(),))
        office.wait(LEASE + 1)
        office.deliver()
        return then()

    return handle


def test_a_result_that_comes_after_a_takeover_is_discarded() -> None:
    office = Office()
    office.handle = slow(
        office, lambda: Outcome((Put("results", "r", {"by": "the late one"}),), (shard_planned(9),))
    )
    with pytest.raises(Transient, match="taken over"):
        office.deliver()
    assert office.store.get("results", "r") == {"by": "the other"}
    assert office.bus.published == [verdicts_written()]
    office.deliver()
    assert office.bus.published == [verdicts_written()]


ERRORS = [Permanent("It is wrong."), Transient("It is away."), ValueError("mistake")]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_who_lost_the_claim_leaves_no_dead_letter_and_fails_no_run(error: Exception) -> None:
    office = Office()
    office.handle = slow(office, lambda: raising(error)(EVENT))
    with pytest.raises((Transient, ValueError)):
        office.deliver()
    assert office.store.get("results", "r") == {"by": "the other"}
    assert office.bus.dead == []
    assert office.failures == []
    assert office.store.get("runs", RUN) is None


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_nor_at_the_last_attempt(error: Exception) -> None:
    """Here the other one gives up, and speaks for both."""
    office = Office()
    for _ in range(ATTEMPTS - 1):
        office.store.release(office.store.claim(KEY, office.now, LEASE), "before")
    office.handle = slow(office, lambda: raising(error)(EVENT))
    with pytest.raises(Transient, match="taken over"):
        office.deliver()
    assert len(office.reasons) == 1
    assert "died over this event" in office.reasons[0]
    assert len(office.failures) == 1


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_passing_trouble_is_tried_again_and_then_final_with_its_reason() -> None:
    office = Office(raising(Transient("The index does not answer.")))
    for _ in range(ATTEMPTS - 1):
        before = office.now
        with pytest.raises(Transient, match="does not answer"):
            office.deliver_later()
        assert office.now == before + 8, "a released claim need not be waited for"
        assert office.bus.dead == []
    office.deliver_later()
    assert office.reasons == ["The index does not answer, 6 times."]
    assert office.failures == [
        RunFailed(run_id=RUN, stage="scanner", reason="The index does not answer, 6 times.")
    ]
    office.deliver()
    assert len(office.failures) == 1


def test_however_often_it_comes_an_event_rests_after_it_failed() -> None:
    """Google's emulator delivers again every second: six tries in six seconds would make an outage of ten final."""
    office, tried = Office(), list[float]()

    def handle(_: Event) -> Outcome:
        tried.append(office.now)
        raise Transient("The index does not answer.")

    office.handle = handle
    while not office.bus.dead:
        with suppress(Transient):
            office.deliver()
        office.wait(0.5)
    pauses = [then - before for before, then in pairwise(tried)]
    assert pauses == [1, 2, 4, 8, 8]
    assert office.reasons == ["The index does not answer, 6 times."]


def test_a_duplicate_of_an_event_that_rests_is_not_waited_for() -> None:
    office = Office(raising(Transient("The index does not answer.")))
    with pytest.raises(Transient, match="does not answer"):
        office.deliver()
    before, office.handle = office.now, lambda _: DONE
    with pytest.raises(Transient, match="failed a moment ago, 1 time"):
        office.deliver()
    assert office.now == before


def test_a_passing_trouble_that_passes_leaves_no_trace() -> None:
    office = Office(raising(Transient("The index does not answer.")))
    with pytest.raises(Transient):
        office.deliver()
    office.handle = lambda _: DONE
    office.deliver_later()
    assert office.bus.published == [verdicts_written()]
    assert office.bus.dead == []


def test_a_final_trouble_keeps_the_event_and_ends_the_run() -> None:
    office = Office(raising(Permanent("The manifest\x1b[31m is malformed.")))
    office.deliver()
    body, attributes, reason = office.bus.dead[0]
    assert (body, attributes["topic"]) == (EVENT.body(), "manifest-published")
    assert decode(Delivery(body, attributes["topic"], attributes)) == EVENT, "it can be replayed"
    assert reason == "The manifest\\u001b[31m is malformed."
    assert office.failures == [RunFailed(run_id=RUN, stage="scanner", reason=reason)]
    run = office.store.get("runs", RUN)
    assert run is not None
    assert (run["state"], run["stage"], run["reason"], run["ended"]) == (
        "failed",
        "scanner",
        reason,
        office.now,
    )


def test_a_mistake_of_ours_is_tried_again_and_then_final_with_its_name() -> None:
    office = Office(raising(KeyError("lock")))
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(KeyError):
            office.deliver_later()
    office.deliver_later()
    assert office.reasons == ["The scanner stage has a defect: KeyError: 'lock'."]
    assert len(office.failures) == 1


def test_an_untrusted_event_is_kept_and_its_run_left_alone() -> None:
    office = Office(raising(Untrusted("The report does not carry the secret.")))
    office.deliver()
    assert office.reasons == ["The report does not carry the secret."]
    assert office.failures == []
    assert office.store.get("runs", RUN) is None


def test_a_failure_over_the_news_of_a_failure_makes_no_more_news() -> None:
    failed = fail(EVENT, RUN, "scanner", "It is wrong.", "", 0).events[0]
    office = Office(raising(Permanent("The VM cannot be deleted.")))
    office.deliver(failed)
    assert office.reasons == ["The VM cannot be deleted."]
    assert office.bus.published == []


@pytest.mark.parametrize(
    "broken",
    [
        Delivery(b"not JSON", "manifest-published", {"ce-id": "x"}),
        Delivery(b"{}", "manifest-published"),
        Delivery(b"{}", "unheard-of"),
        Delivery(b"\xff" * 100, "", {"odd": "\x00"}),
    ],
    ids=lambda one: repr(one.body[:10]),
)
def test_what_cannot_be_decoded_is_kept_with_the_reason(broken: Delivery) -> None:
    office = Office()
    office.desk.deliver(broken)
    body, attributes, reason = office.bus.dead[0]
    assert (body, attributes) == (
        broken.body,
        {**broken.attributes, "topic": broken.topic, "stage": office.desk.stage},
    )
    assert reason.endswith(".")
    assert office.bus.published == []


def test_a_conflict_at_the_end_is_a_passing_trouble() -> None:
    office = Office(lambda _: Outcome((Create("results", "r", {"n": 1}),)))
    office.store.put([Create("results", "r", {"n": 0})])
    with pytest.raises(Transient, match="exists already"):
        office.deliver()
    before = office.now
    office.handle = lambda _: DONE
    office.deliver_later()
    assert office.now == before + 8, "the claim was given back"
    assert office.bus.published == [verdicts_written()]


def test_a_result_that_the_store_cannot_hold_ends_the_run() -> None:
    office = Office(lambda _: Outcome((Put("results", "r", {"nested": [[1]]}),)))
    office.deliver()
    assert "cannot take" in office.failures[0].reason
    assert office.store.claim(KEY, office.now, LEASE).state == "done"


# --- settling and sweeping --------------------------------------------------------------------------------------------


def test_settling_follows_every_finished_delivery_duplicates_included() -> None:
    settled: list[Event] = []
    office = Office(settle=lambda event: settled.append(event) or [shard_planned(0)])  # type: ignore[func-returns-value]
    for _ in range(3):
        office.deliver()
    assert settled == [EVENT] * 3
    assert office.bus.published == [verdicts_written(), *[shard_planned(0)] * 3]


def test_settling_waits_for_success() -> None:
    office = Office(raising(Transient("Not now.")), settle=lambda _: [shard_planned(0)])
    with pytest.raises(Transient):
        office.deliver()
    assert office.bus.published == []


def test_settling_that_can_never_succeed_ends_the_run() -> None:
    def settle(_: Event) -> Sequence[Event]:
        raise Permanent("The stored lock is gone.")

    office = Office(settle=settle)
    office.deliver()
    assert office.reasons == ["The stored lock is gone."]
    assert office.failures == [RunFailed(run_id=RUN, stage="scanner", reason="The stored lock is gone.")]
    assert (office.store.get("runs", RUN) or {})["state"] == "failed"


def test_what_a_sweep_finds_is_committed_and_published_once() -> None:
    outcome = fail(EVENT, RUN, "scanner", "The VM was silent too long.", "", 0)
    office = Office(sweep=lambda _: [("vm-1", outcome)])
    for _ in range(3):
        office.tick()
        office.wait(60)
    assert [event.type for event in office.bus.published] == ["run-failed"]
    assert (office.store.get("runs", RUN) or {})["state"] == "failed"


def test_a_sweep_that_dies_is_made_up_for_by_the_next() -> None:
    outcome = fail(EVENT, RUN, "scanner", "The VM was silent too long.", "", 0)
    office = Office(sweep=lambda _: [("vm-1", outcome)])
    office.store.claim("scanner:sweep:vm-1", office.now, LEASE)
    office.tick()
    assert office.bus.published == []
    office.wait(LEASE)
    office.tick()
    assert [event.type for event in office.bus.published] == ["run-failed"]


# --- a run ends once --------------------------------------------------------------------------------------------------


def failure(reason: str) -> Outcome:
    return fail(EVENT, RUN, "scanner", reason, "", 0)


def test_a_failure_of_a_run_that_has_ended_is_kept_and_changes_nothing() -> None:
    office = Office(raising(Permanent("Too late.")))
    office.store.put([Put("runs", RUN, {"state": "completed"})])
    office.deliver()
    assert office.reasons == ["Too late."]
    assert office.failures == []
    assert office.store.get("runs", RUN) == {"state": "completed"}


def test_two_ends_of_one_run_at_once_are_one() -> None:
    """Between reading the run and ending it another stage ends it."""
    office = Office()

    def handle(_: Event) -> Outcome:
        office.store.put(failure("The other was first.").writes)
        return failure("This one was second.")

    office.handle = handle
    with pytest.raises(Transient, match="exists already"):
        office.deliver()
    assert office.bus.published == []
    assert (office.store.get("runs", RUN) or {})["reason"] == "The other was first."
    office.handle = lambda _: Outcome()
    office.deliver_later()
    assert office.bus.published == []


def test_a_finding_of_the_sweep_that_comes_second_keeps_no_other_back() -> None:
    other = fail(EVENT, "run-ba9876543210", "scanner", "The VM vanished.", "", 0)
    office = Office(sweep=lambda _: [("vm-1", failure("Silent.")), ("vm-2", other)])
    office.store.put([*failure("The other was first.").writes])
    with pytest.raises(Transient, match="1 findings of the sweep"):
        office.tick()
    assert [event.run_id for event in office.bus.published] == ["run-ba9876543210"]


def test_a_finding_that_the_store_refuses_keeps_no_other_back() -> None:
    refused = Outcome((Put("results", "r", {"nested": [[1]]}),))
    office = Office(sweep=lambda _: [("vm-1", refused), ("vm-2", failure("The VM vanished."))])
    with pytest.raises(Transient, match=r"1 findings of the sweep are not written: .*cannot take"):
        office.tick()
    assert [event.run_id for event in office.bus.published] == [RUN]


def test_a_sweep_that_fails_in_the_middle_has_its_findings_written_and_is_told() -> None:
    def sweep(_: Event) -> Iterator[tuple[str, Outcome]]:
        yield "vm-1", failure("The VM vanished.")
        raise Permanent("The list was refused.")

    def left(_: float) -> Sequence[tuple[str, Event]]:
        raise Transient("The outbox is away.")

    office = Office(sweep=sweep)  # type: ignore[arg-type]
    office.store.stale_outbox = left  # type: ignore[assignment, method-assign]
    with pytest.raises(Transient, match=r"The outbox is away\. The list was refused\."):
        office.tick()
    assert [event.run_id for event in office.bus.published] == [RUN]


def test_parts_of_a_sweep_do_not_end_one_another() -> None:
    def broken(reason: str) -> Iterator[tuple[str, Outcome]]:
        yield reason, Outcome()
        raise Permanent(reason)

    findings = in_turn(broken("One."), broken("Two."), [("three", Outcome())])
    assert [next(findings)[0] for _ in range(3)] == ["One.", "Two.", "three"]
    with pytest.raises(Transient, match=r"^One\. Two\.$"):
        next(findings)
