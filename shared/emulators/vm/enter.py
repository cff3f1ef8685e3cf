"""Runs a command inside a running VM, held to what the guest is held to: `python -m shared.emulators.vm.enter PID …`.

Joins the namespaces (setns(2)) and the cgroup of the guest's first process and takes over its limits and its
environment. On a terminal it works through a pseudo-terminal of its own: the guest never holds the operator's.
"""

import os
import pty
import resource
import signal
import sys
from pathlib import Path

from shared.emulators.vm import confine, syscalls
from shared.emulators.vm.syscalls import Namespace

_KINDS = {
    "user": Namespace.USER,
    "net": Namespace.NET,
    "mnt": Namespace.MOUNT,
    "ipc": Namespace.IPC,
    "uts": Namespace.UTS,
    "cgroup": Namespace.CGROUP,
    "pid": Namespace.PID,
}
_LIMITS = ("RLIMIT_CORE", "RLIMIT_DATA", "RLIMIT_NPROC")
SHELL = ("/bin/bash", "-i")


def main() -> int:
    pid, *command = sys.argv[1:]
    if sys.stdin.isatty() and "INSIDE_PTY" not in os.environ:
        os.environ["INSIDE_PTY"] = "1"
        return _code(pty.spawn([sys.executable, "-S", "-m", __spec__.name, *sys.argv[1:]]))
    try:
        environment = _join(pid)
    except OSError as error:
        here = Path(f"/proc/{pid}").exists()
        why = f"the operating system refused: {error.strerror}" if here else f"its process {pid} is gone"
        sys.stderr.write(f"The VM cannot be entered: {why}. See ./dmz status for what runs.\n")
        return 1
    child = os.fork()  # only a child is in the process namespace
    if child == 0:
        _become_guest(command or list(SHELL), environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command
    _, status = os.waitpid(child, 0)
    return _code(status)


def _code(status: int) -> int:
    """As a shell has it: 128 and the signal's number for a command that a signal ended."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _join(pid: str) -> dict[str, str]:
    """Become one of the guest's processes but for the process namespace and the user; the guest's environment."""
    _join_cgroups(Path(f"/proc/{pid}/cgroup"))
    for name in _LIMITS:  # before the namespaces: a limit is read from the process outside
        resource.setrlimit(getattr(resource, name), resource.prlimit(int(pid), getattr(resource, name)))
    environment = _environment(Path(f"/proc/{pid}/environ"))
    namespaces = {kind: os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name, kind in _KINDS.items()}
    for kind, descriptor in namespaces.items():
        syscalls.setns(descriptor, kind)
    return environment


def _become_guest(command: list[str], environment: dict[str, str]) -> None:
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.die_with_parent(0)
    os.chdir("/root")
    confine.confine()
    os.closerange(3, 256)
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606 - the operator's command, without a shell
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
        os._exit(127)


def _environment(path: Path) -> dict[str, str]:
    pairs = path.read_bytes().decode(errors="surrogateescape").split("\0")
    environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    return {**environment, "HOME": "/root", "TERM": os.environ.get("TERM", "dumb")}


def _join_cgroups(path: Path) -> None:
    for line in path.read_text(encoding="ascii").splitlines():
        _, controllers, group = line.split(":", 2)
        if "package-dmz-" in group:
            procs = Path("/sys/fs/cgroup", controllers, group.lstrip("/"), "cgroup.procs")
            procs.write_text(str(os.getpid()), encoding="ascii")


if __name__ == "__main__":
    raise SystemExit(main())
