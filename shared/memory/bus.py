"""A bus that delivers at least once: duplicated, delayed and shuffled, by a seed."""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from shared import dead_letters
from shared.events import DEAD_LETTERS, SUBSCRIBERS, Delivery, Event, kept, timestamp
from shared.memory.pulled import PullSubscription
from shared.model.routes import LETTERS_TO

Receiver = Callable[[Delivery], bool]
"""Handles one delivery; False, or an exception, asks for another."""


class MemoryBus:
    """Twin of Pub/Sub with push subscriptions. `copies` deliveries of every message, each delayed at random."""

    def __init__(
        self, *, copies: int = 1, max_delay: float = 0.0, seed: int = 0, attempts: int = 100, workers: int = 8
    ) -> None:
        self._receivers: dict[str, Receiver] = {}
        self.pulled: dict[str, PullSubscription] = {}
        """Pull subscriptions by name; whoever wants one puts it here."""
        self._copies, self._max_delay, self._attempts = copies, max_delay, attempts
        self._random = random.Random(seed)  # noqa: S311 - shuffles deliveries, guards nothing
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="bus")
        self._ids = itertools.count(1)
        self._idle = threading.Condition()
        self._open = 0
        self.dead: list[tuple[bytes, Mapping[str, str], str]] = []
        self.published: list[Event] = []

    def subscribe(self, stage: str, receiver: Receiver) -> None:
        self._receivers[stage] = receiver

    def publish(self, event: Event) -> None:
        self.published.append(event)
        self.send(event.type, event.body(), event.attributes())

    def send(self, topic: str, body: bytes, attributes: Mapping[str, str]) -> None:
        """What a publisher outside the system does: a body to a topic."""
        message_id, published = str(next(self._ids)), timestamp(time.time())
        for subscription in list(self.pulled.values()):
            if subscription.topic == topic:
                subscription.put(Delivery(body, topic, dict(attributes), message_id, published))
        for stage, topics in SUBSCRIBERS.items():
            if topic in topics:
                self._push(stage, Delivery(body, topic, dict(attributes), message_id, published))

    def dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        names = dead_letters.kept(attributes, reason)
        kept_body, message_id = dead_letters.body(body), str(next(self._ids))
        now = timestamp(time.time())
        for subscription in list(self.pulled.values()):
            if subscription.topic == DEAD_LETTERS:
                subscription.put(Delivery(kept_body, DEAD_LETTERS, dict(names), message_id, now))
        self._push(LETTERS_TO, Delivery(kept_body, DEAD_LETTERS, dict(names), message_id, now))
        self.dead.append((kept_body, names, names.pop("reason")))

    def _push(self, stage: str, delivery: Delivery) -> None:
        if stage not in self._receivers:
            return
        for _ in range(self._copies):
            with self._idle:
                self._open += 1
                delay = self._random.uniform(0, self._max_delay)
            self._pool.submit(self._deliver, self._receivers[stage], delivery, delay)

    def drain(self, timeout: float) -> bool:
        """Wait until nothing is under way; False if that did not happen in `timeout` seconds."""
        with self._idle:
            return self._idle.wait_for(lambda: self._open == 0, timeout)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _deliver(self, receiver: Receiver, delivery: Delivery, delay: float) -> None:
        try:
            for attempt in range(self._attempts):
                time.sleep(delay if attempt == 0 else min(0.05 * attempt, 1.0))
                with contextlib.suppress(BaseException):  # who raises or dies has not acknowledged
                    if receiver(delivery):
                        return
            if delivery.topic != DEAD_LETTERS:  # a letter about a letter would go round for ever
                self.dead_letter(
                    kept(delivery), delivery.attributes, f"not handled after {self._attempts} deliveries"
                )
        finally:
            with self._idle:
                self._open -= 1
                self._idle.notify_all()
