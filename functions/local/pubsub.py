"""Topics and subscriptions of the local platform, through Pub/Sub's REST interface.

What Terraform makes on Google Cloud. https://cloud.google.com/pubsub/docs/reference/rest
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from shared.errors import Permanent, Transient
from shared.events import DEAD_LETTERS, SUBSCRIBERS, TYPES, WITH_TOKENS
from shared.model.routes import LETTERS_TO

_ACK_SECONDS = 600
"""Pub/Sub's longest: a handler that is slower is delivered to again while it works."""
_ATTEMPTS = 100
"""The emulator delivers again every second (see `_push`), so this is the longest patience that it can be given."""
HOLD = f"{DEAD_LETTERS}-hold"
"""Keeps dead letters: a dead-letter topic without a subscription loses them."""


@dataclass(frozen=True)
class PubSub:
    """One project at one Pub/Sub endpoint."""

    host: str
    """HOST:PORT, without TLS."""
    project: str

    def set_up(self, endpoints: Mapping[str, str]) -> None:
        """All topics, a push subscription `<stage>--<topic>` for each stage in `endpoints` (its base address)."""
        with self._client() as client:
            for topic in (*TYPES, DEAD_LETTERS):
                _put(client, f"topics/{topic}", {})
            _put(
                client,
                f"subscriptions/{HOLD}",
                {"topic": self._topic(DEAD_LETTERS), "ackDeadlineSeconds": 60},
            )
            for stage, address in endpoints.items():
                also = (DEAD_LETTERS,) if stage == LETTERS_TO else ()
                for topic in (*SUBSCRIBERS[stage], *also):
                    _put(client, f"subscriptions/{stage}--{topic}", self._push(topic, address))

    def subscribe(self, name: str, topic: str, filter: str = "") -> None:
        """A subscription to pull from, unless it is there. Google's emulator accepts `filter` and ignores it."""
        content = {"topic": self._topic(topic), "ackDeadlineSeconds": 60, "filter": filter}
        with self._client() as client:
            _put(client, f"subscriptions/{name}", content)

    def pull(self, name: str) -> list[dict[str, Any]]:
        """What waits in a subscription, as far as Pub/Sub gives it at once: `ackId` and `message` of each."""
        found = self._asked(f"subscriptions/{name}:pull", {"maxMessages": 100, "returnImmediately": True})
        return list(found.get("receivedMessages", ()))

    def acknowledge(self, name: str, ack_ids: Sequence[str]) -> None:
        if ack_ids:
            self._asked(f"subscriptions/{name}:acknowledge", {"ackIds": list(ack_ids)})

    def release(self, name: str, ack_ids: Sequence[str]) -> None:
        """Give back what was pulled: whoever pulls next gets it."""
        if ack_ids:
            content = {"ackIds": list(ack_ids), "ackDeadlineSeconds": 0}
            self._asked(f"subscriptions/{name}:modifyAckDeadline", content)

    def _asked(self, path: str, content: dict[str, Any]) -> dict[str, Any]:
        try:
            with self._client() as client:
                answer = client.post(path, json=content)
        except httpx.HTTPError as error:
            raise Transient(f"Pub/Sub at {self.host} does not answer: {error}.") from error
        if answer.status_code != 200:
            raise Permanent(f"Pub/Sub at {self.host} refused {path}: {answer.text.strip()[:300]}")
        found: dict[str, Any] = answer.json()
        return found

    def _client(self) -> httpx.Client:
        # No proxy of the user's stands before an emulator, and no TLS: its authorities take longer to read than to ask.
        base = f"http://{self.host}/v1/projects/{self.project}"
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx.Client(base_url=base, timeout=10, trust_env=False, verify=nobody)

    def publish(self, topic: str, body: bytes, attributes: Mapping[str, str]) -> None:
        message = {"data": base64.b64encode(body).decode(), "attributes": dict(attributes)}
        try:
            with self._client() as client:
                answer = client.post(f"topics/{topic}:publish", json={"messages": [message]})
        except httpx.HTTPError as error:
            raise Transient(f"Pub/Sub at {self.host} did not take a message for {topic}: {error}.") from error
        if answer.status_code == 404 and topic in TYPES:  # started again a moment ago: they are being made
            raise Transient(f"Pub/Sub at {self.host} has no topic {topic}.")
        if answer.status_code != 200:
            raise Permanent(
                f"Pub/Sub at {self.host} refused a message for {topic}: {answer.text.strip()[:300]}"
            )

    def _topic(self, name: str) -> str:
        return f"projects/{self.project}/topics/{name}"

    def _push(self, topic: str, address: str) -> dict[str, Any]:
        content = {
            "topic": self._topic(topic),
            # The path becomes the CloudEvent's source: functions-framework reads the topic from it.
            "pushConfig": {"pushEndpoint": f"{address}/{self._topic(topic)}"},
            "ackDeadlineSeconds": _ACK_SECONDS,
            "retainAckedMessages": True,  # so that one may seek back to them, as on Google Cloud
            # No retry policy, as there is on Google Cloud: under one, Google's emulator loses messages. Two that
            # fail twice together share an instant in its list of what waits, one is taken from there once too often,
            # and that exception ends the only thread that delivers again. Our own pauses: shared/delivery.py.
        }
        if topic in (WITH_TOKENS, DEAD_LETTERS):  # a letter about a letter would go round for ever
            return content
        policy = {"deadLetterTopic": self._topic(DEAD_LETTERS), "maxDeliveryAttempts": _ATTEMPTS}
        return content | {"deadLetterPolicy": policy}


def _put(client: httpx.Client, path: str, content: dict[str, Any]) -> None:
    try:
        answer = client.put(path, json=content)
    except httpx.HTTPError as error:
        raise Permanent(f"Pub/Sub does not answer when {path} is made: {error}.") from error
    # 409: it exists, as after a restart of the supervisor alone.
    if answer.status_code not in (200, 409):
        raise Permanent(f"Pub/Sub refused to make {path}: {answer.text.strip()[:300]}")
