"""Google's own emulator, set up as the local platform does it: what fails comes again, together or alone."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from functions.local.pubsub import HOLD, PubSub
from tests.local.up import eventually


class Stage:
    """Refuses each message so many times, and notes when it came."""

    def __init__(self, refusals: int) -> None:
        self.came: dict[str, list[float]] = defaultdict(list)
        self.taken: set[str] = set()
        stage = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                pushed = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                name = base64.b64decode(pushed["message"]["data"]).decode()
                stage.came[name].append(time.monotonic())
                taken = len(stage.came[name]) > refusals
                if taken:
                    stage.taken.add(name)
                self.send_response(204 if taken else 503)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(refusals=4)
    yield made
    made.server.shutdown()
    made.server.server_close()


def test_messages_that_fail_together_come_again_until_they_are_taken(
    pubsub_emulator: str, project: str, stage: Stage
) -> None:
    """Under a retry policy the emulator loses them after the third time, for ever (functions/local/pubsub.py)."""
    pubsub = PubSub(pubsub_emulator, project)
    pubsub.set_up({"scanner": stage.address})
    names = {f"event {number}" for number in range(6)}
    for name in sorted(names):
        pubsub.publish("manifest-published", name.encode(), {})
    eventually(lambda: stage.taken == names)
    assert {len(times) for times in stage.came.values()} == {5}
    assert pubsub.pull(HOLD) == []
