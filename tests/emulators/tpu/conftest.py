"""A platform per test, which ends with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from google.cloud import tpu_v2

from shared.emulators.tpu import TpuPlatform
from tests.emulators.tpu.world import client_of, started
from tests.emulators.vm.conftest import root

__all__ = ["root"]

Start = Callable[..., TpuPlatform]


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a platform, with what its configuration shall have besides."""
    with ExitStack() as closers:

        def run(**more: Any) -> TpuPlatform:
            running = started(root, tmp_path, **more)
            closers.callback(running.close)
            return running

        yield run


@pytest.fixture
def platform(start: Start) -> TpuPlatform:
    return start()


@pytest.fixture
def client(platform: TpuPlatform) -> tpu_v2.TpuClient:
    return client_of(platform.port)
