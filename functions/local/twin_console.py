"""The console over a store in memory: in the process that holds it, on a port of its own."""

from __future__ import annotations

import logging
import threading
import time

from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Request, Response

from functions.console.site import Site
from shared.memory.readings import MemoryReadings
from shared.memory.store import MemoryBlobs, MemoryStore

_log = logging.getLogger("console")


def serve(store: MemoryStore, blobs: MemoryBlobs, port: int) -> BaseWSGIServer:
    """Answers until it is shut down. Loopback only."""
    site = Site(MemoryReadings(store, blobs), time.time, _log.error)

    @Request.application
    def application(request: Request) -> Response:
        return site.answer(request)

    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", port, application, threaded=True)
    threading.Thread(target=server.serve_forever, name="console", daemon=True).start()
    return server
