"""A run whose command is interrupted ends as a cancelled one; the second signal waits for nothing."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from functions.ctl import interruption
from functions.ctl.ending import Desk
from functions.ctl.interruption import Heard, cancelled
from functions.ctl.lifecycle import Started
from functions.ctl.run import INTERRUPTED, Request, _Run
from functions.ctl.stored import Records
from functions.local.layout import Layout
from shared.errors import Transient
from shared.events import Event
from shared.machines import vm_name
from shared.ports.store import Put
from tests.stages.failing import silent
from tests.stages.world import WORKLOAD, World

WHY = "interrupted at the terminal by Ctrl-C"
SAID = f"The run was cancelled by ada: {WHY}."


class Taken:
    """A sink that takes everything."""

    def __init__(self) -> None:
        self.came: list[bytes] = []

    def send(self, _: object, body: bytes) -> None:
        self.came.append(body)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("LOGNAME", "ada")
    made = World(tmp_path, outer=silent, sink=Taken())
    yield made
    made.bus.close()


@pytest.fixture
def signals() -> Iterator[None]:
    """They are as they were afterwards."""
    before = {number: signal.getsignal(number) for number in interruption._WORDS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def desk(world: World, deaf: bool = False) -> Desk:
    def publish(event: Event) -> None:
        if not deaf:
            world.bus.send(event.type, event.body(), event.attributes())

    passed = iter(range(10**9))
    return Desk(Records(world.store, world.blobs), publish, lambda: float(next(passed)), lambda _: None)


def patient(world: World) -> Desk:
    made = desk(world)
    return Desk(made.stored, made.publish)


def test_it_ends_as_every_end_does(world: World) -> None:
    run_id = world.request()
    run = cancelled(patient(world), run_id, WHY, told=True)
    assert (run["state"], run["reason"]) == ("failed", SAID)
    assert (world.store.get("endings", run_id) or {})["state"] == "failed"
    assert (world.store.get("decisions", f"{run_id}-ended") or {})["reason"] == SAID
    assert (world.store.get("vms", vm_name("outer", run_id)) or {})["state"] == "ended"
    ((_, notice),) = world.store.find("notices", "data.run_id", run_id)
    assert (notice["state"], SAID in notice["data"]["sentence"]) == ("sent", True)
    assert len(cast(Taken, world.sink).came) == 1
    world.quiet()
    assert world.vms.all() == []


def test_a_run_that_has_completed_meanwhile_stays_so(world: World) -> None:
    world.outer = None
    run_id = world.request()
    assert cancelled(patient(world), run_id, WHY, told=False)["state"] == "completed"
    assert world.events("cancel-requested") == world.events("run-failed") == []


def test_a_run_of_which_nobody_has_heard_is_no_run(world: World) -> None:
    assert cancelled(desk(world), "run-000000000000", WHY, told=False) == {}
    assert world.bus.dead == []


def test_a_system_that_does_not_answer_is_waited_for_no_longer_than_said(world: World) -> None:
    run_id = world.request()
    with pytest.raises(Transient, match=f"{run_id} was asked to end, and has not in 20 s"):
        cancelled(desk(world, deaf=True), run_id, WHY, told=False)


def test_a_vm_that_does_not_go_is_waited_for_no_longer_than_said(world: World) -> None:
    run_id = world.request()
    world.store.put([Put("runs", run_id, {"state": "failed", "reason": "x"}, merge=True)])
    assert cancelled(desk(world), run_id, WHY, told=False)["reason"] == "x"


@pytest.mark.parametrize("late", ["vms", "notices"])
def test_what_an_end_brings_is_waited_for(world: World, late: str) -> None:
    run_id, name = "run-0123456789ab", vm_name("inner", "run-0123456789ab")
    waiting = {"state": "waiting", "tries": 0, "data": {"run_id": run_id}}
    world.store.put([Put("runs", run_id, {"state": "failed", "reason": "x"})])
    world.store.put([Put("vms", name, {"state": "running" if late == "vms" else "ended"})])
    world.store.put([Put("notices", "n", waiting if late == "notices" else waiting | {"tries": 1})])
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        world.store.put([Put("vms", name, {"state": "ended"}), Put("notices", "n", waiting | {"tries": 1})])

    cancelled(Desk(Records(world.store, world.blobs), lambda _: None, lambda: 0.0, sleep), run_id, WHY, True)
    assert len(slept) == 1


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("number", "words"),
    [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "hung up")],
)
def test_every_signal_says_why(number: signal.Signals, words: str) -> None:
    heard = Heard()
    for each in interruption._WORDS:
        signal.signal(each, signal.SIG_DFL)
    heard.listen()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert words in heard.why
    heard.rest()
    assert {signal.getsignal(each) for each in interruption._WORDS} == {signal.SIG_DFL}


@pytest.mark.usefixtures("signals")
def test_a_hang_up_that_was_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nohup ./dmz run
    Heard().listen()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.usefixtures("signals")
def test_what_ends_anyway_is_left_at_the_second_signal() -> None:
    heard = Heard()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    heard.listen()
    heard.ends_anyway = True
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)


class Slow:
    """A supervisor that ends when it likes."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def terminate(self) -> None:
        self.done.append("asked to end")

    def wait(self, _: float | None = None) -> None:
        self.done.append("waited for")


@pytest.mark.parametrize(
    ("signals_heard", "done"), [(0, ["asked to end", "waited for"]), (2, ["asked to end"])]
)
def test_the_second_signal_waits_for_nothing(
    tmp_path: Path, signals_heard: int, done: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    slow = Slow()
    run = _Run(Request("small", Layout(tmp_path, tmp_path), {}), Console(file=io.StringIO()), WORKLOAD, ())
    run._heard.numbers = [signal.SIGINT] * signals_heard
    run._started = Started(cast(Any, slow), tmp_path / "log")
    run._end()
    assert slow.done == done
    assert ("left at once" in capsys.readouterr().err) == (signals_heard == 2)


def test_what_was_never_requested_is_not_cancelled(tmp_path: Path) -> None:
    run = _Run(Request("small", Layout(tmp_path, tmp_path), {}), Console(file=io.StringIO()), WORKLOAD, ())
    nobody = cast(Any, SimpleNamespace(alive=True))
    assert run._cancel(nobody, nobody, nobody) == "The run was interrupted by its operator."


@pytest.mark.usefixtures("signals")
def test_a_run_gives_the_signals_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process that goes on forks would take them for its own otherwise."""
    run = _Run(Request("small", Layout(tmp_path, tmp_path), {}), Console(file=io.StringIO()), WORKLOAD, ())
    before = {number: signal.getsignal(number) for number in interruption._WORDS}
    during: list[object] = []

    def up(_: _Run, __: object) -> None:
        during.extend(signal.getsignal(number) for number in interruption._WORDS)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(_Run, "_up", up)
    assert run.watched() == INTERRUPTED
    assert during == [run._heard._hear] * len(before)
    assert {number: signal.getsignal(number) for number in interruption._WORDS} == before
