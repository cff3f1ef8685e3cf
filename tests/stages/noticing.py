"""Events that somebody wants to be told of, and sinks that take them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shared import notices
from shared.errors import Transient
from shared.events import AttestationAppraised, Delivery, Event, RunFailed, VerdictChanged, decode
from shared.memory.store import MemoryStore
from tests.support.samples import RUN, SOME

NOW = 1_800_000_000.0
CONSOLE = "https://console.test/"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Server:
    """A sink on loopback, which answers as it is told and keeps what came."""

    def __init__(self, answer: Answer) -> None:
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.answer = answer
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.came.append(
                    (self.path, {name.lower(): value for name, value in self.headers.items()}, body)
                )
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/in?key=sesame"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def answering(status: int, **headers: str) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()

    return answer


class Recorded:
    """A sink in memory."""

    def __init__(self, *troubles: Transient) -> None:
        self.troubles = list(troubles)
        self.came: list[tuple[Mapping[str, str], dict[str, Any]]] = []

    def send(self, attributes: Mapping[str, str], body: bytes) -> None:
        if self.troubles:
            raise self.troubles.pop(0)
        self.came.append((attributes, json.loads(body)))


def event(data: RunFailed | VerdictChanged | AttestationAppraised, topic: str) -> Event:
    return decode(Delivery(data.canonical(), topic, {}, "1", "2026-11-22T10:00:00Z"))


def failed(reason: str = "The disk is full.") -> Event:
    return event(RunFailed(run_id=RUN, stage="sync", reason=reason), "run-failed")


def changed() -> Event:
    data = VerdictChanged(
        purl="pkg:pypi/lib@1.0", before="allow", after="block", reason="GHSA-1", verdicts=SOME
    )
    return event(data, "verdict-changed")


def told(about: Event, console: str = CONSOLE) -> dict[str, Any]:
    (write,) = notices.about(about, console, NOW)
    return dict(write.fields["data"])


def kept(store: MemoryStore, about: Event, now: float = NOW) -> str:
    (write,) = notices.about(about, CONSOLE, now)
    store.put([write])
    return write.id
