"""Data services brought up beside a run: what the user sees when that fails."""

from __future__ import annotations

import errno
import io
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from rich.console import Console

from functions.ctl.launch import Launch
from functions.ctl.run import Request, _Run
from functions.local.layout import Layout
from shared.errors import Permanent
from tests.stages.world import WORKLOAD


class Failing:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def bring_up(self, *_: Any) -> str:
        raise self._error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Permanent("The spec is gone."), "The spec is gone."),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (httpx.ConnectError("Connection refused"), "Connection refused"),
    ],
)
def test_what_goes_wrong_outside_is_no_defect(error: Exception, said: str) -> None:
    launch = Launch(["one"], False)
    launch.start(Failing(error))  # type: ignore[arg-type]
    deadline = time.monotonic() + 20
    while not launch.failure and time.monotonic() < deadline:
        time.sleep(0.01)
    assert launch.failure.startswith("The data service one could not be brought up: ")
    assert said in launch.failure


def test_a_platform_that_was_ended_is_named_before_what_follows_from_it(tmp_path: Path) -> None:
    run = _Run(Request("small", Layout(tmp_path, tmp_path), {}), Console(file=io.StringIO()), WORKLOAD, ())
    run._services = SimpleNamespace(failure="Connection refused")  # type: ignore[assignment]
    assert run._trouble(SimpleNamespace(alive=True)) == "Connection refused"  # type: ignore[arg-type]
    assert "platform was ended" in run._trouble(SimpleNamespace(alive=False))  # type: ignore[arg-type]
