"""SIGKILL of the supervisor: everything goes with it, and the next platform in the same place comes up and works."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from functions.local import leftovers
from shared.emulators.vm import record
from shared.errors import DmzError
from tests.chain.system import REPOSITORIES

if TYPE_CHECKING:
    from tests.faults.kit import Kit, Round

_GONE = 60.0
"""Seconds in which the kernel has ended whatever hung on the supervisor."""
_NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")


def fall(kit: Kit, round_: Round, after: float) -> list[str]:
    """What is wrong after it; without anything, the round's runs are requested anew, of the platform that is up then.

    1. No process is left, no mount, no namespace, no VM.
    2. The platform comes up in the same place, with no temporary file and no half of an upload.
    3. What the registry holds is still there. How it came in has gone with the store: that is forgiven from now on.
    """
    time.sleep(after)
    kit.end_echo()
    home, machines = kit.system.layout.home, kit.system.layout.machines
    before = {(repository, name) for repository, name, _ in _held(kit)}
    namespaces = _namespaces(home)
    os.kill(kit.system.started.running.pid, signal.SIGKILL)
    for stage in list(kit.twins):
        kit.end_twin(stage)
    kit.system.started.running.wait()
    deadline = time.monotonic() + _GONE
    while left := _left(home, machines, namespaces):  # 1
        if time.monotonic() > deadline:
            leftovers.remove(kit.system.layout)
            return [f"The supervisor was killed, and {_GONE:.0f} s later there is still {left}."]
        time.sleep(0.1)
    try:
        kit.up()  # 2
    except (DmzError, AssertionError) as error:
        return [f"The supervisor was killed, and no platform comes up in its place: {error}"]
    held = list(_held(kit))
    kit.forgiven |= {(repository, content) for repository, _, content in held}  # 3
    wrong = [
        f"{each} of the platform that was killed is left."
        for each in sorted(kit.staged() | kit.scratch_files())
    ]
    if lost := before - {(repository, name) for repository, name, _ in held}:
        wrong.append(f"The registry has lost {sorted(lost)} with the supervisor.")
    round_.runs = [kit.request(round_, f"{run_id}-again") for run_id in round_.asked]
    return wrong


def _held(kit: Kit) -> list[tuple[str, str, str]]:
    """Repository, name and hash of each file."""
    return [(one, *kit.content(one, file)) for one in REPOSITORIES for file in kit.system.files(one)]


def _left(home: Path, machines: Path, namespaces: set[str]) -> str:
    """What of a platform is still there, in words."""
    if processes := leftovers.processes(home):
        return f"process {', '.join(_told(one.pid) for one in processes)}"
    if guests := record.guests(machines):
        return f"VM {', '.join(guests)}"
    if mounts := leftovers.mounts(home):
        return f"mount {', '.join(mounts)}"
    if inside := [pid for pid in _pids() if _spaces(pid) & namespaces]:
        return f"in one of its namespaces process {', '.join(map(_told, inside))}"
    return ""


def _namespaces(home: Path) -> set[str]:
    """Those of the platform's processes that are not this process's own."""
    found: set[str] = set()
    for one in leftovers.processes(home):
        found |= _spaces(one.pid)
    return found - _spaces(os.getpid())


def _spaces(pid: int) -> set[str]:
    found = set()
    for name in _NAMESPACES:
        with contextlib.suppress(OSError):
            found.add(os.fspath(Path(f"/proc/{pid}/ns/{name}").readlink()))
    return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _told(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        words = ""
    return f"{pid} ({words[:80].strip()})"
