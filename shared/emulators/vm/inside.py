"""The guest's side of the seal: makes the namespaces, then becomes the guest. Standard library only.

Started by the engine as a process of its own, single-threaded, with its orders as JSON on stdin and one end of a
socket pair. Order matters; each step needs what the one before still allowed:
1. a user namespace, always, as root too: without one the guest's root could write /proc/sys/kernel/core_pattern;
2. the engine maps the ids; then the other namespaces, owned by the new user namespace;
3. addresses on lo, and the listening sockets, which are passed out: no server runs inside, there is no other way in;
4. the engine adds a way out (or none) and says go;
5. root file system, devices, pivot_root; a first process in the new process namespace; filter, capabilities, exec.
   The guest's files are written once nothing of the host is left in sight: links in its image lead nowhere else.

A container (orders["container"]) differs in that its program comes from its own image, runs as the image's user and
gains no privileges by exec, and that this process gives the engine sockets of its network namespace, so that the
engine can call the ports on which it serves.

What goes wrong is reported over the socket pair as {"error": sentence}.
"""

import array
import encodings.idna  # noqa: F401 - for bind(); later imports would fail, the guest's id may not read Python's files
import json
import os
import resource
import select
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.emulators.vm import confine, contained, syscalls
from shared.emulators.vm.syscalls import (
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    Namespace,
)

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
_OLD_ROOT = ".old-root"
_ROOT_FD = 100
_DESCRIPTORS = 1024
"""Ours are all below: few are opened, and 100 and those behind it by their number."""


def main() -> None:
    orders = json.load(sys.stdin)
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    os.umask(0o022)  # the operator's own may be any
    try:
        syscalls.die_with_parent(orders["parent"])
        _separate(channel, orders)
        _listen(channel, orders)
        _expect(channel, b"go")
        for destination in orders["prohibited"]:
            syscalls.prohibit_route(destination)
        _build_root(orders)
        _start(channel, orders)
    except OSError as error:
        channel.send(json.dumps({"error": str(error)}).encode())
        raise SystemExit(1) from None


def _expect(channel: socket.socket, word: bytes) -> None:
    if channel.recv(16) != word:
        raise OSError(0, "the engine gave up")


def _separate(channel: socket.socket, orders: Mapping[str, Any]) -> None:
    syscalls.unshare(Namespace.USER)
    channel.send(b"map")
    _expect(channel, b"mapped")
    kinds = Namespace.MOUNT | Namespace.NET | Namespace.IPC | Namespace.UTS | Namespace.CGROUP | Namespace.PID
    syscalls.unshare(kinds)
    # Still the caller's id: the only moment that can reach below a private home directory in the new mount namespace.
    os.chdir(orders["directory"])
    opened = os.open(orders["root"], os.O_PATH | os.O_DIRECTORY)
    os.dup2(opened, _ROOT_FD, inheritable=False)
    os.close(opened)
    contained.open_shared(orders)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    syscalls.die_with_parent(orders["parent"])
    syscalls.set_dumpable()
    confine.forbid_namespaces()
    Path("/proc/self/oom_score_adj").write_bytes(b"500")  # if the host runs out of memory, a guest goes first
    for name, value in orders["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    socket.sethostname(orders["hostname"])


def _listen(channel: socket.socket, orders: Mapping[str, Any]) -> None:
    """Open the sockets of orders["listen"] ([transport, address, port]) and hand them out in that order."""
    syscalls.loopback_up()
    for label, address in enumerate(orders["addresses"]):
        syscalls.loopback_address(label, address)
    opened = []
    for transport, address, port in orders["listen"]:
        kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
        listener = socket.socket(socket.AF_INET, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        if transport == "tcp":
            listener.listen(128)
        opened.append(listener)
    descriptors = array.array("i", [listener.fileno() for listener in opened])
    channel.sendmsg([b"listening"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
    for listener in opened:
        listener.close()


def _build_root(orders: Mapping[str, Any]) -> None:
    syscalls.mount("none", "/", None, MS_REC | MS_PRIVATE)
    # volatile: fsync(2) costs nothing. A VM does not outlive this process, so there is nothing to keep from a crash.
    layers = f"lowerdir=/proc/self/fd/{_ROOT_FD},upperdir=upper,workdir=work,userxattr,volatile"
    syscalls.mount("overlay", "root", "overlay", 0, layers)
    os.close(_ROOT_FD)
    os.chdir("root")
    _make_devices(orders.get("shm", 0))
    for name in ("run", "proc"):
        Path(name).mkdir(exist_ok=True)
    syscalls.mount("tmpfs", "run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m")
    Path("run/lock").mkdir(mode=0o1777)
    contained.mount_shared(orders)
    Path(_OLD_ROOT).mkdir(exist_ok=True)
    syscalls.pivot_root(".", _OLD_ROOT)
    os.chdir("/")


def _write_files(files: Mapping[str, str]) -> None:
    for name, content in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content.encode("latin-1"))


def _make_devices(shm: int) -> None:
    Path("dev").mkdir(exist_ok=True)
    syscalls.mount("tmpfs", "dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")
    for name in _DEVICES:
        Path("dev", name).touch()
        syscalls.mount(f"/dev/{name}", f"dev/{name}", None, MS_BIND)
    for name, target in _LINKS.items():
        Path("dev", name).symlink_to(target)
    Path("dev/pts").mkdir()
    syscalls.mount(
        "devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620,gid=5"
    )
    Path("dev/shm").mkdir()
    size = shm or "50%"
    syscalls.mount("tmpfs", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, f"mode=1777,size={size}")


def _start(channel: socket.socket, orders: Mapping[str, Any]) -> None:
    """Fork the guest's first process and wait for it; its death is ours, ours is its."""
    alive, held = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(held)
            _become_guest(alive, channel.fileno(), orders)
        except OSError as error:
            channel.send(json.dumps({"error": str(error)}).encode())
        os._exit(127)
    channel.send(json.dumps({"pid": pid}).encode())
    channel.close()
    null = os.open("/dev/null", os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    contained.give_sockets(orders, pid)
    _, status = os.waitpid(pid, 0)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def _become_guest(alive: int, channel: int, orders: Mapping[str, Any]) -> None:
    syscalls.die_with_parent(
        0
    )  # what getppid() says across a process namespace, so it cannot tell a dead parent:
    if select.select([alive], [], [], 0)[0]:  # the pipe that our parent holds open does
        raise OSError(0, "the engine gave up")
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    syscalls.detach(f"/{_OLD_ROOT}")
    Path("/", _OLD_ROOT).rmdir()
    os.setsid()
    os.umask(0o022)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.closerange(3, channel)  # a descriptor leads out of the root as well as a name does (/proc/self/fd)
    os.closerange(channel + 1, _DESCRIPTORS)
    _write_files(orders["files"])
    if "container" in orders:
        contained.become(orders)
    confine.confine()
    os.execve(orders["argv"][0], orders["argv"], orders["environment"])  # noqa: S606 - the guest's own first program


if __name__ == "__main__":
    main()
