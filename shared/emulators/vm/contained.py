"""The guest's side of the seal, for containers: what `inside` does for them beside what it does for every VM.

What a container's process is made of follows the launcher of Confidential Space, which runs it by containerd and runc:
https://github.com/google/go-tpm-tools/blob/main/launcher/container_spec.go. Standard library only.
"""

import array
import os
import select
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from shared.emulators.vm import confine, syscalls
from shared.emulators.vm.syscalls import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_REMOUNT,
)

_SHARED_FD = 101


def open_shared(orders: Mapping[str, Any]) -> None:
    """While this process may still reach them: the host's directories that the container sees."""
    if "sockets" in orders:
        os.set_inheritable(orders["sockets"], False)  # the container has no part in it
    for number, directory in enumerate(_shared(orders).values()):
        opened = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        os.dup2(opened, _SHARED_FD + number, inheritable=False)
        os.close(opened)


def mount_shared(orders: Mapping[str, Any]) -> None:
    """Those directories below run/, which is an empty file system of ours, read-only."""
    for number, name in enumerate(_shared(orders)):
        target, source = Path("run", name), f"/proc/self/fd/{_SHARED_FD + number}"
        target.mkdir(parents=True, exist_ok=True)
        syscalls.mount(source, str(target), None, MS_BIND)
        # A mount from outside the user namespace keeps the flags that it has: they must be named again.
        kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)
        again = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | kept | _access_time(target)
        syscalls.mount("none", str(target), None, again)
        os.close(_SHARED_FD + number)


def give_sockets(orders: Mapping[str, Any], pid: int) -> None:
    """Answer each byte of the engine's with a new TCP socket of this network namespace, until process `pid` ends."""
    if "sockets" not in orders:
        return
    ended = os.pidfd_open(pid)
    with socket.socket(fileno=orders["sockets"]) as channel:
        while ended not in select.select([ended, channel.fileno()], [], [])[0]:
            if not channel.recv(1):
                return  # the engine lets go
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
                passed = array.array("i", [made.fileno()])
                channel.sendmsg([b"s"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])


def become(orders: Mapping[str, Any]) -> NoReturn:
    """The container's program, held to `confine`, as the image's user."""
    container, environment = orders["container"], dict(orders["environment"])
    for place, size in container["tmpfs"]:
        Path(place).mkdir(parents=True, exist_ok=True)
        options = f"size={size}" if size else None
        syscalls.mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options)
    Path(container["workdir"]).mkdir(parents=True, exist_ok=True)
    os.chdir(container["workdir"])
    if not container["console"]:
        null = os.open("/dev/null", os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
    uid, gid = container["user"]
    environment.setdefault(
        "HOME", container["home"]
    )  # runc adds it; the launcher's measurement does not know it
    confine.confine()
    os.setgroups(container["groups"])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    syscalls.die_with_parent(0)
    syscalls.no_new_privileges()
    argv = orders["argv"]
    os.execve(program(argv[0], environment.get("PATH", "")), argv, environment)  # noqa: S606 - the image's program


def program(name: str, path: str) -> str:
    """Where the program `name` stands, looked up as execvp(3) does; FileNotFoundError as runc words it."""
    places = [name] if "/" in name else [f"{place or '.'}/{name}" for place in path.split(":")]
    for place in places:
        if os.access(place, os.X_OK) and not os.path.isdir(place):  # noqa: PTH112 - pathlib imports on the way
            return place
    if "/" in name:
        raise FileNotFoundError(2, f'exec: "{name}": stat {name}: no such file or directory')
    raise FileNotFoundError(2, f'exec: "{name}": executable file not found in $PATH')


def _shared(orders: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = orders.get("container", {}).get("shared", {})
    return found


def _access_time(target: Path) -> int:
    """ST_NOATIME, ST_NODIRATIME and ST_RELATIME as mount(2) spells them."""
    flags = os.statvfs(target).f_flag
    relative = 0x200000 if flags & 0x1000 else 0
    return relative | flags & 0x400 | flags & 0x800
