"""An HTTP server that Pub/Sub's emulator pushes to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Endpoint:
    """Hands each push to `takes`, with its path and its body, and answers 204 if that says True, else 503."""

    def __init__(self, takes: Callable[[str, Mapping[str, Any]], bool]) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pushed = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(204 if takes(self.path, pushed) else 503)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
