"""A registry in memory that keeps the specification, chunks and resuming included, until a test makes it lie."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


@dataclass
class Scripted:
    """What it holds, what it was asked, and `lies`: (method, path pattern) to an answer of its own."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path with query, Authorization."""
    received: int = 0
    """Bytes of bodies."""
    cut_after: list[int] = field(default_factory=list)
    """Bodies are read so far, then the connection ends."""
    token: str = ""
    """Bearer token that it wants, from its own /token."""
    host: str = ""
    lies: dict[tuple[str, str], Callable[[Handler], bool]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"state": self}))
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def lie(self, method: str, pattern: str) -> Callable[[Callable[[Handler], bool]], None]:
        """Decorates an answer to `method` and paths in which `pattern` is found; it may return True to go on."""

        def keep(answer: Callable[[Handler], bool]) -> None:
            self.lies[method, pattern] = answer

        return keep

    def asked_with(self, secret: str) -> list[tuple[str, str, str]]:
        return [each for each in self.asked if secret in each[2] or secret in each[1]]


class Handler(BaseHTTPRequestHandler):
    state: Scripted
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None: ...

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()

    def serve(self) -> None:
        state = self.state
        given = self.headers.get("Authorization", "")
        state.asked.append((self.command, self.path, given))
        for (method, pattern), answer in state.lies.items():
            if method == self.command and re.search(pattern, self.path) and not answer(self):
                return
        if self.path.startswith("/token"):
            return self.say(200, json.dumps({"token": state.token}).encode())
        if state.token and given != f"Bearer {state.token}":
            self.body()
            challenge = f'Bearer realm="http://{state.host}/token",service="scripted",scope="anything"'
            return self.say(401, headers={"WWW-Authenticate": challenge})
        self.route()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def route(self) -> None:
        state, path = self.state, self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        if "/manifests/" in path:
            if self.command == "PUT":
                body = self.body()
                kept = (self.headers["Content-Type"], body)
                state.manifests[name] = state.manifests[digest_of(body)] = kept
                return self.say(201)
            kind, body = state.manifests.get(name, ("", b""))
            digest = {"Docker-Content-Digest": digest_of(body), "Content-Type": kind}
            return self.say(200, body, digest) if kind else self.say(404)
        if "/blobs/uploads/" in path:
            return self.upload(name)
        if name in state.blobs:
            return self.say(200, state.blobs[name])
        return self.say(404)

    def upload(self, name: str) -> None:
        state = self.state
        if self.command == "POST":
            name = str(len(state.uploads))
            state.uploads[name] = bytearray()
        if name not in state.uploads:
            return self.say(404)
        held = state.uploads[name]
        if self.command in ("PATCH", "PUT"):
            first = self.headers.get("Content-Range", str(len(held))).partition("-")[0]
            if int(first) != len(held):
                self.body()
                return self.say(416)
            if not self.receive(held):
                return None
        headers = {"Location": f"/v2/some/service/blobs/uploads/{name}"}
        if held:
            headers["Range"] = f"0-{len(held) - 1}"
        if self.command != "PUT":
            return self.say(204 if self.command == "GET" else 202, headers=headers)
        state.blobs[digest_of(bytes(held))] = bytes(held)
        return self.say(201)

    def receive(self, held: bytearray) -> bool:
        """Add the body to `held`; False if a test wants the connection to end before its end."""
        left = int(self.headers.get("Content-Length", 0))
        cut = self.state.cut_after.pop(0) if self.state.cut_after and left > 1000 else left
        keep = min(cut, left)
        while keep:
            data = self.rfile.read(min(keep, 1 << 16))
            held += data
            self.state.received += len(data)
            keep -= len(data)
        if cut < left:
            self.close_connection = True
            return False
        return True

    def body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.state.received += len(data)
        return data

    def say(self, code: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextlib.contextmanager
def scripted(**options: Any) -> Iterator[Scripted]:
    running = Scripted(**options)
    try:
        yield running
    finally:
        running.close()
