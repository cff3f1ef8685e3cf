"""Stand-ins of the three servers that a service attests with: metadata, Pub/Sub's REST, and the launcher's socket."""

from __future__ import annotations

import base64
import json
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ACCESS = "ya29.access-token-that-must-stay-secret"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJlYXRfbm9uY2UiOiJ4In0.c2lnbmF0dXJlLW9mLWdvb2dsZQ"
Answer = tuple[int, bytes]


class Google:
    """`messages` wait to be pulled; `failures` are answered first, in order, by the path's last word, or `metadata`."""

    def __init__(self, socket: Path) -> None:
        self.messages: dict[str, bytes] = {}
        self.acknowledged: list[str] = []
        self.published: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.token_requests: list[dict[str, Any]] = []
        self.failures: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.changed = threading.Condition()
        handler = self._handler()
        self._web = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._launcher = _UnixServer(str(socket), handler)
        self.url = f"http://127.0.0.1:{self._web.server_address[1]}"
        self.socket = str(socket)
        for server in (self._web, self._launcher):
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        for server in (self._web, self._launcher):
            server.shutdown()
            server.server_close()

    def challenge(self, name: str = "m1", **changes: object) -> dict[str, object]:
        """Put a nonce-issued event into the subscription."""
        event: dict[str, object] = {
            "run_id": "run-4f2a9c01d7be",
            "service": "demo_service",
            "nonce_id": f"nonce-id-of-{name}-0",
            "nonce": "5f0c7a3be1d94f62a8b7c6d5e4f30211",
            "audience": "https://dmz.example/attestation",
            "token_type": "PKI",
            "expires": 4_000_000_000,
        } | changes
        self.messages[name] = json.dumps(event).encode()
        return event

    def wait(self, condition: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, 20)

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        word = "metadata" if "computeMetadata" in path else path.rsplit("/", 1)[-1].rsplit(":", 1)[-1]
        with self.changed:
            self.asked.append((path, headers))
            self.changed.notify_all()
            if waiting := self.failures.get(word):
                return waiting.pop(0)
            if path == "/computeMetadata/v1/instance/service-accounts/default/token":
                assert headers["metadata-flavor"] == "Google"
                return _json({"access_token": ACCESS, "expires_in": 3599, "token_type": "Bearer"})
            if path == "/v1/token":
                self.token_requests.append(json.loads(body))
                return 200, TOKEN.encode()
            if headers.get("authorization") != f"Bearer {ACCESS}":
                return 401, b'{"error": {"status": "UNAUTHENTICATED"}}'
            return self._pubsub(path, json.loads(body))

    def _pubsub(self, path: str, asked: dict[str, Any]) -> Answer:
        match path.removeprefix("/v1/projects/demo-project/"):
            case "subscriptions/demo-sub:pull":
                assert asked == {"maxMessages": 1}
                waiting = [*self.messages.items()][:1]
                received = [{"ackId": name, "message": {"data": _base64(body)}} for name, body in waiting]
                return _json({"receivedMessages": received} if received else {})
            case "subscriptions/demo-sub:acknowledge":
                for name in asked["ackIds"]:
                    self.messages.pop(name, None)
                    self.acknowledged.append(name)
                return _json({})
            case "topics/attestation-requested:publish":
                [message] = asked["messages"]
                body = base64.b64decode(message["data"])
                self.published.append((body.decode(), json.loads(body), message["attributes"]))
                return _json({"messageIds": ["1"]})
        return 404, b'{"error": {"status": "NOT_FOUND", "message": "' + TOKEN.encode() + b'"}}'

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        google = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers["Content-Length"])))

            def _answer(self, body: bytes) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                status, answer = google.answer(self.path, headers, body)
                self.send_response(status)
                if status in (301, 302, 307):
                    self.send_header("Location", answer.decode())
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

            def address_string(self) -> str:
                return "here"

        return Handler


class _UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def _json(value: object) -> Answer:
    return 200, json.dumps(value).encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
