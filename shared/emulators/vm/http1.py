"""HTTP/1.1 towards a guest (RFC 9112), on the standard library's parser: one connection, one thread, keep-alive."""

import http.client
import http.server
import json
import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

_log = logging.getLogger(__name__)
IDLE_SECONDS = 120
# google.rpc.Code names for the HTTP codes in use, https://google.aip.dev/193
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    411: "INVALID_ARGUMENT",
    413: "INVALID_ARGUMENT",
    502: "UNAVAILABLE",
}


class Refused(Exception):
    """The request is answered with Google's JSON error and the connection closed if its body was not read."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Exchange(http.server.BaseHTTPRequestHandler):
    """Requests of one guest connection. `server` is the function that answers each."""

    protocol_version = "HTTP/1.1"
    server_version = "ESF"  # what Google's front ends call themselves
    sys_version = ""
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def dispatch(self) -> None:
        handle: Callable[[Exchange], None] = self.server  # type: ignore[assignment]
        try:
            self._check_framing()
            handle(self)
        except Refused as refused:
            self.close_connection = True
            self.refuse(refused)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = dispatch

    def _check_framing(self) -> None:
        """One Content-Length or none: two readings of one request are how requests are smuggled (RFC 9112, 11.2)."""
        lengths = self.headers.get_all("Content-Length") or []
        if self.headers.get("Transfer-Encoding"):
            raise Refused(411, "Send a Content-Length; chunked requests are not taken.")
        if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
            raise Refused(400, "The Content-Length is not one number.")

    @property
    def body_length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def host(self) -> str:
        return (self.headers.get("Host") or "").lower().rsplit(":", 1)[0].rstrip(".")

    def read_body(self, limit: int) -> bytes:
        if self.body_length > limit:
            raise Refused(413, f"Request payload size exceeds the limit: {limit} bytes.")
        body = self.rfile.read(self.body_length)
        if len(body) != self.body_length:
            raise ConnectionError("the request's body ended early")
        return body

    def reply(self, code: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, refused: Refused) -> None:
        status = _STATUS.get(refused.code, "UNKNOWN")
        error = {"error": {"code": refused.code, "message": str(refused), "status": status}}
        self.reply(refused.code, json.dumps(error, indent=2).encode(), "application/json; charset=UTF-8")

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def serve(connection: socket.socket, handle: Callable[[Exchange], None]) -> None:
    """Answer the requests of `connection` until either side closes it."""
    Exchange(connection, ("guest", 0), handle)  # type: ignore[arg-type]


def unreachable(host: str, error: Exception) -> NoReturn:
    _log.warning("backend of %s: %s", host, error)
    raise Refused(502, f"The backend of {host} did not answer.") from error


Response = http.client.HTTPResponse
