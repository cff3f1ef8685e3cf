"""Publishes to a platform that is up, as its own parts do: nothing is lost when its Pub/Sub emulator dies."""

from __future__ import annotations

import time
from collections.abc import Mapping

from functions.local.platform import Platform
from functions.local.pubsub import PubSub
from shared import journal
from shared.errors import Transient
from shared.events import Event

_PAUSE = 0.2


def send(up: Platform, topic: str, body: bytes, attributes: Mapping[str, str]) -> None:
    """Returns when Pub/Sub has it. Transient if it does not take it within a minute, or the platform has ended."""
    if place := journal.directory(up.environment):
        journal.keep(place, topic, body, attributes)
    pubsub, end = PubSub(up.addresses["pubsub"], up.project), time.monotonic() + journal.PATIENCE
    while True:
        try:
            pubsub.publish(topic, body, attributes)
        except Transient:
            if not up.alive or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)
        else:
            return


def send_event(up: Platform, event: Event) -> None:
    send(up, event.type, event.body(), event.attributes())
