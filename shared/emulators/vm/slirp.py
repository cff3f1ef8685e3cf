"""A way out for one VM, in user mode: slirp4netns, which gives its network namespace a device that reaches what this
process could reach, except the host itself.

Source: slirp4netns(1), Debian 12. Kept out: the host's loopback (--disable-host-loopback), its own resolver
(--disable-dns; ours answers), and by prohibiting routes inside: every other IPv4 address that the host has when the VM
boots, and the link-local range where clouds keep the metadata of the machine that we run on. IPv6 is not offered.
"""

import os
import select
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shared.errors import Permanent, Transient

_READY_SECONDS = 10
TUN = "/dev/net/tun"
LINK_LOCAL = "169.254.0.0/16"
# slirp4netns's own network, in two halves: longer than its connected route, so they win. libslirp takes any address in
# it for the host's loopback. Packets to elsewhere only pass its gateway, which the default route has resolved already.
_OWN_NETWORK = ("10.0.2.0/25", "10.0.2.128/25")

Popen = Callable[..., "subprocess.Popen[bytes]"]


@dataclass
class WayOut:
    """A running slirp4netns. It ends when `leash` is closed, so also when this process is killed."""

    process: "subprocess.Popen[bytes]"
    leash: int

    def close(self) -> None:
        os.close(self.leash)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def open_way(pid: int, popen: Popen, log: int) -> WayOut:
    """Connect the network namespace of process `pid`; what the tool says goes to the descriptor `log`.

    Permanent if the tool is missing, Transient if it fails.
    """
    if not shutil.which("slirp4netns"):
        raise Permanent("slirp4netns is missing: install Debian's or Ubuntu's `slirp4netns`.")
    if not os.access(TUN, os.R_OK | os.W_OK):
        raise Permanent(
            f"{TUN} is closed to this user: `sudo chmod 666 {TUN}` (udev's default), or run as root."
        )
    held, leash = os.pipe()
    ready, told = os.pipe()
    command = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--disable-dns"]
    command += ["--enable-seccomp", f"--exit-fd={held}", f"--ready-fd={told}", str(pid), "tap0"]
    process = popen(command, pass_fds=(held, told), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    os.close(held)
    os.close(told)
    way = WayOut(process, leash)
    readable, _, _ = select.select([ready], [], [], _READY_SECONDS)
    answered = bool(readable) and os.read(ready, 1) == b"1"
    os.close(ready)
    if not answered:
        way.close()
        raise Transient("slirp4netns did not connect the VM")
    return way


def prohibited(fib_trie: Path = Path("/proc/net/fib_trie")) -> list[str]:
    """Destinations, in CIDR notation, that a VM with a way out must not reach."""
    return [LINK_LOCAL, *_OWN_NETWORK, *(f"{address}/32" for address in host_addresses(fib_trie))]


def host_addresses(fib_trie: Path = Path("/proc/net/fib_trie")) -> list[str]:
    """The host's own IPv4 addresses, loopback aside."""
    found, last = set(), ""
    for line in fib_trie.read_text(encoding="ascii").splitlines():
        if "|-- " in line:
            last = line.split("|-- ")[1].strip()
        elif "/32 host LOCAL" in line and not last.startswith("127."):
            found.add(last)
    return sorted(found)
