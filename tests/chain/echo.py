"""Publishes everything again: what at-least-once delivery does on a bad day, on order."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from functions.local.platform import Platform
from shared.events import TYPES

COPY = "echo"
"""Attribute of a copy: an echo is not echoed."""
Message = dict[str, Any]


class _Gone(Exception):
    """There is no such topic or subscription (any more)."""


@dataclass
class Echo:
    """Listens to every topic but the watchdog's, and publishes each message again `times` times, later."""

    up: Platform
    chance: random.Random
    times: int = 2
    delay: float = 1.0
    """Mean seconds of a copy's delay."""
    idle: float = 0.1
    """Seconds between two looks at a topic."""
    heard: list[tuple[str, Message]] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Echo:
        base = f"http://{self.up.addresses['pubsub']}/v1/projects/{self.up.project}"
        # One for all: what a client costs is reading the authorities of a TLS that nobody speaks here.
        self._client = httpx.Client(base_url=base, timeout=60, trust_env=False)
        for topic in TYPES:
            if topic == "sweep-requested":
                continue
            self._subscribe(topic)
            self._start(self._listen, topic)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        for topic in {topic for topic, _ in self.heard}:
            with suppress(_Gone, httpx.HTTPError):
                self._call("DELETE", f"subscriptions/echo--{topic}")
        self._client.close()

    def repeat(self) -> None:
        """Everything that was heard, in another order."""
        messages = list(self.heard)
        self.chance.shuffle(messages)
        for topic, message in messages:
            self._publish(topic, message)

    def _start(self, work: Any, *words: Any) -> None:
        thread = threading.Thread(target=work, args=words, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _subscribe(self, topic: str) -> None:
        content = {"topic": f"projects/{self.up.project}/topics/{topic}", "ackDeadlineSeconds": 60}
        self._call("PUT", f"subscriptions/echo--{topic}", content)

    def _listen(self, topic: str) -> None:
        while not self._stop.is_set():
            try:
                self._hear(topic)
            except (_Gone, httpx.HTTPError):  # a broker that died knows nobody who listened
                self._stop.wait(self.idle)
                with suppress(_Gone, httpx.HTTPError):
                    self._subscribe(topic)

    def _hear(self, topic: str) -> None:
        name = f"subscriptions/echo--{topic}"
        while not self._stop.is_set():
            wish = {"maxMessages": 10, "returnImmediately": True}
            received = self._call("POST", f"{name}:pull", wish).get("receivedMessages", [])
            if received:
                self._call("POST", f"{name}:acknowledge", {"ackIds": [one["ackId"] for one in received]})
            for one in received:
                message = one["message"]
                if COPY not in message.get("attributes", {}):
                    self.heard.append((topic, message))
                    for _ in range(self.times):
                        self._start(self._later, topic, message, self.chance.expovariate(1 / self.delay))
            self._stop.wait(self.idle)

    def _later(self, topic: str, message: Message, seconds: float) -> None:
        time.sleep(seconds)
        self._publish(topic, message)

    def _publish(self, topic: str, message: Message) -> None:
        copy = {"data": message.get("data", ""), "attributes": {**message.get("attributes", {}), COPY: "1"}}
        with suppress(_Gone, httpx.HTTPError):  # it is a copy
            self._call("POST", f"topics/{topic}:publish", {"messages": [copy]})

    def _call(self, method: str, path: str, content: Any = None) -> dict[str, Any]:
        answer = self._client.request(method, path, json=content)
        if answer.status_code == 404:
            raise _Gone(path)
        if (method, answer.status_code) == ("PUT", 409):  # it is there, and the connection alone had broken
            return {}
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found
