"""Fixtures: a world of packages and a platform that lives in it, shared by the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.local import leftovers
from tests.chain.system import System
from tests.chain.world import World
from tests.upstream.conftest import make_signer, stop_agent

_SECONDS = 2400
"""After which a test here hangs: each waits several times as long as patience lasts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(_SECONDS))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    signer = make_signer(tmp_path_factory.mktemp("keys") / "archive")
    made = World(tmp_path_factory.mktemp("world"), signer)
    yield made
    made.close()
    stop_agent(signer)


@pytest.fixture(scope="module")
def system(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    made = System.start(tmp_path_factory.mktemp("platform") / "state", world)
    yield made
    made.stop()
    assert leftovers.processes(made.layout.home) == []
