"""The bus over Pub/Sub (https://cloud.google.com/pubsub/docs/publisher)."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from functools import cached_property
from typing import Any

from google.cloud import pubsub_v1

from shared.errors import Transient
from shared.events import DEAD_LETTERS, Event
from shared.gcp.errors import translated

_TIMEOUT = 60.0


class PubSubBus:
    """Port `Bus`: publishes and waits until Pub/Sub has the message."""

    def __init__(self, project: str) -> None:
        self._project = project

    @cached_property
    def _client(self) -> Any:
        # One message at a time is what a stage publishes: waiting 10 ms for a batch would only delay it.
        return pubsub_v1.PublisherClient(batch_settings=pubsub_v1.types.BatchSettings(max_latency=0.001))

    def publish(self, event: Event) -> None:
        self._send(event.type, event.body(), event.attributes())

    def dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        # Pub/Sub takes attribute values up to 1,024 bytes.
        cut = {key[:256]: value.encode()[:1024].decode(errors="ignore") for key, value in attributes.items()}
        self._send(DEAD_LETTERS, body, {**cut, "reason": reason.encode()[:1024].decode(errors="ignore")})

    def _send(self, topic: str, body: bytes, attributes: Mapping[str, str]) -> None:
        path = self._client.topic_path(self._project, topic)
        with translated(f"Publishing to {topic}"):
            try:
                self._client.publish(path, body, **attributes).result(_TIMEOUT)
            except FutureTimeout as error:
                raise Transient(
                    f"Pub/Sub did not take a message for {topic} within {_TIMEOUT:.0f} s."
                ) from error
