"""Dead letters in the subscription that holds them (https://cloud.google.com/pubsub/docs/pull#unary_pull_code_samples)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from google.api_core import exceptions
from google.cloud import pubsub_v1

from shared.dead_letters import Letter
from shared.gcp.errors import translated

_PATIENCE = 5.0
"""Seconds: Pub/Sub holds an empty pull open for longer."""
_ROUNDS = 50


class HeldLetters:
    """What `./dmz dead-letters` needs of the subscription; it takes `roles/pubsub.subscriber` on that alone."""

    def __init__(self, project: str, subscription: str, patience: float | None = None) -> None:
        self._project, self._name = project, subscription
        self._patience = _PATIENCE if patience is None else patience

    @cached_property
    def _client(self) -> Any:
        return pubsub_v1.SubscriberClient()

    @property
    def _path(self) -> str:
        return f"projects/{self._project}/subscriptions/{self._name}"

    def pull(self) -> Sequence[Letter]:
        """All that wait. Whoever pulled them must acknowledge or release them."""
        found: list[Letter] = []
        for _ in range(_ROUNDS):
            with translated("Reading the dead letters"):
                received: Sequence[Any] = ()
                with contextlib.suppress(exceptions.DeadlineExceeded):  # there are none
                    received = self._client.pull(
                        subscription=self._path, max_messages=1000, timeout=self._patience, retry=None
                    ).received_messages
            if not received:
                break
            found += [_letter(each) for each in received]
        return found

    def acknowledge(self, letters: Sequence[Letter]) -> None:
        if letters:
            with translated("Taking dead letters off the list"):
                ids = [each.ack_id for each in letters]
                self._client.acknowledge(subscription=self._path, ack_ids=ids, timeout=60)

    def release(self, letters: Sequence[Letter]) -> None:
        """Whoever pulls next gets them."""
        for start in range(0, len(letters), 1000):
            with translated("Giving dead letters back"):
                self._client.modify_ack_deadline(
                    subscription=self._path,
                    ack_ids=[each.ack_id for each in letters[start : start + 1000]],
                    ack_deadline_seconds=0,
                    timeout=60,
                )


def _letter(received: Any) -> Letter:
    message = received.message
    return Letter(
        id=message.message_id,
        body=bytes(message.data),
        attributes=dict(message.attributes),
        published=message.publish_time.isoformat(),
        ack_id=received.ack_id,
    )
