"""The project that is rebuilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.provenance.world import World, made


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DMZ_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("DMZ_DEBUG", raising=False)
    return made(tmp_path)
