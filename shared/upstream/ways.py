"""How requests get out: by the operator's proxy, or straight to an address of the name.

A name's addresses are looked up once for all connections that are opened within some seconds. Thirty-two at once would
ask the DNS thirty-two times, with two questions each; where one datagram of a burst is lost, the resolver waits 5 s
before it asks again (RES_TIMEOUT, resolv.conf(5)), longer than all the pages of a workload take together.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from shared.errors import Permanent
from shared.model.value import printable

_KEPT = 30.0
"""Seconds that addresses are used for new connections; one that is open stays with its own."""


class Names:
    """Addresses of names; whoever asks while a question is under way waits for its answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], tuple[float, Future[Sequence[str]]]] = {}

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """In the order to try them. httpcore.ConnectError if there is none: that is remembered for nobody else."""
        with self._lock:
            asked, answer = self._known.get((host, port), (0.0, None))
            begun = time.monotonic()
            if answer is not None and begun - asked < _KEPT:
                mine = None
            else:
                mine = answer = Future()
                self._known[host, port] = (begun, mine)
        if mine is not None:
            self._ask(host, port, mine)
        return answer.result()

    def _ask(self, host: str, port: int, answer: Future[Sequence[str]]) -> None:
        try:
            answer.set_result(_looked_up(host, port))
        except BaseException as error:
            with self._lock:
                self._known.pop((host, port), None)
            answer.set_exception(error)


def _looked_up(host: str, port: int) -> Sequence[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"the name {host} cannot be resolved ({error})") from error
    return [str(each[4][0]) for each in found]


class Backend(httpcore.NetworkBackend):
    """Opens connections to a name's addresses, the first that answers."""

    def __init__(self) -> None:
        self._plain = httpcore.SyncBackend()
        self._names = Names()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self.addresses(host, port):
            try:
                stream = self._plain.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return self.opened(stream)
        raise failure

    def opened(self, stream: httpcore.NetworkStream) -> httpcore.NetworkStream:
        """What requests go over: the connection, or something about it."""
        return stream

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """Where `host` is. httpcore.ConnectError if it is nowhere."""
        return self._names.addresses(host, port)


class Ways(httpx.BaseTransport):
    """Sends every request directly or by the operator's proxy (HTTPS_PROXY and the like), as its URL wants it."""

    def __init__(self, context: ssl.SSLContext, connections: int, backend: Backend) -> None:
        """`connections`: open at once and kept, of each way. `backend`: of the direct one."""
        self._context = context
        self._limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        self._direct = _Direct(context, self._limits, backend)
        self._proxied: dict[str, httpx.HTTPTransport] = {}
        self._proxies = getproxies()
        self._lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._way(request.url).handle_request(request)

    def close(self) -> None:
        for transport in (self._direct, *self._proxied.values()):
            transport.close()

    def _way(self, url: httpx.URL) -> httpx.HTTPTransport:
        proxy = self._proxies.get(url.scheme) or self._proxies.get("all")
        if not proxy or proxy_bypass(url.host):
            return self._direct
        with self._lock:
            if proxy not in self._proxied:
                self._proxied[proxy] = self._by(httpx.URL(proxy if "://" in proxy else f"http://{proxy}"))
            return self._proxied[proxy]

    def _by(self, proxy: httpx.URL) -> httpx.HTTPTransport:
        if proxy.scheme not in ("http", "https"):
            raise Permanent(
                f"The proxy {printable(proxy.host, 100)} speaks {printable(proxy.scheme, 20)}, and only HTTP proxies "
                "are known here: name one as HTTPS_PROXY, or take this one away."
            )
        return httpx.HTTPTransport(verify=self._context, proxy=httpx.Proxy(proxy), limits=self._limits)


class _Direct(httpx.HTTPTransport):
    """httpx's transport over `backend`, for which its constructor has no parameter."""

    def __init__(self, context: ssl.SSLContext, limits: httpx.Limits, backend: Backend) -> None:
        super().__init__(verify=context)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=backend,
        )
