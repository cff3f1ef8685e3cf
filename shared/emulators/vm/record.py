"""What a VM leaves on disk beside its files, so that the next start can clean up after a kill: `state/vms/NAME/`.

record.json (processes by id and start time, cgroup directories), pid (the guest's first process, as the host counts),
serial.log, upper/ and work/ (overlayfs), root/ (where it is mounted, in the VM's own mount namespace only).
"""

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared.emulators.vm import idmap, limits
from shared.errors import Transient

RECORD, PID, SERIAL_LOG = "record.json", "pid", "serial.log"
_MAPPED = ("upper", "work", "root")
_MOUNT_POINTS = ("dev", "proc", "run", ".old-root")
_END_SECONDS = 5.0


def make(directory: Path) -> None:
    """A fresh VM directory. FileExistsError if there is one."""
    directory.mkdir(parents=True)
    directory.chmod(0o755)  # whatever our umask: the guest's ids must get through
    for name in _MAPPED:
        (directory / name).mkdir()
        (directory / name).chmod(0o755)
        idmap.own(directory / name)


def write(directory: Path, pids: list[int], group: limits.Group) -> None:
    content = {
        "processes": [[pid, start_time(pid)] for pid in pids],
        "cgroups": [str(path) for path in group.directories],
    }
    partial = directory / f".{RECORD}"
    partial.write_text(json.dumps(content), encoding="utf-8")
    partial.rename(directory / RECORD)


def start_time(pid: int) -> int | None:
    """Clock ticks from boot to the start of process `pid`; None if there is none. proc_pid_stat(5), field 22."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
        )
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def guests(state: Path) -> dict[str, int]:
    """Names of the VMs below `state` that run now, with the first process of each as the host counts."""
    found = {}
    for path in (state / "vms").glob(f"*/{PID}"):
        with suppress(OSError, ValueError):  # deleted while we look
            pid = int(path.read_text(encoding="ascii"))
            started = dict(_read(path.parent / RECORD).get("processes", [])).get(pid)
            if started is not None and start_time(pid) == started:
                found[path.parent.name] = pid
    return found


def remove(directory: Path) -> None:
    """Delete a VM's files, the guest's own with the guest's rights: links in them lead nowhere else."""
    for name in _MAPPED:
        if (directory / name).is_dir():
            idmap.run_mapped(["find", ".", "-mindepth", "1", "-delete"], directory / name)
    shutil.rmtree(directory)


def renew(directory: Path) -> None:
    """Make a stopped VM's disk ready for another boot. Gone: overlayfs's own notes (it mounts a `volatile` work
    directory once) and what stands where mounts are made while the host is in sight: a link there is the guest's."""
    idmap.run_mapped(["find", ".", "-mindepth", "1", "-delete"], directory / "work")
    idmap.run_mapped(["rm", "-rf", "--", *_MOUNT_POINTS], directory / "upper")


def sweep(state: Path) -> list[str]:
    """End and remove what a killed predecessor left below `state`; the names of its VMs."""
    swept = []
    vms = state / "vms"
    for directory in sorted(vms.iterdir()) if vms.is_dir() else ():
        record = _read(directory / RECORD)
        for pid, started in record.get("processes", []):
            _end(int(pid), started)
        limits.leftovers(record.get("cgroups", [])).remove()
        remove(directory)
        swept.append(directory.name)
    return swept


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # killed before the record was written: then nothing had been started
        return {}
    return content


def _end(pid: int, started: int | None) -> None:
    """SIGKILL, if `pid` is still the process that was recorded and not a later one with the same id."""
    deadline = time.monotonic() + _END_SECONDS
    while started is not None and start_time(pid) == started:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise Transient(f"Process {pid} of an earlier run does not end; end it by hand and start again.")
        time.sleep(0.02)
