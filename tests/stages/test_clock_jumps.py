"""Clocks that jump by an hour at any moment, forth or back: the run ends as ever, and nobody waits for the hour."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.stages.faults import Death, Fuse
from tests.stages.test_run import outcome
from tests.stages.world import World

LEASE = 0.4
HOUR = 3600.0
_DURING = 12
"""Calls of ports until the clock is right again."""


class Jump:
    """Passes calls on, and moves the world's clock at the one numbered `at`, for a while."""

    def __init__(self, at: int, seconds: float) -> None:
        self._at, self._seconds = at, seconds
        self._guard = threading.Lock()
        self.world: World | None = None
        self.calls = 0

    def through(self, _name: str, port: Any) -> Any:
        return _Watched(port, self)

    def called(self) -> None:
        with self._guard:
            self.calls += 1
            if self.world and self.calls in (self._at, self._at + _DURING):
                self.world.ahead = self._seconds if self.calls == self._at else 0.0


class _Watched:
    def __init__(self, port: Any, jump: Jump) -> None:
        self._port, self._jump = port, jump

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._port, method)
        if not callable(found) or method == "renew":  # the lease's own thread calls it when it likes
            return found

        def call(*given: Any, **named: Any) -> Any:
            self._jump.called()
            return found(*given, **named)

        return call


def played(tmp: Path, at: int, seconds: float) -> tuple[dict[str, Any], int]:
    tmp.mkdir()
    jump = Jump(at, seconds)
    world = World(tmp, lease=LEASE, through=jump.through)
    jump.world = world
    run_id = world.request()
    world.bus.close()
    return outcome(world, run_id), jump.calls


@pytest.mark.parametrize("seconds", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_a_jump_at_any_moment(tmp_path: Path, seconds: float) -> None:
    expected, calls = played(tmp_path / "plain", 0, 0)
    assert expected["state"] == "completed"
    assert calls > 10 * _DURING

    def with_jump_at(number: int) -> str:
        found, _ = played(tmp_path / str(number), number, seconds)
        wrong = {key: value for key, value in found.items() if value != expected[key]}
        return f"{number}: {wrong}" if wrong else ""

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(with_jump_at, range(1, calls, 2 * _DURING)))
    assert [wrong for wrong in found if wrong] == []


@pytest.mark.parametrize("number", [1, 4, 9])
def test_who_dies_while_his_clock_is_ahead_keeps_nobody_waiting_for_an_hour(
    tmp_path: Path, number: int
) -> None:
    """His claim would hold until then: every delivery would wait, and the event be given up."""
    fuse = Fuse(number)
    world = World(tmp_path, lease=LEASE, through=fuse.through)
    world.ahead = HOUR
    began, receive, turns = time.monotonic(), world._receive, itertools.count()

    def corrected(desk: Any, delivery: Any) -> bool:
        try:
            return receive(desk, delivery)
        except Death:
            next(turns)
            world.ahead = 0.0
            raise

    world._receive = corrected  # type: ignore[method-assign]
    for desk in world.desks.values():
        world.bus.subscribe(desk.stage, lambda delivery, desk=desk: corrected(desk, delivery))  # type: ignore[misc]
    run_id = world.request()
    world.bus.close()
    assert next(turns) == 1, "nobody died"
    assert outcome(world, run_id)["state"] == "completed"
    assert time.monotonic() - began < HOUR / 2
