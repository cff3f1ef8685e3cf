"""The broker and the store of a machine without Google's emulators: one process with the twins and all stages.

`python -m functions.local.twins PORT CONSOLE_PORT`. It speaks Pub/Sub's REST publish
(https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.topics/publish), which VMs and the command line use,
and an interface of its own to documents and blobs, for the command line.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from functions.attestation import main as attestation
from functions.inner import main as inner
from functions.local import twin_console
from functions.local.pubsub import HOLD
from functions.outer import main as outer
from functions.scanner import main as scanner
from functions.scanner import stage as scanner_stage
from functions.sync import main as sync
from functions.sync import stage as sync_stage
from shared import judgement, vm_stages
from shared.delivery import Desk
from shared.errors import DmzError, Permanent, Transient
from shared.events import DEAD_LETTERS, TYPES, Delivery
from shared.gcp.registry import ArtifactRegistry
from shared.gcp.tpu import TpuVms
from shared.memory.bus import MemoryBus
from shared.memory.pulled import PullSubscription
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.ports.store import Put
from shared.settings import Settings, read
from shared.upstream import connect
from shared.upstream.release_dates import ReleaseDates

_SUBSCRIPTION = re.compile(
    r"/v1/projects/[^/]+/subscriptions/([a-z0-9_-]+)(?::(pull|acknowledge|modifyAckDeadline))?"
)
_PULL_SECONDS = 60.0
"""Pub/Sub too holds an empty pull open for a while."""
_PUBLISH = re.compile(r"/v1/projects/[^/]+/topics/([a-z-]+):publish")
_log = logging.getLogger("twins")


class Twins:
    """Store, blobs and bus in memory, with the stages subscribed."""

    def __init__(self, settings: Settings) -> None:
        self.store, self.blobs, self.bus = MemoryStore(), MemoryBlobs(), MemoryBus(workers=16)
        self.bus.pulled[HOLD] = PullSubscription(DEAD_LETTERS)
        for desk in self._desks(settings):
            self.bus.subscribe(desk.stage, functools.partial(_receive, desk))

    def _desks(self, settings: Settings) -> Iterator[Desk]:
        store, blobs, bus = self.store, self.blobs, self.bus
        machines: dict[str, Any] = {
            "store": store,
            "blobs": blobs,
            "vms": TpuVms(settings),
            "settings": settings,
            "clock": time.time,
            "secret": lambda: secrets.token_hex(24),
        }
        judging: dict[str, Any] = {
            "store": store,
            "blobs": blobs,
            "advisories": judgement.advisories(settings),
            "policy": judgement.policy(settings),
            "clock": time.time,
        }
        carrying: dict[str, Any] = {
            "registry": ArtifactRegistry(settings, store),
            "upstream": functools.partial(connect.upstream, settings, dates=ReleaseDates(store)),
            "settings": settings,
            "scratch": Path(tempfile.gettempdir()),
        }
        yield outer.desk(vm_stages.Ports(**machines), bus)
        facts = functools.partial(connect.facts, settings)
        yield scanner.desk(scanner_stage.Ports(**judging, facts=facts), bus, settings)
        yield sync.desk(sync_stage.Ports(**judging, **carrying), bus)
        yield inner.desk(vm_stages.Ports(**machines), bus)
        yield attestation.desk(attestation.ports(settings, store, blobs), bus)


def _receive(desk: Desk, delivery: Delivery) -> bool:
    """What functions-framework does with a delivery; False asks for another."""
    try:
        desk.deliver(delivery)
    except DmzError as error:
        _log.warning("%s: %s", desk.stage, error)
        return False
    except Exception:
        _log.exception("the %s stage has a defect", desk.stage)
        return False
    return True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    twins: Twins

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.split("/") if part]
        match parts:
            case ["documents", collection, name]:
                self._answer(self.twins.store.get(collection, name))
            case ["documents", collection]:
                query = parse_qs(url.query)
                found = self.twins.store.find(collection, query["field"][0], query["equals"][0])
                self._answer([[name, fields] for name, fields in found])
            case ["blobs", digest]:
                self._guarded(lambda: base64.b64encode(self.twins.blobs.get(digest)).decode())
            case _:
                self._answer({"error": "not found"}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if match := _PUBLISH.fullmatch(self.path):
            self._publish(match[1], body)
        elif (match := _SUBSCRIPTION.fullmatch(self.path)) and match[2]:
            self._pulled(match[1], match[2], body)
        elif self.path == "/documents":
            writes = [
                Put(one["collection"], one["id"], one["fields"], one["merge"]) for one in body["writes"]
            ]
            self._guarded(lambda: self.twins.store.put(writes))
        else:
            self._answer({"error": "not found"}, 404)

    def do_PUT(self) -> None:
        """https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions/create"""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        match = _SUBSCRIPTION.fullmatch(self.path)
        topic = str(body.get("topic", "")).rpartition("/")[2]
        if not match or match[2] or topic not in TYPES:
            return self._answer({"error": "not found"}, 404)
        try:
            made = PullSubscription(topic, filter=str(body.get("filter", "")))
        except Permanent as error:
            return self._answer({"error": {"code": 400, "message": str(error)}}, 400)
        self.twins.bus.pulled.setdefault(match[1], made)
        return self._answer(body)

    def _pulled(self, name: str, method: str, body: dict[str, Any]) -> None:
        """https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions/pull, one message at a time.

        Of `modifyAckDeadline` the deadline 0 alone: who gives a message back.
        """
        subscription = self.twins.bus.pulled.get(name)
        if subscription is None:
            return self._answer({"error": {"code": 404, "message": f"Subscription not found: {name}"}}, 404)
        if method == "acknowledge":
            subscription.acknowledge(body.get("ackIds", []))
            return self._answer({})
        if method == "modifyAckDeadline":
            subscription.release(body.get("ackIds", []))
            return self._answer({})
        found = subscription.pull(0 if body.get("returnImmediately") else _PULL_SECONDS)
        if found is None:
            return self._answer({})
        ack_id, delivery = found
        message = {
            "data": base64.b64encode(delivery.body).decode(),
            "attributes": dict(delivery.attributes),
            "messageId": delivery.message_id,
            "publishTime": delivery.publish_time,
        }
        return self._answer({"receivedMessages": [{"ackId": ack_id, "message": message}]})

    def _publish(self, topic: str, body: dict[str, Any]) -> None:
        if topic not in TYPES:
            return self._answer({"error": {"code": 404, "message": f"Topic not found: {topic}"}}, 404)
        for message in body["messages"]:
            data = base64.b64decode(message.get("data", ""))
            self.twins.bus.send(topic, data, message.get("attributes", {}))
        return self._answer({"messageIds": [secrets.token_hex(8) for _ in body["messages"]]})

    def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            self._answer(work())
        except Transient as error:
            self._answer({"error": str(error)}, 503)
        except DmzError as error:
            self._answer({"error": str(error)}, 400)

    def _answer(self, content: Any, code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug(format, *args)


def serve(twins: Twins, port: int) -> ThreadingHTTPServer:
    """A server that is bound and answers once `serve_forever` is called. Loopback only: it asks for no credentials."""
    handler = type("Handler", (_Handler,), {"twins": twins})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    return server


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        twins = Twins(read(os.environ))
        server = serve(twins, int(sys.argv[1]))
        twin_console.serve(twins.store, twins.blobs, int(sys.argv[2]))
    except (DmzError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
