"""A resolver that falls over when a relock is searched, and what was recorded of evictions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.stages.refreshing import standing
from tests.stages.world import World


class Broken:
    """A resolver that fails once `how` is set."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.how: Callable[[], None] = lambda: None
        self.calls = 0

    def resolve(self, *given: Any, **named: Any) -> Any:
        self.calls += 1
        self.how()
        return self._port.resolve(*given, **named)


@pytest.fixture
def broken(make: Callable[..., World]) -> tuple[World, Broken]:
    """A world in which one workload has been installed, with a replacement of tool 1.0; its resolver can fail."""
    made: list[Broken] = []

    def through(name: str, port: Any) -> Any:
        if name != "resolver":
            return port
        made.append(Broken(port))
        return made[0]

    world = make(through=through, lease=0.3)
    assert world.run(world.request())["state"] == "completed"
    world.market.wheel("tool", "1.1")
    return world, made[0]


def raising(error: BaseException) -> Callable[[], None]:
    def raises() -> None:
        raise error

    return raises


def recorded(world: World, purl: str) -> list[str]:
    """States of the package's evictions; it is checked that record, standing and log say the same."""
    found = [fields for _, fields in world.store.find("evictions", "purl", purl)]
    if all(each["state"] == "gone" for each in found):
        assert standing(world, purl)["evicted"]
        logged = [each for _, each in world.store.find("decisions", "subject", purl)]
        assert sum(each["kind"] == "eviction" for each in logged) == len(found)
    return [str(each["state"]) for each in found]
