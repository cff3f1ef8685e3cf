"""The desk beside its events: settling, sweeping, and that a run ends once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from shared.delivery import Outcome, fail
from shared.errors import Permanent, Transient
from shared.events import Event, RunFailed
from shared.ports.store import Put
from shared.rounds import in_turn
from tests.delivery.office import EVENT, Office, raising
from tests.delivery.world import LEASE
from tests.support.samples import RUN, shard_planned, verdicts_written

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
