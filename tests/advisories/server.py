"""A small HTTP server on loopback that answers with what a test gives it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]
"""Status, body, further headers."""
Handler = Callable[[str, str, bytes], Answer]
"""Method, path and body to status and body."""


@contextmanager
def serving(handle: Handler, *, lie_about_length: int = 0) -> Iterator[str]:
    """Its URL. `lie_about_length` is added to Content-Length, as when a connection breaks off."""

    class Request(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, answer, *more = handle(self.command, self.path, body)
            self.send_response(status)
            for name, value in (more[0] if more else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer) + lie_about_length))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _answer

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Request)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
