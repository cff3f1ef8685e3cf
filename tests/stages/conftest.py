from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.model.case import Facts
from tests.stages.refreshing import cooling
from tests.stages.world import World


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Worlds, closed at the end."""
    worlds: list[World] = []

    def made(**options: Any) -> World:
        tmp = tmp_path / str(len(worlds))
        tmp.mkdir()
        worlds.append(World(tmp, **options))
        return worlds[-1]

    yield made
    for world in worlds:
        world.bus.close()


@pytest.fixture
def world(make: Callable[..., World]) -> World:
    return make()


@pytest.fixture
def held(world: World) -> World:
    """A world in which one workload has been installed."""
    assert world.run(world.request())["state"] == "completed"
    return world


@pytest.fixture
def waiting(world: World) -> World:
    """A world in which tool 1.0 was uploaded a day ago, has no older version, and must wait for three."""
    yesterday = datetime.fromtimestamp(world.clock() - 86_400, UTC).isoformat().replace("+00:00", "Z")
    world.market.said["tool", "1.0"] = Facts(uploaded=yesterday, licences=("MIT",))
    cooling(world, 3)
    world.market.flaws.clear()  # nothing else stands in its way
    return world
