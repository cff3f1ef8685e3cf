"""Pauses that are noted and not taken."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from shared import patience


def noted(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every pause between two attempts from now on, in seconds."""
    pauses: list[float] = []
    monkeypatch.setattr(patience, "time", SimpleNamespace(sleep=pauses.append, time=time.time))
    return pauses
