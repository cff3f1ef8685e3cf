"""Processes of this machine as /proc shows them (https://man7.org/linux/man-pages/man5/proc.5.html)."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_STATE, _GROUP, _START = 0, 2, 19
"""Fields of /proc/PID/stat after the command: state (3), pgrp (5), starttime (22)."""


@dataclass(frozen=True)
class Process:
    """A process that cannot be taken for another: pids are used again, a pid with its start time is not."""

    pid: int
    started: int
    """Clock ticks since boot."""

    @property
    def alive(self) -> bool:
        fields = _stat(self.pid)
        return bool(fields) and fields[_STATE] not in "ZX" and int(fields[_START]) == self.started


def process(pid: int) -> Process | None:
    """The process that has this pid now."""
    fields = _stat(pid)
    return Process(pid, int(fields[_START])) if fields else None


def kill_group(leader: int) -> None:
    """SIGKILL to every process of the group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def group(leader: int) -> list[Process]:
    """The living processes of a group; its leader may be gone."""
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        fields = _stat(pid)
        if fields and int(fields[_GROUP]) == leader and fields[_STATE] not in "ZX":
            found.append(Process(pid, int(fields[_START])))
    return found


def end(processes: Iterable[Process], patience: float) -> list[Process]:
    """SIGTERM, then SIGKILL after `patience` seconds; the processes that are still there after that."""
    left = [one for one in processes if _signal(one, signal.SIGTERM)]
    left = _wait(left, patience)
    left = [one for one in left if _signal(one, signal.SIGKILL)]
    return _wait(left, 5.0)


def _wait(processes: list[Process], seconds: float) -> list[Process]:
    deadline = time.monotonic() + seconds
    while (left := [one for one in processes if one.alive]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _signal(one: Process, number: signal.Signals) -> bool:
    if not one.alive:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(one.pid, number)
    return True


def _stat(pid: int) -> list[str]:
    try:
        content = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    # The command stands in parentheses and may itself hold spaces and parentheses.
    return content.rpartition(")")[2].split()
