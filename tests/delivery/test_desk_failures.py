"""The desk when handling fails: passing troubles are tried again after a rest, final ones kept with their reason."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest

from shared.delivery import ATTEMPTS, Outcome, fail
from shared.errors import Permanent, Transient, Untrusted
from shared.events import Delivery, Event, RunFailed, decode
from shared.ports.store import Create, Put
from tests.delivery.office import DONE, EVENT, KEY, Office, raising
from tests.delivery.world import LEASE
from tests.support.samples import RUN, verdicts_written


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
