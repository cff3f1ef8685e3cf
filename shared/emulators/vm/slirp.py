"""A way out for one VM, in user mode: slirp4netns, which gives its network namespace a device that reaches what this
process could reach, except the host itself.

Source: slirp4netns(1), Debian 12. Kept out: 127.0.0.0/8 and 10.0.2.2 of the host (--disable-host-loopback), its own
resolver (--disable-dns; ours answers), and by prohibiting routes inside: every other address of the host, and the
link-local range where clouds keep the metadata of the machine that we run on.
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
LINK_LOCAL = "169.254.0.0/16"
# slirp4netns's own addresses for the host and its resolver.
_GATEWAY, _RESOLVER = "10.0.2.2/32", "10.0.2.3/32"

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


def open_way(pid: int, popen: Popen) -> WayOut:
    """Connect the network namespace of process `pid`. Permanent if the tool is missing, Transient if it fails."""
    if not shutil.which("slirp4netns"):
        raise Permanent("slirp4netns is missing: install Debian's or Ubuntu's `slirp4netns`.")
    held, leash = os.pipe()
    ready, told = os.pipe()
    command = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--disable-dns"]
    command += ["--enable-seccomp", f"--exit-fd={held}", f"--ready-fd={told}", str(pid), "tap0"]
    process = popen(
        command,
        pass_fds=(held, told),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    os.close(held)
    os.close(told)
    way = WayOut(process, leash)
    readable, _, _ = select.select([ready], [], [], _READY_SECONDS)
    answered = bool(readable) and os.read(ready, 1) == b"1"
    os.close(ready)
    if not answered:
        way.close()
        said = process.stderr.read().decode(errors="replace") if process.stderr else ""
        raise Transient(f"slirp4netns did not come up: {said.strip()[-300:] or 'no answer in 10 s'}.")
    return way


def prohibited(fib_trie: Path = Path("/proc/net/fib_trie")) -> list[str]:
    """Destinations, in CIDR notation, that a VM with a way out must not reach."""
    return [LINK_LOCAL, _GATEWAY, _RESOLVER, *(f"{address}/32" for address in host_addresses(fib_trie))]


def host_addresses(fib_trie: Path = Path("/proc/net/fib_trie")) -> list[str]:
    """The host's own IPv4 addresses, loopback aside."""
    found, last = set(), ""
    for line in fib_trie.read_text(encoding="ascii").splitlines():
        if "|-- " in line:
            last = line.split("|-- ")[1].strip()
        elif "/32 host LOCAL" in line and not last.startswith("127."):
            found.add(last)
    return sorted(found)
