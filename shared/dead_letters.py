"""What Pub/Sub takes of a message that could not be handled."""

from __future__ import annotations

from collections.abc import Mapping

MAX_BODY = 9_500_000
"""Bytes of a kept body: with its attributes it must fit into a message of 10,000,000, as the original did without."""


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
