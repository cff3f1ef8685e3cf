"""HTTP as the indexes need it: pooled, bounded, and with every failure sorted into final or passing."""

from __future__ import annotations

import contextlib
import functools
import os
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import httpcore
import httpx

from shared import patience
from shared.errors import Permanent, Transient
from shared.upstream import public, ways

CONNECTIONS = 32
_READ = 256 << 10
"""Bytes that are taken from a connection at once, if they are there: each piece of 64 KiB costs as much work again."""
_TIMEOUT = httpx.Timeout(30.0, connect=15.0, pool=300.0)
_REDIRECTS = 5
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class Answer:
    """A complete answer of at most the asked-for size."""

    url: str
    """Where it came from in the end, after redirects."""
    content_type: str
    """Lower case, without parameters; empty if the server gave none."""
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""


def trust() -> ssl.SSLContext:
    """The system's certificate store, as apt and curl use it (SSL_CERT_FILE is honoured)."""
    return _trust(os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", ""))


@functools.cache
def _trust(_file: str, _directory: str) -> ssl.SSLContext:
    """Read once: a shard makes several clients, and a hundred certificates take longer than a small file."""
    return ssl.create_default_context()


def client(connections: int = CONNECTIONS, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client whose pool serves `connections` threads at once, unless a `transport` of its own does."""
    httpcore.HTTP11Connection.READ_NUM_BYTES = _READ
    return httpx.Client(
        transport=transport or ways.Ways(trust(), connections, ways.Backend()),
        timeout=_TIMEOUT,
        headers={"User-Agent": "package-dmz"},
    )


def get(
    client: httpx.Client,
    url: str,
    limit: int,
    accept: str = "*/*",
    attempts: int = 4,
    redirects: int = _REDIRECTS,
) -> Answer | None:
    """The content at `url`, None on 404 or 410. Transient if the server cannot be reached, Permanent otherwise."""
    return patience.persist(lambda: _get_once(client, url, limit, accept, redirects), attempts)


def check_status(status: int, url: str, headers: Mapping[str, str] | None = None) -> None:
    """Transient for what passes, Permanent for every other answer that is not a success."""
    if status in _PASSING:
        words = f"{url} answers with HTTP status {status} at the moment."
        raise patience.passing(words, (headers or {}).get("retry-after"))
    if not 200 <= status < 300:
        raise Permanent(f"{url} answers with HTTP status {status}; check the address and the access to it.")


@contextlib.contextmanager
def stream(
    client: httpx.Client,
    url: str,
    headers: Mapping[str, str],
    redirects: int = _REDIRECTS,
    method: str = "GET",
    seconds: float | None = None,
) -> Iterator[httpx.Response]:
    """The answer at `url`, which may redirect; each hop is checked before it is asked.

    `seconds`: of silence that are waited for; as long as `client` does if not given.
    """
    timeout = client.timeout if seconds is None else httpx.Timeout(seconds)
    request = client.build_request(method, url, headers=headers, timeout=timeout)
    for _ in range(redirects + 1):
        response = client.send(request, stream=True, follow_redirects=False)
        try:
            if response.next_request is None:
                yield response
                return
        finally:
            response.close()
        _check_hop(request.url, response.next_request.url)
        request = response.next_request
    often = f" more than {redirects} times" if redirects else ""
    raise Permanent(f"{url} redirects{often}, which is refused.")


def _check_hop(here: httpx.URL, there: httpx.URL) -> None:
    """What was asked for over TLS comes over TLS; another server is given by its name."""
    if there.scheme != "https" and (here.scheme == "https" or there.scheme != "http"):
        raise Permanent(f"{here} redirects to an address without TLS ({there}), which is refused.")
    if there.host != here.host and public.is_address(there.host):
        # No mirror moves to a bare address; metadata servers and routers have no other.
        raise Permanent(f"{here} redirects to the bare address {there.host}, which is refused.")


def _get_once(client: httpx.Client, url: str, limit: int, accept: str, redirects: int) -> Answer | None:
    try:
        with stream(client, url, {"Accept": accept}, redirects) as response:
            if response.status_code in (404, 410):
                return None
            check_status(response.status_code, url, response.headers)
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > limit:
                    raise Permanent(f"{url} sends more than {limit} bytes, which is refused as too large.")
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            headers = {name.lower(): value for name, value in response.headers.items()}
            return Answer(str(response.url), kind, bytes(body), headers)
    except (
        httpx.InvalidURL,
        httpx.UnsupportedProtocol,
        httpx.DecodingError,
    ) as error:
        raise Permanent(f"{url} cannot be read: {error}.") from error
    except httpx.HTTPError as error:
        raise Transient(f"{url} cannot be reached: {error or type(error).__name__}.") from error
