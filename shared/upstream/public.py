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
import socket
import ssl
import time
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from shared.errors import Permanent
from shared.model.value import printable

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


class PublicTransport(httpx.BaseTransport):
    """Checks every request and sends it directly or by the operator's proxy. `trusted`: what she configured."""

    def __init__(self, context: ssl.SSLContext, trusted: Collection[Origin] = ()) -> None:
        self._context = context
        self._trusted = frozenset(trusted)
        self._direct = _Direct(context, Backend(self._trusted))
        self._proxied: dict[str, httpx.HTTPTransport] = {}
        self._proxies = getproxies()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if origin(str(request.url)) not in self._trusted:
            check_name(request.url.host)  # 1
        return self._way(request.url).handle_request(request)

    def close(self) -> None:
        for transport in (self._direct, *self._proxied.values()):
            transport.close()

    def _way(self, url: httpx.URL) -> httpx.HTTPTransport:
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if not proxy or proxy_bypass(url.host):
            return self._direct
        if proxy not in self._proxied:
            address = proxy if "://" in proxy else f"http://{proxy}"
            self._proxied[proxy] = httpx.HTTPTransport(verify=self._context, proxy=address)
        return self._proxied[proxy]


class _Direct(httpx.HTTPTransport):
    """httpx's transport over `backend`, for which its constructor has no parameter."""

    def __init__(self, context: ssl.SSLContext, backend: httpcore.NetworkBackend) -> None:
        super().__init__(verify=context)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, max_connections=CONNECTIONS, network_backend=backend
        )


class Backend(httpcore.NetworkBackend):
    """Connects to checked addresses alone (checks 2 and 3)."""

    def __init__(self, trusted: Collection[Origin]) -> None:
        self._trusted = trusted
        self._plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self._addresses(host, port):
            try:
                stream = self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Patient(stream)
        raise failure

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved ({error})") from error
        addresses = [str(each[4][0]) for each in found]
        inside = [address for address in addresses if not is_public(address)]
        if inside and (host.lower(), port) not in self._trusted:  # 2
            raise Permanent(
                f"A file by URL comes from the public internet, and {host} is at {inside[0]}; refused."
            )
        return addresses  # 3


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
