"""The only way out of a hermetic chain: a proxy that ends TLS for the one name that tests serve, and refuses the rest.

https and http proxies: RFC 9110, section 9.3.6 (CONNECT).
"""

from __future__ import annotations

import datetime
import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from shared.emulators.ca import CertificateAuthority
from tests.upstream.support import Web


class Proxy:
    """Listens on loopback. `refused` are the places that somebody wanted to reach and that are not this machine."""

    def __init__(self, name: str, web: Web) -> None:
        now = datetime.datetime.now(datetime.UTC)
        authority = CertificateAuthority.create(now)
        context = authority.server_context([name], now)
        self.pem, self.refused = authority.pem, list[str]()
        self.passed = 0
        proxy, backend = self, urlsplit(web.url).netloc

        class Inner(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                connection = HTTPConnection(backend, timeout=600)
                headers = {key: value for key, value in self.headers.items() if key.lower() != "connection"}
                connection.request("GET", self.path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                self.send_response(answer.status)
                for key, value in answer.getheaders():
                    if key.lower() in ("content-type", "content-range"):
                        self.send_header(key, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        class Outer(BaseHTTPRequestHandler):
            def do_CONNECT(self) -> None:
                if self.path != f"{name}:443":
                    return self._refuse()
                proxy.passed += 1
                self.send_response(200)
                self.end_headers()
                with suppress(OSError):
                    secured = context.wrap_socket(self.connection, server_side=True)
                    Inner(secured, self.client_address, self.server)
                self.close_connection = True
                return None

            def _refuse(self) -> None:
                proxy.refused.append(self.path)
                self.send_error(403, "This chain is hermetic")

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = _refuse

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Outer)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        with suppress(OSError):
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.server_close()
