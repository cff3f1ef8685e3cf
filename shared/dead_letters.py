"""What Pub/Sub takes of a message that could not be handled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_BODY = 9_500_000
"""Bytes of a kept body: with its attributes it must fit into a message of 10,000,000, as the original did without."""


_SOURCE = "CloudPubSubDeadLetterSource"
"""Begins the names of the attributes that Pub/Sub adds."""


def body(arrived: bytes) -> bytes:
    """As much of what arrived as can be kept: what cannot be published would come again for ever."""
    return arrived[:MAX_BODY]


def kept(attributes: Mapping[str, str], reason: str) -> dict[str, str]:
    """Attributes of a dead letter: whatever arrived, as far as Pub/Sub takes it, and the reason.

    At most 100, names up to 256 bytes that neither are empty nor begin with `goog`, values up to 1,024 bytes
    (https://cloud.google.com/pubsub/quotas#resource_limits, https://cloud.google.com/pubsub/docs/publisher#attributes).
    """
    cut = {
        _cut(f"x-{key}" if key.startswith("goog") else key or "x-", 256): _cut(value, 1024)
        for key, value in attributes.items()
    }
    return dict(list(cut.items())[:99]) | {"reason": _cut(reason, 1024)}


def _cut(text: str, size: int) -> str:
    return text.encode(errors="replace")[:size].decode(errors="ignore")


@dataclass(frozen=True)
class Letter:
    """One dead letter as it was pulled."""

    id: str
    """Pub/Sub's id of the message."""
    body: bytes
    attributes: Mapping[str, str]
    published: str
    """RFC 3339."""
    ack_id: str

    @property
    def topic(self) -> str:
        """Where it could not be handled; empty if it does not say.

        One that Pub/Sub itself has put here names the subscription
        (https://cloud.google.com/pubsub/docs/dead-letter-topics#track_delivery_attempts), `<stage>--<topic>`.
        """
        if given := self.attributes.get("topic"):
            return given
        subscription = self.attributes.get(f"{_SOURCE}Subscription", "")
        if "--" in subscription:
            return subscription.rpartition("/")[2].partition("--")[2]
        return self.attributes.get("ce-type", "").removeprefix("package-dmz.").removesuffix(".v1")

    @property
    def stage(self) -> str:
        """Who could not handle it; empty if it does not say."""
        if given := self.attributes.get("stage"):
            return given
        subscription = self.attributes.get(f"{_SOURCE}Subscription", "").rpartition("/")[2]
        return subscription.partition("--")[0] if "--" in subscription else ""

    @property
    def given_up(self) -> bool:
        """A stage has finished the event with this failure; else nobody ever answered Pub/Sub."""
        return "reason" in self.attributes

    @property
    def reason(self) -> str:
        if self.given_up:
            return self.attributes["reason"]
        times = self.attributes.get(f"{_SOURCE}DeliveryCount", "")
        return (
            f"No stage has acknowledged it{f' in {times} deliveries' if times else ''}: see the stage's log."
        )

    def original(self) -> dict[str, str]:
        """The attributes that its sender gave it."""
        return {
            name: value
            for name, value in self.attributes.items()
            if name not in ("reason", "stage", "topic") and not name.startswith(_SOURCE)
        }
