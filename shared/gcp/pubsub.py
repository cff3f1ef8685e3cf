"""The bus over Pub/Sub (https://cloud.google.com/pubsub/docs/publisher)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from google.api_core import exceptions, retry
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient, PubsubMessage

from shared import dead_letters
from shared.events import DEAD_LETTERS, Event
from shared.gcp.errors import translated

_TIMEOUT = 60.0
# The client's own goes on for ten minutes, which is as long as a stage has for all of an event.
_RETRY = retry.Retry(
    predicate=retry.if_exception_type(
        exceptions.Aborted,
        exceptions.Cancelled,
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.ResourceExhausted,
        exceptions.ServiceUnavailable,
        exceptions.Unknown,
    ),
    initial=0.1,
    maximum=10.0,
    timeout=_TIMEOUT,
)


class PubSubBus:
    """Port `Bus`: publishes and waits until Pub/Sub has the message."""

    def __init__(self, project: str) -> None:
        self._project = project

    @cached_property
    def _client(self) -> Any:
        return pubsub_v1.PublisherClient()

    def publish(self, event: Event) -> None:
        self._send(event.type, event.body(), event.attributes())

    def dead_letter(self, body: bytes, attributes: Mapping[str, str], reason: str) -> None:
        self._send(DEAD_LETTERS, dead_letters.body(body), dead_letters.kept(attributes, reason))

    def _send(self, topic: str, body: bytes, attributes: Mapping[str, str]) -> None:
        path = f"projects/{self._project}/topics/{topic}"
        message = PubsubMessage(data=body, attributes=dict(attributes))
        with translated(f"Publishing to {topic}"):
            # The generated call, not the batching one: that takes attributes as keyword arguments beside its own, so
            # an attribute named `topic` breaks it, and it waits 10 ms for a batch that a stage never fills.
            PublisherClient.publish(
                self._client, topic=path, messages=[message], retry=_RETRY, timeout=_TIMEOUT
            )
