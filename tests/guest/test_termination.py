"""A VM that is being stopped still tells why, and leaves no command running."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_GUEST = """
import json, signal, sys, threading, time
from shared.guest import main, outer, process
from shared.guest.console import Console
from shared.guest.metadata import Metadata
from tests.guest.parts import config

def install(config, metadata, console, seconds):
    slow = float(sys.argv[2])
    start = threading.Thread.start
    threading.Thread.start = lambda thread: (start(thread), time.sleep(slow))
    process.check(["sh", "-c", "echo started; sleep 60; touch " + sys.argv[1]], process.BASE, console.line)

outer.run = install
signal.signal(signal.SIGTERM, main._terminate)
payload = main.perform(config(), Metadata("http://127.0.0.1:9"), Console())
print("PAYLOAD", json.dumps(payload))
"""


@pytest.mark.parametrize("slow", [0, 1], ids=["while the command runs", "before its output is waited for"])
def test_a_stopped_vm_reports_its_last_lines(tmp_path: Path, slow: int) -> None:
    argv = [sys.executable, "-u", "-c", _GUEST, str(tmp_path / "mark"), str(slow)]
    with subprocess.Popen(argv, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as guest:
        assert guest.stdout is not None
        for line in guest.stdout:
            if line.strip() == "started":
                guest.send_signal(signal.SIGTERM)
                break
        rest = guest.stdout.read()
    payload = json.loads(rest.partition("PAYLOAD ")[2])
    assert payload["state"] == "failed"
    assert payload["claim"] is None
    assert payload["tail"].splitlines()[-2:][0] == "started"
    assert "was stopped before the install had ended" in payload["tail"]
    # A killed child of the shell is not ours to wait for: it is given the moment that its end takes.
    deadline = time.monotonic() + 20
    while (running := _running(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running == ""


def _running(mark: Path) -> str:
    argv = ["pgrep", "-f", f"touch {mark}"]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
