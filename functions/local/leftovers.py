"""Removal of what a supervisor that was killed has left.

Every process of a platform carries the state directory in its environment, and passes it to what it starts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from functions.local import docker
from functions.local.layout import Layout
from functions.local.processes import Process, end, process
from shared.errors import Permanent

MARK = "DMZ_PLATFORM_STATE"
"""Environment variable of the platform's processes: the state directory they belong to."""

_RESOLVER_CACHE = "package-dmz-resolver"
"""Among the stages' temporary files: index pages that the next resolution need not fetch again."""


def processes(home: Path) -> list[Process]:
    """Every living process, but this one, that belongs to the platform in `home`."""
    wanted = f"{MARK}={home}".encode()
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        if pid == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue  # gone, or another user's
        if wanted in environment.split(b"\0") and (one := process(pid)) and one.alive:
            found.append(one)
    return found


def mounts(home: Path) -> list[str]:
    """Mount points below `home`, the innermost first (proc_pid_mountinfo(5): field 5, octal escapes)."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if Path(point).is_relative_to(home) and Path(point) != home:
            found.append(point)
    return sorted(found, key=len, reverse=True)


def remove(layout: Layout) -> None:
    """Called with the lock held: whatever is found has no supervisor any more."""
    if stubborn := end(processes(layout.home), patience=0.5):
        pids = ", ".join(str(one.pid) for one in stubborn)
        raise Permanent(f"Processes of an earlier platform do not end: {pids}. End them, then try again.")
    docker.remove(layout)
    for point in mounts(layout.home):
        subprocess.run(("umount", "--lazy", point), check=False, capture_output=True)
    for entry in layout.scratch.iterdir() if layout.scratch.is_dir() else ():
        if entry.name != _RESOLVER_CACHE:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink()
    for entry in layout.journal.iterdir() if layout.journal.is_dir() else ():
        entry.unlink()  # the records that tell what of it is done are gone
    layout.platform.unlink(missing_ok=True)
