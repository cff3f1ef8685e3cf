"""What was published on this machine, in files: Google's Pub/Sub emulator holds messages in memory alone.

Whoever publishes to it writes the message down first. When the emulator has died, what no stage has finished with is
published again (`functions/local/again.py`). Only where `VARIABLE` names a directory: Pub/Sub itself loses nothing.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import Inaccessible
from shared.events import Event
from shared.model.value import sha256
from shared.ports.store import Bus

VARIABLE = "DMZ_PLATFORM_JOURNAL"
"""Environment variable of the local platform's processes: the directory."""
PATIENCE = 60.0
"""Seconds in which an emulator that was started again has its topics."""
_PAUSE = 0.2
_TOPIC, _SUBSCRIPTION = "topic~", "subscription~"


@dataclass(frozen=True)
class Message:
    """One that was published, as it was."""

    topic: str
    body: bytes
    attributes: Mapping[str, str]
    at: float
    """When it was last written down, in Unix seconds."""


@dataclass(frozen=True)
class Subscription:
    """One to pull from, which somebody has made."""

    name: str
    topic: str
    filter: str


def directory(environment: Mapping[str, str]) -> Path | None:
    """Where messages are written down; None where Pub/Sub keeps them itself."""
    given = environment.get(VARIABLE, "")
    return Path(given) if given else None


def keep(place: Path, topic: str, body: bytes, attributes: Mapping[str, str]) -> None:
    """Write a message down, before it is published. The same message twice is written once."""
    content = {"data": base64.b64encode(body).decode(), "attributes": dict(attributes)}
    keep_request(place, topic, json.dumps({"messages": [content]}).encode())


def keep_request(place: Path, topic: str, request: bytes) -> str:
    """The same with the body of Pub/Sub's own `topics.publish`, whatever stands in it; the name of the file."""
    name = f"{_TOPIC}{topic}~{sha256(request)[7:39]}"
    _write(place, name, request)
    return name


def subscribed(place: Path, name: str, topic: str, filter: str) -> None:
    """Write down that there is such a subscription."""
    _write(place, f"{_SUBSCRIPTION}{name}", json.dumps([name, topic, filter]).encode())


def messages(place: Path) -> Iterator[Message]:
    """What was written down, the oldest first. What is no message is left out: strangers' VMs wrote some of it."""
    for path, at in _files(place, _TOPIC):
        with suppress(OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
            for one in json.loads(path.read_bytes())["messages"]:
                body = base64.b64decode(one.get("data") or "", validate=True)
                names = {str(key): str(value) for key, value in (one.get("attributes") or {}).items()}
                yield Message(path.name.split("~")[1], body, names, at)


def subscriptions(place: Path) -> Iterator[Subscription]:
    for path, _ in _files(place, _SUBSCRIPTION):
        yield Subscription(*json.loads(path.read_bytes()))


def prune(place: Path, before: float) -> None:
    """Forget messages that were written down before then."""
    for path, at in _files(place, _TOPIC):
        if at < before:
            path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Journalled:
    """Port `Bus` to an emulator that may die: writes down what it publishes, and waits for topics to be made again."""

    bus: Bus
    place: Path
    clock: Callable[[], float] = field(default=time.monotonic)
    sleep: Callable[[float], None] = field(default=time.sleep)

    def publish(self, event: Event) -> None:
        keep(self.place, event.type, event.body(), event.attributes())
        self._patiently(lambda: self.bus.publish(event))

    def dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        self._patiently(lambda: self.bus.dead_letter(body, attributes, reason))

    def _patiently(self, call: Callable[[], Any]) -> None:
        end = self.clock() + PATIENCE
        while True:
            try:
                call()
            except Inaccessible as error:
                if error.why != "absent" or self.clock() > end:
                    raise
                self.sleep(_PAUSE)
            else:
                return


def _files(place: Path, prefix: str) -> Sequence[tuple[Path, float]]:
    found = []
    for path in place.glob(f"{prefix}*"):
        with suppress(OSError):  # pruned meanwhile
            found.append((path, path.stat().st_mtime))
    return sorted(found, key=lambda each: (each[1], each[0].name))


def _write(place: Path, name: str, content: bytes) -> None:
    """Whole or not at all, for the owner's eyes: some messages hold a token.

    What cannot be written is published all the same: it is lost only if the emulator dies, too.
    """
    partial = place / f".{secrets.token_hex(8)}"
    with suppress(OSError):
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
            partial.rename(place / name)
        finally:
            partial.unlink(missing_ok=True)
