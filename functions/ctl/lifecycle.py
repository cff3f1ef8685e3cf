"""Starts and ends the local platform."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from functions.local import platform
from functions.local.__main__ import KEEP
from functions.local.layout import CHECKOUT, Layout
from functions.local.platform import Platform
from functions.local.processes import Process, end
from shared.errors import Permanent
from shared.model.value import printable

_STOP_SECONDS = 30.0
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Started:
    """A supervisor that this process started. It ends when this process does, however that happens."""

    running: subprocess.Popen[bytes]
    log: Path

    def failure(self) -> str:
        """Why the platform has ended by itself; empty while it is up."""
        return _last_line(self.log) if self.running.poll() is not None else ""

    def let_go(self) -> None:
        """It stays up from now on."""
        assert self.running.stdin  # noqa: S101 - it was started with a pipe
        with contextlib.suppress(BrokenPipeError):
            self.running.stdin.write(KEEP)
            self.running.stdin.close()

    def stop(self, wait: bool = True) -> None:
        """Ends it, and returns when nothing of it is left; without `wait` at once."""
        self.running.terminate()
        if not wait:
            return
        try:
            self.running.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()


def start(
    layout: Layout, environment: Mapping[str, str], broker: str = "auto", functions: Path | None = None
) -> Started:
    """Start a supervisor in a session of its own: Ctrl-C is for the command line, which ends things in order.

    `functions`: where the stages' sources stand, if not in this checkout.
    """
    layout.prepare()
    if listed := environment.get("DMZ_PRICES"):
        # The supervisor starts in another directory.
        environment = {**environment, "DMZ_PRICES": os.fspath(Path(listed).absolute())}
    log = layout.logs / "supervisor.log"
    command = [sys.executable, "-P", "-m", "functions.local", "--leash", "--broker", broker]
    command += ["--functions", os.fspath(functions)] if functions else []
    with log.open("wb") as output:
        running = subprocess.Popen(
            (*command, "--state", os.fspath(layout.home)),
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=CHECKOUT,
            env={**environment, "PYTHONPATH": os.fspath(CHECKOUT), "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    return Started(running, log)


def wait_until_up(layout: Layout, started: Started, progress: Progress) -> Platform:
    """The platform once everything answers; Permanent with the supervisor's own sentence if it never does."""
    image_log = layout.logs / "tpu.log"
    while not (up := platform.read(layout.platform)):
        if failure := started.failure():
            raise Permanent(failure)
        said = _last_line(image_log, "")
        progress(said if " " in said else "starting")  # before it has words, its log holds a port
        time.sleep(0.05)
    return up


def down(layout: Layout) -> bool:
    """End the platform of this state directory, and what a killed one has left. False if there was nothing."""
    up = platform.read(layout.platform) if layout.home.is_dir() else None
    if up:
        supervisor = Process(up.pid, up.started)
        if end([supervisor], _STOP_SECONDS):
            raise Permanent(f"The platform (process {up.pid}) does not end; end it with kill -9 {up.pid}.")
        return True
    return layout.home.is_dir() and _sweep(layout)


def _sweep(layout: Layout) -> bool:
    from functions.local import leftovers
    from functions.local.supervisor import alone

    with alone(layout):
        found = bool(leftovers.processes(layout.home) or leftovers.mounts(layout.home))
        leftovers.remove(layout)
        return found


def _last_line(log: Path, fallback: str = "The platform ended without a word.") -> str:
    try:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return fallback
    return printable(lines[-1].strip(), 2000) if lines else fallback
