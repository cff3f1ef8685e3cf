"""Who wants to be told is told once, and no run waits for a sink, whatever that does."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from shared import notices
from shared.errors import Transient
from shared.memory.store import MemoryStore
from shared.ports.store import Put
from shared.upstream.sink import Unanswered
from tests.stages import guests
from tests.stages.noticing import CONSOLE, NOW, Recorded, changed, failed, kept
from tests.stages.world import World
from tests.support.samples import RUN


@pytest.mark.parametrize("copies", [1, 3])
def test_a_run_that_fails_is_told_once(copies: int, tmp_path: Path) -> None:
    sink = Recorded()
    world = World(
        tmp_path, copies=copies, sink=sink, outer=lambda config: guests.outer_failed(config, "no disk\n")
    )
    run_id = world.request()
    world.sweep()
    world.bus.close()
    ids = {attributes["id"] for attributes, _ in sink.came}
    assert len(ids) == 1, "duplicates carry one id"
    attributes, data = sink.came[0]
    assert (attributes["specversion"], attributes["type"]) == ("1.0", notices.TYPE)
    assert data["run_id"] == run_id
    assert data["sentence"].startswith(f"{run_id} failed in the stage outer: ")


def test_a_sink_that_is_away_stops_no_run_and_is_told_later(tmp_path: Path) -> None:
    sink = Recorded(Transient("It is away."), Unanswered("It is away."))
    world = World(tmp_path, sink=sink, outer=lambda config: guests.outer_failed(config, "no disk\n"))
    run_id = world.request()
    assert world.run(run_id)["state"] == "failed"
    assert world.vms.all() == []
    assert sink.came == []
    for minutes in (2, 60):
        world.ahead = minutes * 60
        world.sweep()
    world.bus.close()
    assert world.raised == []
    assert len(sink.came) == 1
    assert [fields["tries"] for _, fields in world.store.find("notices", "state", "sent")] == [3]


def test_who_dies_before_the_sink_was_asked_is_succeeded_by_the_watchdog() -> None:
    store, sink = MemoryStore(), Recorded()
    name = kept(store, failed())
    list(notices.again(store, sink, NOW))
    list(notices.again(store, sink, NOW))
    notices.send(failed(), store, sink, NOW)
    assert [attributes["id"] for attributes, _ in sink.came] == [name]


def test_a_day_later_it_is_given_up_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore()
    name = kept(store, failed())
    away = [Transient("It is away.")] * 100
    sink, now = Recorded(*away), NOW
    while (store.get("notices", name) or {})["state"] == "waiting":
        list(notices.again(store, sink, now))
        now += 300
    assert notices.GIVE_UP <= now - NOW <= notices.GIVE_UP + 2 * 3600
    tries = len(away) - len(sink.troubles)
    assert 20 <= tries <= 40, "it pauses longer and longer, up to an hour"
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["severity"] for line in lines].count("ERROR") == 1
    assert lines[-1]["event"] == "notification"
    assert RUN in lines[-1]["message"]
    list(notices.again(store, Recorded(), now + 86_400))
    assert (store.get("notices", name) or {})["state"] == "lost"


def test_one_that_is_refused_keeps_no_other_back_and_silence_ends_the_round() -> None:
    store = MemoryStore()
    kept(store, failed("first"))
    kept(store, changed(), NOW + 1)
    refusing, silent = Recorded(Transient("HTTP status 400")), Recorded(Unanswered("Nobody."))
    list(notices.again(store, silent, NOW + 1))
    assert silent.came == []
    list(notices.again(store, refusing, NOW + 61))
    assert len(refusing.came) == 1


def test_a_round_has_a_bound() -> None:
    store, sink = MemoryStore(), Recorded()
    for number in range(notices.AT_ONCE + 5):
        (write,) = notices.about(changed(), CONSOLE, NOW)
        store.put([Put("notices", f"{number}", write.fields)])
    list(notices.again(store, sink, NOW))
    assert len(sink.came) == notices.AT_ONCE


class Counting(MemoryStore):
    """Counts the documents that questions give."""

    read = 0

    def find(self, *args: Any, **more: Any) -> Any:
        found = super().find(*args, **more)
        self.read += len(found)
        return found


def many(store: MemoryStore, number: int, since: float = NOW) -> None:
    (write,) = notices.about(changed(), CONSOLE, since)
    store.put_many("notices", {f"{since} {each}": dict(write.fields) for each in range(number)})


def test_a_round_reads_a_few_however_many_wait() -> None:
    store = Counting()
    many(store, 20_000)
    for minutes in range(5):
        list(notices.again(store, Recorded(*[Unanswered("Nobody.")] * 10), NOW + minutes * 60))
    assert store.read <= 5 * (notices.AT_ONCE + notices.GIVEN_UP_AT_ONCE)


def test_a_sink_that_does_not_answer_is_asked_less_and_less_often_whoever_waits() -> None:
    store, dead = MemoryStore(), Recorded(*[Unanswered("Nobody.")] * 1000)
    many(store, 100)
    for minutes in range(60):
        list(notices.again(store, dead, NOW + minutes * 60))
        notices.send(failed(), store, dead, NOW + minutes * 60)
    asked = 1000 - len(dead.troubles)
    assert 6 <= asked <= 12
    back = Recorded()
    for minutes in range(60, 76):
        list(notices.again(store, back, NOW + minutes * 60))
    assert len(back.came) == 100
    assert (store.get("progress", "notifications") or {})["tries"] == 0


def test_ones_that_are_refused_stand_in_nobodys_way() -> None:
    store, refusing = MemoryStore(), Recorded(*[Transient("HTTP status 400")] * notices.AT_ONCE)
    many(store, notices.AT_ONCE)
    many(store, 1, NOW + 1)
    list(notices.again(store, refusing, NOW + 2))
    list(notices.again(store, refusing, NOW + 3))
    assert len(refusing.came) == 1


def test_what_is_given_up_leaves_an_alarm_until_the_sink_takes_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    store, dead = MemoryStore(), Recorded(*[Unanswered("The sink is away.")] * 1000)
    many(store, notices.GIVEN_UP_AT_ONCE + 5)
    list(notices.again(store, dead, NOW))
    late = NOW + notices.GIVE_UP
    list(notices.again(store, dead, late))
    assert len(store.find("notices", "state", "lost")) == notices.GIVEN_UP_AT_ONCE
    list(notices.again(store, dead, late + 60))
    assert store.find("notices", "state", "waiting") == []
    ((_, alarm),) = store.find("alarms", "kind", "untold")
    assert (alarm["open"], alarm["subject"]) == (True, "notifications")
    assert alarm["message"].startswith("5 notifications were given up now")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["severity"] for line in lines].count("ERROR") == notices.GIVEN_UP_AT_ONCE + 5
    many(store, 1, late + 3000)
    list(notices.again(store, Recorded(), late + 4000))
    ((_, alarm),) = store.find("alarms", "kind", "untold")
    assert alarm["open"] is False


def test_a_slow_sink_does_not_hold_up_the_watchdog() -> None:
    """It answers just before patience ends, each time with a refusal: nothing says that it is away."""
    store, sink, clock = MemoryStore(), Recorded(), itertools.count(0.0, 9.9)
    for number in range(notices.AT_ONCE):
        (write,) = notices.about(changed(), CONSOLE, NOW)
        store.put([Put("notices", f"{number}", write.fields)])
    list(notices.again(store, sink, NOW, lambda: next(clock)))
    assert len(sink.came) == int(notices.ROUND / 9.9)
