"""The way to addresses that a workload names: the public internet, and nothing that only this network can reach.

A service that fetches what others name is a door into its own network (server-side request forgery, CWE-918). For
every request, so for every hop of a redirect as well, before a byte is sent:
1. The host is a name with a dot, neither an IP address in any spelling nor in a zone that is private by definition.
2. Every address that the name has now is globally reachable (IANA's special-purpose registries, RFC 6890).
3. The connection goes to one of these very addresses, so a second answer of the DNS changes nothing; TLS and the Host
   header keep the name.
4. A server that sends next to nothing is left, also before the first byte of its answer.
What the operator configured is exempt from 1 and 2. Where she configured a proxy (HTTPS_PROXY), that is the way out:
it resolves the name, so 2 and 3 are its part.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import httpcore
import httpx

from shared.errors import Permanent
from shared.model.value import printable
from shared.upstream import ways

Origin = tuple[str, int]
"""Host in lower case, and port."""
CONNECTIONS = 8
PATIENCE = 120.0
"""Seconds of silence that a connection may add up to."""
SLOWEST = 32 * 1024
"""Bytes per second, on the average, beyond PATIENCE."""
_PRIVATE_ZONES = frozenset({"internal", "local", "localhost", "arpa", "test", "invalid", "onion"})
"""https://www.iana.org/assignments/special-use-domain-names, and ICANN's .internal (2024-07-29)."""
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII | re.IGNORECASE)
_NAT64 = IPv6Network("64:ff9b::/96")


def origin(url: str) -> Origin:
    """Where requests for `url` go. Permanent if it is none."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Permanent(f"'{printable(url, 200)}' is no URL: {error}.") from error
    return parsed.host.lower(), parsed.port or (443 if parsed.scheme == "https" else 80)


def check_name(host: str) -> None:
    """Permanent unless `host` can be the name of a public server (check 1)."""
    labels = host.lower().removesuffix(".").split(".")
    if is_address(host):
        raise Permanent(f"A file by URL comes from a host with a name, not from the address {host}; refused.")
    if len(labels) < 2 or not all(labels) or labels[-1] in _PRIVATE_ZONES:
        raise Permanent(
            f"A file by URL comes from the public internet, and {host} is a private name; refused."
        )


def is_address(host: str) -> bool:
    """True for an IP address in any spelling.

    A last label that is a number makes the whole an IPv4 address (https://url.spec.whatwg.org/#host-parsing).
    """
    return ":" in host or _NUMBER.fullmatch(host.removesuffix(".").rpartition(".")[2]) is not None


def is_public(address: str) -> bool:
    """True if the address is one of the public internet, also where IPv6 carries an IPv4 address."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = IPv4Address(int(found) & 0xFFFFFFFF)
        found = inner or found
    return found.is_global and not (found.is_multicast or found.is_reserved)


class PublicTransport(ways.Ways):
    """Checks every request before it is sent. `trusted`: what the operator configured."""

    def __init__(self, context: ssl.SSLContext, trusted: Collection[Origin] = ()) -> None:
        self._trusted = frozenset(trusted)
        super().__init__(context, CONNECTIONS, Backend(self._trusted))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if origin(str(request.url)) not in self._trusted:
            check_name(request.url.host)  # 1
        return super().handle_request(request)


class Backend(ways.Backend):
    """Connects to checked addresses alone (checks 2 and 3)."""

    def __init__(self, trusted: Collection[Origin]) -> None:
        super().__init__()
        self._trusted = trusted

    def opened(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        return _Patient(stream)  # 4

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Where `host` is, now or some seconds ago. Permanent if that is no public place."""
        found = super().addresses(host, port)
        inside = [address for address in found if not is_public(address)]
        if inside and (host.lower(), port) not in self._trusted:  # 2
            raise Permanent(
                f"A file by URL comes from the public internet, and {host} is at {inside[0]}; refused."
            )
        return found  # 3


class _Patient(httpcore.NetworkStream):
    """A connection that breaks off when its other end only drips (check 4)."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._waited = 0.0
        self._received = 0

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        begun = time.monotonic()
        data = self._stream.read(max_bytes, timeout)
        self._waited += time.monotonic() - begun
        self._received += len(data)
        if self._waited > PATIENCE + self._received / SLOWEST:
            raise httpcore.ReadTimeout("the server sends next to nothing")
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Patient(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
