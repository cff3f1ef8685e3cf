"""Every try at an event is a span and a line of the log; what cannot be noted fails nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared import logs
from shared.delivery import ATTEMPTS, Desk, Outcome
from shared.errors import Permanent, Transient
from shared.events import Event
from shared.memory.store import MemoryStore
from shared.model.trace import Span
from shared.ports.store import Write
from tests.delivery.office import DONE, EVENT, Office, raising
from tests.delivery.world import Death, Recorder, delivery
from tests.support.samples import RUN

Captured = pytest.CaptureFixture[str]


def kept(store: MemoryStore) -> list[dict[str, Any]]:
    return sorted((fields for _, fields in store.find("spans", "run_id", RUN)), key=lambda each: each["id"])


def handled(captured: Captured) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in captured.readouterr().err.splitlines()]
    return [each for each in lines if each["event"] == "event-handled"]


def test_what_is_done_is_one_span_that_the_next_event_names(capsys: Captured) -> None:
    office = Office()
    with logs.of_project("p-1"):
        office.deliver()
    (span,) = kept(office.store)
    assert span["id"] == EVENT.handled_by("scanner")
    assert (span["outcome"], span["trace"], span["parent"]) == ("done", EVENT.trace, EVENT.parent)
    (line,) = handled(capsys)
    assert line["logging.googleapis.com/trace"] == f"projects/p-1/traces/{EVENT.trace}"
    assert line["logging.googleapis.com/spanId"] == span["id"]
    assert line["logging.googleapis.com/labels"] == {
        "run": RUN,
        "event": EVENT.type,
        "event_id": EVENT.id,
    }
    assert (line["stage"], line["event_type"], line["outcome"], line["attempt"]) == (
        "scanner",
        EVENT.type,
        "done",
        1,
    )


def test_tries_are_spans_beside_the_last_one(capsys: Captured) -> None:
    office = Office(raising(Transient("The index is away.")))
    for _ in range(2):
        with pytest.raises(Transient):
            office.deliver_later()
    office.handle = lambda _: Outcome(DONE.writes, DONE.events, {"bytes": 7})
    office.deliver_later()
    office.deliver()
    found = {each["attributes"]["attempt"]: each for each in kept(office.store)}
    assert {number: each["outcome"] for number, each in found.items()} == {
        1: "retried",
        2: "retried",
        3: "done",
    }
    assert found[1]["reason"] == "The index is away."
    assert found[3]["attributes"]["bytes"] == 7
    assert len({each["id"] for each in found.values()}) == 3
    assert [line["outcome"] for line in handled(capsys)] == ["retried", "retried", "done", "duplicate"]


def test_duplicates_are_counted_on_the_try_that_ended_the_event(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office()
    office.deliver()
    (before,) = kept(office.store)
    for _ in range(3):
        office.deliver()
    (span,) = kept(office.store)
    assert span == {**before, "duplicates": 3}

    def away(_: Sequence[Write]) -> None:
        raise Transient("The store is away.")

    monkeypatch.setattr(office.store, "put", away)
    office.deliver()  # a note that cannot be taken fails nothing
    assert office.bus.published


def test_what_is_given_up_says_why() -> None:
    office = Office(raising(Permanent("The manifest is no manifest.")))
    office.deliver()
    (span,) = kept(office.store)
    assert (span["outcome"], span["reason"]) == ("failed", "The manifest is no manifest.")
    assert {each.parent for each in office.bus.published} == {span["id"]}


def test_who_is_killed_leaves_a_span_without_an_end_and_the_next_one_another() -> None:
    """Real threads: the handler waits for its own span and dies."""
    office, seen = Office(), threading.Event()

    def handle(_: Event) -> Outcome:
        for _ in range(1000):
            if kept(office.store):
                raise Death
            seen.wait(0.01)
        return DONE

    office.handle = handle
    with pytest.raises(Death):
        office.deliver()
    (left,) = kept(office.store)
    assert (left["ended"], left["outcome"]) == (None, "")
    office.handle = lambda _: DONE
    office.deliver()
    found = {each["attributes"]["attempt"]: each["ended"] for each in kept(office.store)}
    assert found[1] is None
    assert found[2] is not None


def test_what_was_begun_is_overwritten_by_its_end() -> None:
    office, seen = Office(), threading.Event()

    def handle(_: Event) -> Outcome:
        for _ in range(1000):
            if kept(office.store):
                return DONE
            seen.wait(0.01)
        raise Death

    office.handle = handle
    office.deliver()
    (span,) = kept(office.store)
    assert (span["id"], span["outcome"]) == (EVENT.handled_by("scanner"), "done")


class Blind(MemoryStore):
    """A store that takes no spans but in a batch with a result."""

    def put(self, writes: Sequence[Write]) -> None:
        if all(each.collection == "spans" for each in writes):
            raise Transient("The store is away.")
        super().put(writes)


def test_a_span_that_cannot_be_kept_fails_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    office = Office(raising(Transient("The index is away.")), store=Blind())
    for _ in range(ATTEMPTS - 1):
        with pytest.raises(Transient, match="index"):
            office.deliver_later()
    office.deliver_later()
    assert [failure.reason for failure in office.failures] == [f"The index is away, {ATTEMPTS} times."]


def test_what_ended_is_sent_on(capsys: Captured) -> None:
    sent: list[Span] = []
    export: Callable[[Sequence[Span]], None] = sent.extend
    desk = Desk("scanner", MemoryStore(), Recorder(), lambda _: DONE, export=export)
    desk.deliver(delivery(EVENT))
    desk.deliver(delivery(EVENT))
    assert [span.id for span in sent] == [EVENT.handled_by("scanner")]


def test_a_dead_letter_is_a_line_of_the_log(capsys: Captured) -> None:
    office = Office(raising(Permanent("The manifest is no manifest.")))
    office.deliver()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [each for each in lines if each["event"] == "dead-lettered"]
    assert (line["severity"], line["topic"]) == ("ERROR", EVENT.type)
    assert "no manifest" in line["message"]
    assert line["logging.googleapis.com/labels"]["run"] == RUN
