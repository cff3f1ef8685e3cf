"""The command line over the stages of a small world."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from functions.ctl import cli
from functions.ctl.held import LocalHeld
from functions.local.layout import Layout
from functions.local.pubsub import HOLD, PubSub
from shared.dead_letters import Letter
from shared.events import DEAD_LETTERS
from shared.memory.pulled import PullSubscription
from tests.ctl.answering import answering
from tests.stages.world import World

UNKNOWN = "run-000000000000"
Dmz = Callable[..., tuple[int, str, str]]


@dataclasses.dataclass
class Place:
    world: World
    layout: Layout
    address: str

    def letters(self) -> list[Letter]:
        held = LocalHeld(PubSub(self.address, "dmz-local"))
        found = list(held.pull())
        held.release(found)
        return found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """A world with its stages, which answers where a platform that is up would."""
    (tmp_path / "world").mkdir()
    world = World(tmp_path / "world")
    world.bus.pulled[HOLD] = PullSubscription(DEAD_LETTERS)
    with answering(world, tmp_path, monkeypatch) as (layout, address):
        yield Place(world, layout, address)


@pytest.fixture
def dmz(capsys: pytest.CaptureFixture[str]) -> Dmz:
    def run(*words: str) -> tuple[int, str, str]:
        try:
            code = cli.main(list(words))
        except SystemExit as error:  # argparse's own
            code = int(error.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
