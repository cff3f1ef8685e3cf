from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
