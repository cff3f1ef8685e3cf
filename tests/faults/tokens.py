"""A metadata server between a stage and the platform's own: its tokens live shortly, and may be spoiled on order.

google-auth asks for a new token 225 s before the old one ends (REFRESH_THRESHOLD): with these it does so all the time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from functions.local.project import account
from shared.emulators import tokens

LIFETIME = 235
"""Seconds: google-auth keeps such a token for ten."""


class Metadata:
    """Listens on loopback until `close`. `target`: HOST:PORT of the real one; `key` signs the platform's tokens."""

    def __init__(self, stage: str, target: Callable[[], str], key: Callable[[], bytes]) -> None:
        self._stage, self._target, self._key = stage, target, key
        self.shift = 0.0
        """Who checks a token sees it expire by so much later than it was said."""
        self.said = LIFETIME
        """Seconds that a token is said to live."""
        self.made = 0
        """Tokens that were spoiled."""
        self._client = httpx.Client(timeout=30, trust_env=False)
        outer = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                code, kind, content = outer._answer(self.path)
                self.send_response(code)
                self.send_header("Metadata-Flavor", "Google")
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that was killed
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def calm(self) -> None:
        self.shift, self.said = 0.0, LIFETIME

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        if path.partition("?")[0].endswith("/token"):
            return 200, "application/json", json.dumps(self._token()).encode()
        try:
            found = self._client.get(f"http://{self._target()}{path}", headers={"Metadata-Flavor": "Google"})
        except httpx.HTTPError:
            return 503, "text/plain", b"there is no platform"
        return found.status_code, found.headers.get("content-type", "text/plain"), found.content

    def _token(self) -> dict[str, object]:
        self.made += bool(self.shift) or self.said != LIFETIME
        lives = int(LIFETIME + self.shift)
        token = tokens.mint(self._key(), account(self._stage), time.time(), lives)
        return {"access_token": token, "expires_in": self.said, "token_type": "Bearer"}
