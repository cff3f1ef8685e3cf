"""A fresh registry for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.emulators.registry.openpgp import SigningKey
from tests.emulators.registry.support import Process, Registry, in_process


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signing") / "signing-key.json"
    SigningKey.load(path, "test")
    return path


@pytest.fixture
def registry(tmp_path: Path, signing_key: Path) -> Iterator[Registry]:
    with in_process(tmp_path, signing_key) as running:
        yield running


@pytest.fixture
def process(tmp_path: Path, signing_key: Path) -> Iterator[Process]:
    state = tmp_path / "state"
    state.mkdir()
    (state / "signing-key.json").write_bytes(signing_key.read_bytes())
    running = Process(tmp_path)
    yield running
    running.end()
