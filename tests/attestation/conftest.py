from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attestation.world import Attested


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Attested]]:
    """Worlds, closed at the end."""
    worlds: list[Attested] = []

    def made(**options: Any) -> Attested:
        tmp = tmp_path / str(len(worlds))
        tmp.mkdir()
        worlds.append(Attested(tmp, **options))
        return worlds[-1]

    yield made
    for world in worlds:
        world.bus.close()


@pytest.fixture
def world(make: Callable[..., Attested]) -> Attested:
    return make()
