"""Tries to leave the network: what an inner VM must not be able to do.

Every probe asks one way out. A DNS answer with a public address counts as a way: names carry data. On Google Cloud the
metadata server resolves public names even where no route exists, until a DNS response policy stops it
(https://cloud.google.com/dns/docs/zones/manage-response-policies).
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

_TIMEOUT = 4.0
_PUBLIC_V4, _PUBLIC_V6 = "8.8.8.8", "2001:4860:4860::8888"
_PYPI_V4, _PYPI_V6 = "151.101.0.223", "2a04:4e42::223"


@dataclass(frozen=True)
class Outcome:
    """What one probe met; `open` if it came through."""

    probe: str
    target: str
    outcome: str
    open: bool


Probe = tuple[str, str, Callable[[str], Outcome]]

NOT_PROBED = (Outcome("all", "", "not probed: the VM was stopped", True),)
"""Fails closed: nobody has seen that the network is shut."""


def probe() -> tuple[Outcome, ...]:
    """All probes, at once; a few seconds."""
    probes = PROBES
    with ThreadPoolExecutor(len(probes)) as pool:
        return tuple(pool.map(lambda each: _guarded(*each), probes))


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The two fields of the report."""
    return {
        "egress": "open" if any(each.open for each in outcomes) else "denied",
        "egress_probes": [
            {"probe": each.probe, "target": each.target, "open": each.open, "outcome": each.outcome[:300]}
            for each in outcomes
        ],
    }


def _guarded(name: str, target: str, ask: Callable[[str], Outcome]) -> Outcome:
    try:
        return ask(target)
    except OSError as error:
        return Outcome(name, target, f"denied: {error.strerror or error}", False)


def _resolve(name: str) -> Outcome:
    addresses = sorted({str(each[4][0]) for each in socket.getaddrinfo(name, 443, type=socket.SOCK_STREAM)})
    public = any(ipaddress.ip_address(each.partition("%")[0]).is_global for each in addresses)
    state = "open: resolved to" if public else "denied: a sinkhole answered"
    return Outcome("dns", name, f"{state} {', '.join(addresses)[:200]}", public)


def _connect(target: str) -> Outcome:
    host, _, port = target.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), _TIMEOUT):
        return Outcome("tcp", target, "open: connected", True)


def _udp(target: str) -> Outcome:
    """A DNS query for example.com straight to a public resolver."""
    query = struct.pack(">6H", 0x4D5A, 0x0100, 1, 0, 0, 0) + b"\7example\3com\0" + struct.pack(">2H", 1, 1)
    family = socket.AF_INET6 if ":" in target else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(_TIMEOUT)
        sock.connect((target, 53))
        sock.send(query)
        answer = sock.recv(2048)
    return Outcome("udp", f"{target}:53", f"open: {len(answer)} bytes came back", True)


def _ping(target: str) -> Outcome:
    """An ICMP echo, by a ping socket or, where root may, a raw one."""
    body = struct.pack(">HH", os.getpid() & 0xFFFF, 1) + b"package-dmz"
    packet = struct.pack(">BBH", 8, 0, _checksum(b"\x08\x00\x00\x00" + body)) + body
    try:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)
    except PermissionError:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sock:
        sock.settimeout(_TIMEOUT)
        sock.connect((target, 0))
        sock.send(packet)
        answer = sock.recv(2048)
    return Outcome("icmp", target, f"open: {len(answer)} bytes came back", True)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


PROBES: tuple[Probe, ...] = (
    ("dns", "pypi.org", _resolve),
    ("dns", "deb.debian.org", _resolve),
    ("dns", "example.com", _resolve),
    ("tcp", "pypi.org:443", _connect),
    ("tcp", "deb.debian.org:80", _connect),
    ("tcp", f"{_PYPI_V4}:443", _connect),
    ("tcp", f"[{_PYPI_V6}]:443", _connect),
    ("tcp", f"{_PUBLIC_V4}:443", _connect),
    ("tcp", f"[{_PUBLIC_V6}]:443", _connect),
    ("tcp", f"{_PUBLIC_V4}:53", _connect),
    ("udp", _PUBLIC_V4, _udp),
    ("udp", _PUBLIC_V6, _udp),
    ("icmp", _PUBLIC_V4, _ping),
)
