"""The user ids of a guest: 65,536 of the host's that nobody else has, the same for every VM, so that they share a root.

As root: a fixed range. As an ordinary user: the user's own id is the guest's root, the rest come from /etc/subuid
through newuidmap (Debian's uidmap).
"""

import getpass
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from shared.errors import Permanent

BASE, COUNT = 1_000_000_000, 65_536
SUBUID, SUBGID = Path("/etc/subuid"), Path("/etc/subgid")

# Runs a command as the guest's root in a new user namespace; the parent maps its ids, then closes the pipe.
_MAPPED = """
import os, shutil, sys
from shared.emulators.vm import syscalls
command = [shutil.which(sys.argv[3]), *sys.argv[4:]]
syscalls.die_with_parent(int(sys.argv[1]))
syscalls.unshare(syscalls.Namespace.USER)
print("map", flush=True)
os.read(int(sys.argv[2]), 1)
os.setgroups([]); os.setresgid(0, 0, 0); os.setresuid(0, 0, 0)
os.execv(command[0], command)  # not execvp: it imports, and this id may not read Python's own files
"""


def as_root() -> bool:
    return os.geteuid() == 0


def python(*arguments: str) -> list[str]:
    """The command for this project's own code in a child: stdlib and `shared`, no site packages."""
    return [sys.executable, "-S", *arguments]


def child_environment() -> dict[str, str]:
    root = Path(__file__).resolve().parents[3]
    return {"PYTHONPATH": str(root), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}


def map_ids(pid: int) -> None:
    """Give the new user namespace of process `pid` its ids. Permanent if this user has no subordinate ids."""
    if as_root():
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text(f"0 {BASE} {COUNT}\n", encoding="ascii")
        return
    for tool, table, own in (
        ("newuidmap", SUBUID, os.getuid()),
        ("newgidmap", SUBGID, os.getgid()),
    ):
        first, count = subordinate(table)
        _run([tool, str(pid), "0", str(own), "1", "1", str(first), str(min(count, COUNT - 1))])


def own(path: Path) -> None:
    """Hand a fresh directory to the guest's root (for an ordinary user it is its owner already)."""
    if as_root():
        os.chown(path, BASE, BASE)


def run_mapped(command: Sequence[str], directory: Path, stdin: IO[bytes] | None = None) -> None:
    """Run `command` in `directory` as the guest's root, with that id's rights on the host and no more.

    Permanent, with the end of its stderr, if it fails. The directory's parents need not be open to it.
    """
    mapped, tell = os.pipe()
    with subprocess.Popen(
        python("-c", _MAPPED, str(os.getpid()), str(mapped), *command),
        cwd=directory,
        env=child_environment(),
        pass_fds=(mapped,),
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(mapped)
        assert process.stdout  # noqa: S101 - the pipe was asked for; for the type checker
        try:
            if process.stdout.readline().strip() == b"map":
                map_ids(process.pid)
        finally:
            os.close(tell)
        _, errors = process.communicate()
    if process.returncode != 0:
        reason = errors.decode(errors="replace").strip()[-500:]
        raise Permanent(f"`{' '.join(command)[:200]}` failed in {directory}: {reason}")


def subordinate(table: Path) -> tuple[int, int]:
    user, uid = getpass.getuser(), str(os.getuid())
    for line in table.read_text(encoding="utf-8").splitlines() if table.exists() else ():
        name, first, count = [*line.split(":"), "", ""][:3]
        if name in (user, uid) and int(count) >= COUNT - 1:
            return int(first), int(count)
    raise Permanent(
        f"{user} has no {COUNT - 1:,} subordinate ids in {table}: run `sudo usermod --add-subuids 100000-165535 "
        f"--add-subgids 100000-165535 {user}`, or run as root."
    )


def _run(command: Sequence[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Permanent(f"{command[0]} is missing: install Debian's or Ubuntu's `uidmap`.") from None
    except subprocess.CalledProcessError as error:
        raise Permanent(f"{command[0]} failed: {error.stderr.strip()}") from None
