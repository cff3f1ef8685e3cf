"""The emulators of the tests: gone with the session, and missed loudly."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shared.errors import Permanent
from tests.support.emulators import emulator

ROOT = Path(__file__).parents[2]


def test_an_emulator_dies_with_a_session_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import os, pathlib, signal
from tests.support.emulators import emulator
with emulator("pubsub", pathlib.Path({str(tmp_path)!r})) as address:
    print(address, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    port = int(done.stdout.strip().rpartition(":")[2])
    deadline = time.monotonic() + 10
    while _listening(port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _listening(port)


def _listening(port: int) -> bool:
    """Whether /proc/net/tcp or tcp6 knows a socket in state LISTEN (0A) on the port."""
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in lines)


def test_a_missing_emulator_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDSDK_ROOT", str(tmp_path))
    with (
        pytest.raises(Permanent, match="install google-cloud-cli-pubsub-emulator"),
        emulator("pubsub", tmp_path),
    ):
        pass


def test_a_missing_emulator_fails_the_tests_that_need_it(tmp_path: Path) -> None:
    test = "tests/contract/test_bus.py::test_a_dead_letter_without_a_body_is_kept[emulator]"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=ROOT,
        env=os.environ | {"CLOUDSDK_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 1
    assert "install google-cloud-cli-pubsub-emulator" in done.stdout
    assert "skipped" not in done.stdout
