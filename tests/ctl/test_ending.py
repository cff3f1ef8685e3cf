"""A run that is interrupted or killed while its VM installs: no process, mount, or VM is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.local import leftovers
from functions.local.layout import CHECKOUT
from tests.stages.noticing import Server, answering

WORKLOAD = """
name: endless
runtime_version: tpu-ubuntu2204-base
accelerator_type: v5litepod-1
install: sleep 6173
smoke: "true"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "endless.yaml").write_text(WORKLOAD)
    return tmp_path / "state of it"


@pytest.fixture
def sink() -> Iterator[Server]:
    """Who is told."""
    made = Server(answering(204))
    yield made
    made.close()


def running(home: Path, number: int = 1, **more: str) -> subprocess.Popen[str]:
    """A run whose outer VM is in its install script, the `number`th on its platform."""
    words = (
        "run",
        os.fspath(home.parent / "endless.yaml"),
        "--report",
        os.fspath(home.parent / ("report.json" if number == 1 else f"report-{number}.json")),
    )
    started = subprocess.Popen(
        (sys.executable, "-P", "-m", "functions.ctl", *words),
        env=os.environ | {"PYTHONPATH": os.fspath(CHECKOUT), "DMZ_HOME": os.fspath(home)} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 900
    while (
        sum("install script" in log.read_text(errors="replace") for log in home.glob("vms/vms/*/serial.log"))
        < number
    ):
        if started.poll() is not None:
            raise AssertionError(started.communicate()[0])
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return started


def left(home: Path) -> list[object]:
    """What would be left behind. A VM's guest hides its environment; its files name it."""
    guests = [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and (entry / "cmdline").exists() and b"sleep\x006173" in _cmdline(entry)
    ]
    return [*leftovers.processes(home), *leftovers.mounts(home), *guests]


def _cmdline(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_ctrl_c_cancels_ends_everything_and_still_reports(home: Path, sink: Server) -> None:
    """And a run on a platform that goes on, by SIGTERM: only its own VM goes."""
    started = running(home, DMZ_NOTIFY=sink.url)
    assert left(home)
    (first,) = (path.name for path in home.glob("vms/vms/*"))
    second = running(home, 2)
    os.kill(second.pid, signal.SIGTERM)
    said = second.communicate(timeout=60)[0]
    assert second.returncode == 130, said
    assert re.search("The run was cancelled by .*: the command that followed it was ended by SIGTERM", said)
    assert [path.name for path in home.glob("vms/vms/*")] == [first]
    assert started.poll() is None
    os.killpg(started.pid, signal.SIGINT)  # a terminal sends it to the whole foreground group
    output = started.communicate(timeout=60)[0]
    assert started.returncode == 130, output
    assert "Traceback" not in output + said
    why = re.search("The run was cancelled by .*: interrupted at the terminal by Ctrl-C", output)
    assert why, output
    assert left(home) == []
    assert list(home.glob("vms/vms/*")) == []
    written = json.loads((home.parent / "report.json").read_text())
    assert (written["state"], written["stages"]["scanner"]) == ("failed", None)
    told = [json.loads(body) for _, _, body in sink.came]
    assert [each["event"] for each in told] == ["run-failed", "run-failed"]
    assert (told[1]["run_id"], why[0] in told[1]["sentence"]) == (written["run_id"], True)


@pytest.mark.parametrize("both", [False, True], ids=["the first alone", "both at once"])
def test_a_run_whose_platform_another_takes_down_ends_at_once(home: Path, both: bool) -> None:
    first = running(home)
    second = running(home, 2)
    os.killpg(first.pid, signal.SIGINT)
    if both:
        os.killpg(second.pid, signal.SIGINT)
    outputs = [one.communicate(timeout=60)[0] for one in (first, second)]
    assert first.returncode == 130, outputs[0]
    assert second.returncode == (130 if both else 1), outputs[1]
    assert "Traceback" not in "".join(outputs)
    # Whose cancellation is handled before the platform has gone, nobody knows.
    cancelled = "was (cancelled by .*Ctrl-C|interrupted by its operator)"
    why = cancelled if both else "The platform was ended while the run was under way"
    assert re.search(why, outputs[1])
    written = json.loads((home.parent / "report-2.json").read_text())
    assert (written["state"], bool(re.search(why, written["reason"]))) == ("failed", True)
    assert left(home) == []


def test_a_killed_command_line_takes_the_platform_with_it(home: Path) -> None:
    started = running(home)
    os.kill(started.pid, signal.SIGKILL)
    started.communicate()
    deadline = time.monotonic() + 30
    while left(home):
        assert time.monotonic() < deadline, left(home)
        time.sleep(0.1)
    assert not (home / "platform.json").exists()
