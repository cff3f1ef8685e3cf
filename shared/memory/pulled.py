"""Twin of a Pub/Sub pull subscription (https://cloud.google.com/pubsub/docs/pull): at least once, till acknowledged."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterable

from shared.errors import Permanent
from shared.events import Delivery

ACK_SECONDS = 60.0
_FILTER = re.compile(r'attributes\.([A-Za-z_][A-Za-z0-9_]*) = "([^"\\]*)"')
"""The one form in use of https://cloud.google.com/pubsub/docs/subscription-message-filter."""


class PullSubscription:
    """Messages of one topic since it was made, as far as `filter` takes them; Permanent for one of another form."""

    def __init__(self, topic: str, ack_seconds: float = ACK_SECONDS, filter: str = "") -> None:
        found = _FILTER.fullmatch(filter)
        if filter and not found:
            raise Permanent(f'The subscription filter {filter} is not of the form attributes.NAME = "VALUE".')
        self.topic = topic
        self._asks = (found[1], found[2]) if found else None
        self._ack_seconds = ack_seconds
        self._changed = threading.Condition()
        self._waiting: list[Delivery] = []
        self._leased: dict[str, tuple[float, Delivery]] = {}
        self._ids = itertools.count(1)

    def put(self, delivery: Delivery) -> None:
        """What the filter does not take is as good as acknowledged."""
        if self._asks and delivery.attributes.get(self._asks[0]) != self._asks[1]:
            return
        with self._changed:
            self._waiting.append(delivery)
            self._changed.notify()

    def pull(self, seconds: float) -> tuple[str, Delivery] | None:
        """(ack id, message), for which it waits so many seconds; it comes again unless it is acknowledged in time."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while not self._ready():
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(min(left, 0.5))
            delivery = self._waiting.pop(0)
            name = str(next(self._ids))
            self._leased[name] = (time.monotonic() + self._ack_seconds, delivery)
            return name, delivery

    def acknowledge(self, names: Iterable[str]) -> None:
        with self._changed:
            for name in names:
                self._leased.pop(name, None)

    def release(self, names: Iterable[str]) -> None:
        """Whoever pulls next gets them: an acknowledgement deadline of 0."""
        with self._changed:
            for name in names:
                if found := self._leased.pop(name, None):
                    self._waiting.append(found[1])
            self._changed.notify_all()

    def _ready(self) -> bool:
        now = time.monotonic()
        for name, (until, delivery) in list(self._leased.items()):
            if until <= now:
                del self._leased[name]
                self._waiting.append(delivery)
        return bool(self._waiting)
