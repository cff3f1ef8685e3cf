"""What every process of a guest is held to: a capability bounding set and a system call filter.

The namespaces do the rest. Checks, each with a probe in tests/emulators/vm:
1. socket(2) and socketpair(2) only of the families UNIX, INET, INET6 and NETLINK: AF_VSOCK leads to the host and has
   no namespace, AF_PACKET and AF_ALG are attack surface that an install does not need.
2. No io_uring: it opens sockets without socket(2).
3. No 32-bit or x32 system calls: their numbers would pass the filter unseen (socketcall).
4. No kernel keyrings: the guest would possess the session keyring that its starter was started with.
5. No further namespaces, and none of the capabilities that reach past a file system tree.
"""

import platform
import struct
from pathlib import Path

from shared.emulators.vm import syscalls

# include/uapi/linux/capability.h. What Debian's maintainer scripts and sudo use; not SYS_ADMIN, NET_ADMIN, NET_RAW,
# SYS_PTRACE, SYS_RESOURCE, MKNOD.
CAPABILITIES = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "SYS_CHROOT": 18,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_IO_URING = (425, 426, 427)  # setup, enter, register: one number on every architecture
ARCHITECTURES = {  # AUDIT_ARCH_*, __NR_socket, __NR_socketpair, those of add_key, request_key, keyctl
    "x86_64": (0xC000003E, 41, 53, (248, 249, 250)),
    "aarch64": (0xC00000B7, 198, 199, (217, 218, 219)),
}
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ, |JGE, BPF_RET
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data (little endian)
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_EAFNOSUPPORT, _ENOSYS = 0x00050000 | 97, 0x00050000 | 38
_X32 = 0x40000000


def socket_filter(machine: str | None = None) -> bytes:
    """The classic BPF program for checks 1 to 4 on `machine` (uname -m). ValueError for an unknown architecture."""
    machine = machine or platform.machine()
    if machine not in ARCHITECTURES:
        raise ValueError(f"No system call filter for {machine}: VMs run on {', '.join(ARCHITECTURES)} only.")
    arch, socket, socketpair, keys = ARCHITECTURES[machine]
    program = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), (_RETURN, 0, 0, _KILL)]
    program += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _X32), (_RETURN, 0, 0, _ENOSYS)]
    for number in (*_IO_URING, *keys):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ENOSYS)]
    program += [(_EQUAL, 2, 0, socket), (_EQUAL, 1, 0, socketpair), (_RETURN, 0, 0, _ALLOW)]
    program += [(_LOAD, 0, 0, _ARGUMENT)]
    for family in _FAMILIES:
        program += [(_EQUAL, 0, 1, family), (_RETURN, 0, 0, _ALLOW)]
    program += [(_RETURN, 0, 0, _EAFNOSUPPORT)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def forbid_namespaces() -> None:
    """Check 5: no user namespace may be made in ours, so none of the others either. Before the capabilities go."""
    Path("/proc/sys/user/max_user_namespaces").write_bytes(b"0")


def confine() -> None:
    """Apply the filter and the bounding set to this process and all that it starts. It takes hold at the next exec."""
    syscalls.install_filter(socket_filter())
    syscalls.bound_capabilities(frozenset(CAPABILITIES.values()))
