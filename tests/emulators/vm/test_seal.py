"""The inner VM has no way out: tried from inside with every means that has worked somewhere, and seen from outside."""

from __future__ import annotations

import json
import os
import platform
import shlex
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.emulators.vm import confine, slirp
from shared.emulators.vm.engine import Engine, Vm
from shared.emulators.vm.spec import Platform
from tests.emulators.vm.conftest import KEY, PROBE, Ear, Internet, probe, serial, spec

UNREACHABLE = "Network is unreachable"
REFUSED = "Connection refused"
UNSUPPORTED = "Address family not supported by protocol"
FORBIDDEN = "Operation not permitted"
DENIED = "Permission denied"
ABSENT = "No such file or directory"
MISSING = "Function not implemented"
X86 = platform.machine() == "x86_64"
KEYCTL = {"x86_64": 250, "aarch64": 219}[platform.machine()]

SEALED = {
    "dns:pypi.org": "rcode 3",
    "dns:deb.debian.org": "rcode 3",
    "dns:exfiltrated-bytes.attacker.example": "rcode 3",
    "tcp:1.1.1.1:443": UNREACHABLE,
    "tcp:8.8.8.8:53": UNREACHABLE,
    "udp:8.8.8.8:53": UNREACHABLE,
    "udp:255.255.255.255:53": UNREACHABLE,
    "tcp:2606:4700:4700::1111:443": UNREACHABLE,
    "udp:2606:4700:4700::1111:53": UNREACHABLE,
    "udp:2001:db8::1:5353": UNREACHABLE,
    "tcp:10.0.2.2:443": UNREACHABLE,
    "tcp:169.254.169.253:80": UNREACHABLE,
    "interfaces:": '["lo"]',
    "socket:40,1": UNSUPPORTED,  # AF_VSOCK
    "socket:17,3,768": UNSUPPORTED,  # AF_PACKET
    "socket:38,5": UNSUPPORTED,  # AF_ALG
    "socket:31,3,1": UNSUPPORTED,  # AF_BLUETOOTH
    "socket:30,1": UNSUPPORTED,  # AF_TIPC
    "socket:2,3,1": FORBIDDEN,  # SOCK_RAW
    "socket:10,3,58": FORBIDDEN,
    "call:425": MISSING,  # io_uring_setup
    f"call:{KEYCTL}": MISSING,
    "unshare:10000000": "No space left on device",  # CLONE_NEWUSER: limit 0
    "unshare:40000000": FORBIDDEN,  # CLONE_NEWNET
    "unshare:20000": FORBIDDEN,  # CLONE_NEWNS
    "mount:": FORBIDDEN,
    "mknod:/root/disk": FORBIDDEN,
    "setns:/proc/1/ns/net": FORBIDDEN,
    "writable:/proc/sys/kernel/core_pattern": DENIED,
    "writable:/proc/sys/user/max_user_namespaces": DENIED,
    "readable:/dev/mem": ABSENT,
    "readable:/dev/net/tun": ABSENT,
    "status:Seccomp": "2",
    "status:CapBnd": f"{sum(1 << bit for bit in confine.CAPABILITIES.values()):016x}",
    "status:CapEff": f"{sum(1 << bit for bit in confine.CAPABILITIES.values()):016x}",
    "status:CapInh": "0" * 16,
    "status:CapAmb": "0" * 16,
}
for target in ("writable:/proc/sysrq-trigger", "readable:/proc/kcore"):  # some kernels do without
    SEALED[target] = DENIED if Path(target.split(":")[1]).exists() else ABSENT
if X86:
    SEALED["old-call:"] = "SIGSYS"


@pytest.fixture(scope="module")
def sealed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Vm]]:
    engine = Engine(Platform(root, tmp_path_factory.mktemp("seal"), KEY))
    script = f"#!/bin/sh\nexec python3 - {shlex.join(SEALED)} <<'PROBE'\n{PROBE.read_text()}\nPROBE\n"
    yield engine, engine.boot(spec(script=script))
    engine.close()


@pytest.fixture(scope="module")
def from_startup(sealed: tuple[Engine, Vm]) -> dict[str, str]:
    line = next(line for line in serial(sealed[1]).splitlines() if line.startswith("{"))
    found: dict[str, str] = json.loads(line)
    return found


@pytest.fixture(scope="module")
def from_entered(sealed: tuple[Engine, Vm]) -> dict[str, str]:
    return probe(sealed[0], "vm", *SEALED)


@pytest.mark.parametrize("target", SEALED)
def test_the_startup_script_finds_no_way_out(target: str, from_startup: dict[str, str]) -> None:
    assert from_startup[target] == SEALED[target]


@pytest.mark.parametrize("target", SEALED)
def test_an_entered_process_finds_none_either(target: str, from_entered: dict[str, str]) -> None:
    assert from_entered[target] == SEALED[target]


def test_the_host_does_not_hear_the_inner_vm(
    sealed: tuple[Engine, Vm], host_loopback: Ear, host_everywhere: Ear, internet: Internet
) -> None:
    there = [f"{internet.address4}:{internet.ear4.port}", f"{internet.address6}:{internet.ear6.port}"]
    here = [f"{address}:{host_everywhere.port}" for address in slirp.host_addresses()]
    targets = [f"{kind}:{target}" for target in (*there, *here) for kind in ("tcp", "udp")]
    found = probe(
        sealed[0], "vm", *targets, f"tcp:127.0.0.1:{host_loopback.port}", f"tcp:::1:{host_loopback.port}"
    )
    assert {found[target] for target in targets} == {UNREACHABLE}
    assert set(found.values()) == {UNREACHABLE, REFUSED}
    ears = (host_loopback, host_everywhere, internet.ear4, internet.ear6)
    assert [ear.heard for ear in ears] == [[], [], [], []]


def test_the_ears_hear_when_the_host_itself_speaks(host_loopback: Ear, internet: Internet) -> None:
    socket.create_connection(("127.0.0.1", host_loopback.port)).close()
    socket.create_connection((internet.address4, internet.ear4.port)).close()
    socket.create_connection((internet.address6, internet.ear6.port)).close()
    for ear in (host_loopback, internet.ear4, internet.ear6):
        _wait(lambda ear=ear: ear.heard == ["tcp"])  # type: ignore[misc]


def test_abstract_sockets_of_the_host_are_not_there(sealed: tuple[Engine, Vm]) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        name = f"seal-{os.getpid()}"
        listener.bind(f"\0{name}")
        listener.listen()
        assert probe(sealed[0], "vm", f"abstract:{name}") == {f"abstract:{name}": REFUSED}


def test_nothing_of_the_host_stands_behind_the_first_process(sealed: tuple[Engine, Vm]) -> None:
    found = probe(
        sealed[0], "vm", "link:/proc/1/exe", "link:/proc/1/root", "descriptors:1", "pids:", "chroot-escape:"
    )
    assert found["link:/proc/1/exe"].startswith("/usr/bin/python3")
    assert found["link:/proc/1/root"] == "/"
    names = json.loads(found["descriptors:1"])
    assert names[0] == "/dev/null"
    assert len(names) == 3
    assert len(set(names[1:])) == 1
    assert names[1].startswith("pipe:")
    assert int(found["pids:"]) < 10
    assert ".old-root" not in json.loads(found["chroot-escape:"])


def test_seen_from_outside_there_is_no_route_and_no_device(sealed: tuple[Engine, Vm]) -> None:
    process = Path(f"/proc/{sealed[1].pid}")
    assert len((process / "net/route").read_text().splitlines()) == 1
    routes6 = {line.split()[-1] for line in (process / "net/ipv6_route").read_text().splitlines()}
    assert routes6 == {"lo"}
    devices = [line.split(":")[0].strip() for line in (process / "net/dev").read_text().splitlines()[2:]]
    assert devices == ["lo"]


def test_seen_from_outside_every_namespace_is_its_own(sealed: tuple[Engine, Vm]) -> None:
    for name in ("user", "net", "mnt", "ipc", "uts", "pid", "cgroup"):
        assert Path(f"/proc/{sealed[1].pid}/ns/{name}").readlink() != Path(f"/proc/self/ns/{name}").readlink()
    first, outside, count = map(int, Path(f"/proc/{sealed[1].pid}/uid_map").read_text().split()[:3])
    assert (first, outside != 0, count) == (0, True, 65536)


def _wait(condition: object, seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
