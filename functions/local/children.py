"""The platform's processes: started together, watched, restarted, ended.

Each is the leader of a group of its own, writes to a log of its own, and is killed by the kernel when the supervisor
dies (`setpriv --pdeathsig`, prctl(2) PR_SET_PDEATHSIG). That signal follows the *thread* that started the process:
`start` and `watch` belong to the main thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from functions.local.layout import CHECKOUT
from functions.local.processes import group, kill_group
from shared.errors import Permanent
from shared.model.value import printable

_WINDOW, _DEATHS = 30.0, 5
"""A process that dies so often in so many seconds keeps dying."""
_QUOTED = 3
"""Lines of a log that a message quotes."""


@dataclass(frozen=True)
class Program:
    """Something to run."""

    name: str
    """In messages: `the Pub/Sub emulator`."""
    log: str
    command: tuple[str, ...]
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    restart: bool = True
    """False if it holds what the others need in memory: without it the platform has ended."""
    seconds: float = 180.0
    """Within which it must answer."""
    patience: float = 1.0
    """Seconds between asking it to end and ending it."""


@dataclass
class _Child:
    program: Program
    running: subprocess.Popen[bytes]
    deaths: list[float] = field(default_factory=list)
    was_ready: bool = False


class Children:
    """All programs of one platform."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        self._logs, self._environment = logs, dict(environment)
        self._children: dict[str, _Child] = {}

    def start(self, programs: Sequence[Program]) -> None:
        """Start all at once; see `wait` for when they answer."""
        for program in programs:
            (self._logs / f"{program.log}.log").unlink(missing_ok=True)
            self._children[program.log] = _Child(program, self._spawn(program))

    def wait(self, stop: threading.Event) -> None:
        """Until every program answers or `stop`; Permanent names the one that does not, and quotes its log."""
        started = time.monotonic()
        while (
            waiting := [child for child in self._children.values() if not child.was_ready]
        ) and not stop.is_set():
            for child in waiting:
                if child.running.poll() is not None:
                    raise Permanent(f"{self._ended(child)} {self._quote(child.program)}")
                child.was_ready = child.program.ready()
                if not child.was_ready and time.monotonic() - started > child.program.seconds:
                    raise Permanent(
                        f"{_capital(child.program.name)} did not answer within {child.program.seconds:.0f} s. "
                        f"{self._quote(child.program)}"
                    )
            time.sleep(0.02)

    def watch(self) -> dict[str, str]:
        """Restart what died, and say how each did; Permanent for what keeps dying or cannot be restarted.

        Call it often.
        """
        restarted = {}
        for child in self._children.values():
            if child.running.poll() is None:
                continue
            # What it started has lost its parent: a half-dead group would keep the port.
            kill_group(child.running.pid)
            now = time.monotonic()
            child.deaths = [when for when in child.deaths if now - when < _WINDOW] + [now]
            if not child.program.restart:
                raise Permanent(
                    f"{self._ended(child)} What it held in memory is lost, so the platform ends, and its runs "
                    f"with it: run the workload again. {self._quote(child.program)}"
                )
            if len(child.deaths) >= _DEATHS:
                raise Permanent(
                    f"{self._ended(child)} That was {len(child.deaths)} times in {_WINDOW:.0f} s, so the platform "
                    f"ends. {self._quote(child.program)}"
                )
            restarted[child.program.log] = self._ended(child)
            child.running = self._spawn(child.program)
        return restarted

    def pids(self) -> dict[str, int]:
        """Log name to the pid of the group's leader."""
        return {name: child.running.pid for name, child in self._children.items()}

    def stop(self) -> None:
        """End everything, the longest patience first; returns when no process is left."""
        for child in self._children.values():
            # The leader alone: what it has started to clean up with must not end before its work is done.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.running.pid, signal.SIGTERM)
        started = time.monotonic()
        for child in sorted(self._children.values(), key=lambda child: child.program.patience):
            left = max(0.0, started + child.program.patience - time.monotonic())
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.running.wait(left)
            kill_group(child.running.pid)
            child.running.wait()
        while any(group(child.running.pid) for child in self._children.values()):
            time.sleep(0.01)
        self._children.clear()

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        with (self._logs / f"{program.log}.log").open("ab") as log:
            return subprocess.Popen(
                ("setpriv", "--pdeathsig", "KILL", *program.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=CHECKOUT,
                env=self._environment | dict(program.environment),
                start_new_session=True,
            )

    def _ended(self, child: _Child) -> str:
        code = child.running.returncode
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{_capital(child.program.name)} {how}."

    def _quote(self, program: Program) -> str:
        path = self._logs / f"{program.log}.log"
        lines = (
            [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
            if path.exists()
            else []
        )
        quoted = " | ".join(printable(line.strip(), 300) for line in lines[-_QUOTED:]) or "(nothing)"
        return f"Its log {path} ends: {quoted}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
