"""Hands a guest's request on to a server on the host, and its answer back, in a stream."""

import http.client
import socket
import urllib.parse
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from shared.emulators.vm.http1 import Exchange, Response, unreachable
from shared.errors import Permanent

_BLOCK = 256 * 1024
_TIMEOUT = 600
# RFC 9110, 7.6.1; Expect is answered by our own parser; X-Forwarded-* is ours to say.
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
}
_HOP_BY_HOP |= {"trailer", "transfer-encoding", "upgrade"}
_NOT_FORWARDED = _HOP_BY_HOP | {"expect", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


@dataclass(frozen=True)
class Backend:
    """`url`: `http://HOST:PORT` or `unix:/path`. Host passes through; `X-Forwarded-Proto: https` is added."""

    url: str

    def __post_init__(self) -> None:
        parsed = urllib.parse.urlsplit(self.url)
        if not (parsed.scheme == "http" and parsed.hostname) and not (
            parsed.scheme == "unix" and parsed.path
        ):
            raise Permanent(
                f"The backend {self.url!r} is not understood: write http://HOST:PORT or unix:/path."
            )

    def serve(self, exchange: Exchange) -> None:
        with closing(self._connection()) as connection:
            try:
                _send(connection, exchange)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                unreachable(exchange.host(), error)
            with closing(response):
                _return(response, exchange)

    def _connection(self) -> http.client.HTTPConnection:
        parsed = urllib.parse.urlsplit(self.url)
        if parsed.scheme == "unix":
            return _UnixConnection(parsed.path)
        return http.client.HTTPConnection(parsed.hostname or "", parsed.port or 80, timeout=_TIMEOUT)


def _send(connection: http.client.HTTPConnection, exchange: Exchange) -> None:
    connection.putrequest(exchange.command, exchange.path, skip_host=True, skip_accept_encoding=True)
    for name, value in exchange.headers.items():
        if name.lower() not in _NOT_FORWARDED:
            connection.putheader(name, value)
    connection.putheader("X-Forwarded-Proto", "https")
    connection.putheader("Connection", "close")
    connection.endheaders()
    remaining = exchange.body_length
    while remaining:
        block = exchange.rfile.read(min(_BLOCK, remaining))
        if not block:
            raise ConnectionError("the request's body ended early")
        connection.send(block)
        remaining -= len(block)


def _return(response: Response, exchange: Exchange) -> None:
    exchange.send_response_only(response.status, response.reason)
    for name, value in response.headers.items():
        if name.lower() not in _NOT_FORWARDED:
            exchange.send_header(name, value)
    bodiless = exchange.command == "HEAD" or response.status in (204, 304)
    sized = response.length is not None or bodiless
    if not sized and exchange.request_version == "HTTP/1.0":
        sized = exchange.close_connection = (
            True  # that version knows no chunks: the end of the connection is the end
        )
    if not sized:
        exchange.send_header("Transfer-Encoding", "chunked")
    exchange.end_headers()
    if bodiless:
        return
    for block in _blocks(response):
        exchange.wfile.write(block if sized else b"".join((b"%x\r\n" % len(block), block, b"\r\n")))
    if not sized:
        exchange.wfile.write(b"0\r\n\r\n")
    elif response.length:
        exchange.close_connection = (
            True  # the backend broke off; so do we, rather than wait for bytes that never come
        )


def _blocks(response: Response) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_BLOCK))
    try:
        while count := response.readinto(buffer):
            yield buffer[:count]
    except http.client.HTTPException as error:
        raise ConnectionError(f"the backend's answer broke off: {error}") from error
