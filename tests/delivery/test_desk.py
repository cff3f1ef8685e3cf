"""The desk, rule by rule: an event is handled once, whoever dies over it and whoever took it over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from shared.delivery import ATTEMPTS, Desk, Outcome
from shared.errors import Permanent, Transient
from shared.events import Event
from shared.memory.store import MemoryStore
from shared.ports.store import Claim, Put
from tests.delivery.office import DONE, EVENT, KEY, Office, raising
from tests.delivery.world import LEASE, Death, Recorder, delivery
from tests.support.samples import RUN, shard_planned, verdicts_written

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
