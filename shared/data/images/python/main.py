"""A small data service: it takes numbers and gives back their clipped sum and their count, never a single number.

    GET  /healthz   200 "ok"
    POST /v1/sum    {"values": [0.5, 7, -3], "low": 0, "high": 1}  ->  {"count": 3, "sum": 1.5}

Clipping bounds what one value can add, as differential privacy needs it. Beside it runs `attestation`.
"""

# mypy: ignore-errors
# (its packages are the image's, not this project's)

from __future__ import annotations

import logging
import math
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import attestation
import msgspec
from pythonjsonlogger.json import JsonFormatter

PORT = 8080
MAX_BODY = 8 << 20
"""Bytes of a request."""

log = logging.getLogger("service")


class Numbers(msgspec.Struct, forbid_unknown_fields=True):
    values: list[float]
    low: float
    high: float


class Sum(msgspec.Struct):
    count: int
    sum: float


def clipped_sum(numbers: Numbers) -> Sum:
    """The sum of the values, each moved to the nearest point of [low, high] first. ValueError if that is empty."""
    if numbers.low > numbers.high:
        raise ValueError("low is greater than high")
    clipped = (min(max(value, numbers.low), numbers.high) for value in numbers.values)
    return Sum(len(numbers.values), math.fsum(clipped))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._reply(200, b"ok\n", "text/plain")
        else:
            self._problem(404, "There is no such page; ask for /healthz, or post to /v1/sum.")

    def do_POST(self) -> None:
        if self.path != "/v1/sum":
            self._problem(404, "There is no such page; post to /v1/sum.")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or len(length) > 12 or int(length) > MAX_BODY:
            self._problem(413, f"Give a Content-Length of at most {MAX_BODY} bytes.")
            return
        try:
            numbers = msgspec.json.decode(self.rfile.read(int(length)), type=Numbers)
            answer = clipped_sum(numbers)
        except (ValueError, OverflowError) as error:  # msgspec's own errors are ValueErrors
            self._problem(400, f"The numbers cannot be used: {error}.")
            return
        self._reply(200, msgspec.json.encode(answer), "application/json")

    def _problem(self, code: int, text: str) -> None:
        self.close_connection = True  # a body that was not read would be taken for the next request
        self._reply(code, msgspec.json.encode({"error": text}), "application/json")

    def _reply(self, code: int, body: bytes, kind: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, template: str, *args: object) -> None:
        log.info("%s %s", self.address_string(), template % args)


def main() -> int:
    handler = logging.StreamHandler(sys.stdout)
    # The names that Cloud Logging reads (https://cloud.google.com/logging/docs/structured-logging).
    handler.setFormatter(
        JsonFormatter("%(levelname)s %(name)s %(message)s", rename_fields={"levelname": "severity"})
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        attesting = attestation.start(os.environ)
        server = ThreadingHTTPServer(("", int(os.environ.get("PORT", PORT))), Handler)
    except (ValueError, OSError) as error:
        log.error("The service cannot start: %s", error)  # noqa: TRY400 - a sentence is enough
        return 1
    # shutdown() waits for serve_forever, which the signal interrupts: it needs a thread of its own.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    log.info("Listening on port %d.", server.server_port)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
        if attesting:
            attesting.set()
    return 0


if __name__ == "__main__":
    sys.exit(main())
