"""The Linux calls that Python 3.11 does not offer, by ctypes. Standard library only: it runs before the guest does.

Constants are from the kernel's uapi headers (sched.h, mount.h, prctl.h, sockios.h), valid on every architecture.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
from enum import IntFlag

_libc = ctypes.CDLL(None, use_errno=True)

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 0x1, 0x2, 0x4, 0x8, 0x20
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
MNT_DETACH = 2

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_READ, _PR_CAPBSET_DROP = 1, 4, 22, 23, 24
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2
_SIOCSIFADDR, _SIOCSIFFLAGS, _SIOCSIFNETMASK = 0x8916, 0x8914, 0x891C
_IFF_UP, _IFF_RUNNING = 0x1, 0x40


class Namespace(IntFlag):
    """Flags of unshare(2) and setns(2)."""

    MOUNT = 0x00020000
    CGROUP = 0x02000000
    UTS = 0x04000000
    IPC = 0x08000000
    USER = 0x10000000
    PID = 0x20000000
    NET = 0x40000000


class _FilterProgram(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(kinds: Namespace) -> None:
    _checked(_libc.unshare(int(kinds)), f"unshare({kinds!r})")


def setns(descriptor: int, kinds: Namespace) -> None:
    _checked(_libc.setns(descriptor, int(kinds)), f"setns({kinds!r})")


def mount(
    source: str, target: str, kind: str | None = None, flags: int = 0, options: str | None = None
) -> None:
    arguments = (source.encode(), target.encode(), kind and kind.encode(), ctypes.c_ulong(flags))
    _checked(_libc.mount(*arguments, options and options.encode()), f"mount({source} on {target})")


def detach(target: str) -> None:
    _checked(_libc.umount2(target.encode(), MNT_DETACH), f"umount({target})")


def pivot_root(new: str, old: str) -> None:
    _checked(_libc.pivot_root(new.encode(), old.encode()), f"pivot_root({new})")


def die_with_parent(parent: int) -> None:
    """SIGKILL when the thread that started us ends. Asked again after every change of credentials, which clears it."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it ended before we asked
        os.kill(os.getpid(), signal.SIGKILL)


def set_dumpable() -> None:
    """Own /proc/self again after a change of credentials."""
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl(PR_SET_DUMPABLE)")


def no_new_privileges() -> None:
    """No later exec gives this process or its children more than they have."""
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")


def bound_capabilities(kept: frozenset[int]) -> None:
    """Drop every capability but `kept` from the bounding set: no later exec, sudo or setuid file brings one back."""
    for capability in range(64):
        if _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) == 1 and capability not in kept:
            _checked(
                _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0), f"prctl(PR_CAPBSET_DROP {capability})"
            )


def install_filter(program: bytes) -> None:
    """Install a classic BPF system call filter; needs CAP_SYS_ADMIN in the user namespace, or no_new_privs."""
    code = ctypes.create_string_buffer(program, len(program))
    fprog = _FilterProgram(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    _checked(
        _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0), "prctl(PR_SET_SECCOMP)"
    )


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP | _IFF_RUNNING))


def loopback_address(label: int, address: str) -> None:
    """Give `lo` a further /32, under the alias lo:`label`."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for call, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.255")):
            name = f"lo:{label}".encode()
            fcntl.ioctl(
                control, call, struct.pack("16sH2s4s8x", name, socket.AF_INET, b"", socket.inet_aton(value))
            )


def prohibit_route(destination: str) -> None:
    """Answer "administratively prohibited" to whatever is sent to `destination` (IPv4 CIDR). rtnetlink(7)."""
    address, _, length = destination.partition("/")
    rtm_newroute, request_ack_create, main_table, static, prohibit, rta_dst = 24, 0x405, 254, 4, 8, 1
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, int(length), 0, 0, main_table, static, 0, prohibit, 0)
    body += struct.pack("=HH4s", 8, rta_dst, socket.inet_aton(address))
    header = struct.pack("=IHHII", 16 + len(body), rtm_newroute, request_ack_create, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
        netlink.send(header + body)
        error: int = struct.unpack_from("=i", netlink.recv(4096), 16)[0]
    if error:
        raise OSError(-error, f"route to {destination}: {os.strerror(-error)}")
