"""The HTTP/1.1 server: a thread for each connection, keep-alive, bodies streamed both ways.

Files leave by sendfile(2), so a wheel of any size costs no memory and little time. TLS is put before this server by
the VM's front, which passes the Host header through.
"""

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from shared.emulators.registry.body import Body
from shared.emulators.registry.problems import Problem, reason
from shared.emulators.registry.ranges import requested_range

_LOG = logging.getLogger(__name__)
_DRAIN = 1 << 30
_IDLE_SECONDS = 300.0


@dataclass(frozen=True)
class Request:
    """One request. `path` is as sent (still percent-encoded), `host` without port and in lower case."""

    method: str
    host: str
    authority: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body
    # Set by faults.py alone: the operation that this request starts must fail like this.
    operation_error: Problem | None = None
    operation_polls: int = 0
    """So often the operation is said to go on."""
    unlisted: int = 0
    """So many files, the newest ones, the listing does not have yet."""


@dataclass
class Reply:
    """One answer: `content`, or the file at `path`. `cut_after` ends the connection after so many bytes of body."""

    code: int = 200
    content_type: str = "application/json; charset=UTF-8"
    content: bytes = b""
    path: Path | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None


class Server(ThreadingHTTPServer):
    """Serves `handle` on `address` until `shutdown()`."""

    daemon_threads = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handle: Callable[[Request], Reply]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.handle_request_with = handle
        super().__init__(address, _Connection)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - socketserver's
        """A connection that broke is the client's affair; anything else is ours and is logged."""
        _LOG.exception("connection %s", client_address)


class _Connection(BaseHTTPRequestHandler):
    """Reads requests off one connection and writes the answers."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    rbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        _LOG.debug(format, *args)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError, TimeoutError):
            super().handle()

    def _serve(self) -> None:
        request = None
        try:
            request = self._request()
            reply = self.server.handle_request_with(request)
        except (ConnectionError, TimeoutError):  # there is nobody to answer
            self.close_connection = True
            return
        except Problem as problem:
            reply = _problem_reply(problem)
        except OSError as error:
            reply = _problem_reply(_storage_problem(error))
        except Exception:
            _LOG.exception("%s %s", self.command, self.path)
            reply = _problem_reply(Problem(500, "Internal error encountered."))
        if request is None or not request.body.drain(_DRAIN):
            self.close_connection = True
        self._send(reply)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _serve

    def _request(self) -> Request:
        target = urlsplit(self.path)
        authority = self.headers.get("Host", "")
        encodings = self.headers.get("Transfer-Encoding", "").lower()
        length = self.headers.get("Content-Length")
        if encodings not in {"", "chunked"} or (encodings and length):
            raise Problem(400, "The request must be framed by Content-Length or by chunked, not otherwise.")
        if length is not None and not (length.isascii() and length.isdigit()):
            raise Problem(400, "Content-Length is not a number.")
        return Request(
            method=self.command,
            host=authority.rsplit(":", 1)[0].lower() if not authority.endswith("]") else authority,
            authority=authority,
            path=target.path,
            query=dict(parse_qsl(target.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=Body(self.rfile, int(length) if length else None, bool(encodings)),
        )

    def _send(self, reply: Reply) -> None:
        if reply.path is None:
            self._send_content(reply)
            return
        try:
            file = reply.path.open("rb")
        except FileNotFoundError:  # deleted between look-up and now
            self._send_content(_problem_reply(Problem(404, "Requested entity was not found.")))
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            try:
                span = requested_range(self.headers.get("Range"), size)
            except Problem as problem:
                self._send_content(_problem_reply(problem))
                return
            reply.headers["Accept-Ranges"] = "bytes"
            start, count = 0, size
            if span is not None:
                reply.code, (start, count) = 206, span
                reply.headers["Content-Range"] = f"bytes {start}-{start + count - 1}/{size}"
            self.connection.sendall(self._head(reply, count))
            if self.command != "HEAD" and count:
                wanted = count if reply.cut_after is None else min(count, reply.cut_after)
                if wanted:
                    self.connection.sendfile(file, start, wanted)
                if wanted < count:
                    self._cut()

    def _send_content(self, reply: Reply) -> None:
        content = b"" if self.command == "HEAD" else reply.content
        if reply.cut_after is not None:
            content = content[: reply.cut_after]
        # One packet for head and content: two would meet Nagle's algorithm and delayed acknowledgement at the peer.
        self.connection.sendall(self._head(reply, len(reply.content)) + content)
        if reply.cut_after is not None:
            self._cut()

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _head(self, reply: Reply, length: int) -> bytes:
        lines = [
            f"HTTP/1.1 {reply.code} {_phrase(reply.code)}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {reply.content_type}",
            f"Content-Length: {length}",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if self.close_connection:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _problem_reply(problem: Problem) -> Reply:
    content_type, content = problem.body()
    return Reply(problem.code, content_type, content, headers=dict(problem.headers))


def _storage_problem(error: OSError) -> Problem:
    """A full or broken disk, as an answer that says so."""
    _LOG.error("storage: %s", error)
    return Problem(
        507, f"The registry cannot store this: {error.strerror or error}. Free some space and try again."
    )


def _phrase(code: int) -> str:
    # RFC 9110 has no 308 of Google's kind: the resumable protocol calls it "Resume Incomplete".
    return "Resume Incomplete" if code == 308 else reason(code)
