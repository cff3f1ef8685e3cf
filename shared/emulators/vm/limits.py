"""Memory and process limits of a VM: a cgroup where this process may make one (version 2, or 1), rlimits otherwise."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shared.emulators.vm.spec import Limits

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "package-dmz-"


@dataclass(frozen=True)
class Group:
    """The cgroup directories of one VM; none means that rlimits hold it."""

    directories: tuple[Path, ...]

    def add(self, pid: int) -> None:
        for directory in self.directories:
            (directory / "cgroup.procs").write_text(str(pid), encoding="ascii")

    def remove(self) -> None:
        """Once the VM's processes are gone."""
        for directory in self.directories:
            with suppress(OSError):
                directory.rmdir()


def create(name: str, limits: Limits) -> Group:
    """A cgroup named after the VM `name`; an empty Group where the kernel does not let this user make one."""
    unified = (_ROOT / "cgroup.controllers").exists()
    wanted = (
        {_ROOT: {"memory.max": limits.memory, "pids.max": limits.processes}}
        if unified
        else {
            _ROOT / "memory": {"memory.limit_in_bytes": limits.memory},
            _ROOT / "pids": {"pids.max": limits.processes},
        }
    )
    made: list[Path] = []
    try:
        for parent, values in wanted.items():
            directory = parent / f"{_PREFIX}{os.getpid()}-{name}"
            directory.mkdir(exist_ok=True)
            made.append(directory)
            for file, value in values.items():
                (directory / file).write_text(str(value), encoding="ascii")
    except OSError:
        Group(tuple(made)).remove()
        return Group(())
    return Group(tuple(made))


def rlimits(group: Group, limits: Limits) -> dict[str, int]:
    """What setrlimit(2) adds: no core files ever; where there is no cgroup, data per process and processes."""
    values = {"RLIMIT_CORE": 0}
    if not group.directories:
        values |= {"RLIMIT_DATA": limits.memory, "RLIMIT_NPROC": limits.processes}
    return values


def prune() -> None:
    """Remove the empty groups of engines that are gone, also of those whose records went with their directory."""
    for directory in (
        path for parent in (_ROOT, _ROOT / "memory", _ROOT / "pids") for path in parent.glob(f"{_PREFIX}*")
    ):
        engine = directory.name.removeprefix(_PREFIX).split("-")[0]
        if not Path("/proc", engine).exists():
            Group((directory,)).remove()


def leftovers(directories: list[str]) -> Group:
    """A killed predecessor's group, from its record; only directories that this module can have made."""
    paths = (Path(directory) for directory in directories)
    return Group(
        tuple(path for path in paths if path.is_relative_to(_ROOT) and path.name.startswith(_PREFIX))
    )
