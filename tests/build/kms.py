"""Several key versions of Cloud KMS behind one address: tests/provenance/kms_standin.py, once for each."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.provenance.kms_standin import NAME, TOKEN, Kms

_PATH = re.compile(r"/v1/(projects/[^:]+/cryptoKeyVersions/[0-9]+)(/publicKey|:asymmetricSign)")


@contextmanager
def ring(*names: str) -> Iterator[tuple[str, dict[str, Kms]]]:
    """The address, and each key version by its name; any credential may use them."""
    keys = {name: Kms() for name in names}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = _PATH.fullmatch(self.path)
            status, content = 404, b"{}"
            if found and found[1] in keys and self.headers.get("Authorization", "").startswith("Bearer "):
                asked = f"/v1/{NAME}{found[2]}"
                status, content = keys[found[1]].answer(self.command, asked, f"Bearer {TOKEN}", body)
                content = content.replace(NAME.encode(), found[1].encode())
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", keys
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
