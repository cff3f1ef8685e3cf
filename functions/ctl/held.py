"""Where dead letters lie: the subscription `dead-letters-hold` of a deployment, or of the platform of this machine."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from functions.ctl.stored import Unreachable
from functions.local import platform
from functions.local.layout import Layout
from functions.local.project import bypass
from functions.local.pubsub import HOLD, PubSub
from shared.dead_letters import Letter

_ROUNDS = 200


class Held(Protocol):
    """The holding subscription. Whoever pulled letters must acknowledge or release them."""

    def pull(self) -> Sequence[Letter]: ...
    def acknowledge(self, letters: Sequence[Letter]) -> None: ...
    def release(self, letters: Sequence[Letter]) -> None: ...


@dataclass(frozen=True)
class LocalHeld:
    """Over Pub/Sub's REST interface, as the emulator and the twins have it."""

    pubsub: PubSub

    def pull(self) -> Sequence[Letter]:
        found: list[Letter] = []
        for _ in range(_ROUNDS):
            received = self.pubsub.pull(HOLD)
            if not received:
                break
            found += [_letter(each) for each in received]
        return found

    def acknowledge(self, letters: Sequence[Letter]) -> None:
        self.pubsub.acknowledge(HOLD, [each.ack_id for each in letters])

    def release(self, letters: Sequence[Letter]) -> None:
        self.pubsub.release(HOLD, [each.ack_id for each in letters])


def held(project: str, layout: Layout) -> Held:
    """Unreachable if the platform of this machine is asked for and not up."""
    if project:
        from shared.gcp.held import HeldLetters

        return HeldLetters(project, HOLD)
    up = platform.read(layout.platform)
    if up is None:
        raise Unreachable(
            "The platform is not up, so it holds no dead letters: start it with ./dmz up, or name a deployment with "
            "--project."
        )
    os.environ.update(bypass(os.environ))
    return LocalHeld(PubSub(up.addresses["pubsub"], up.project))


@contextmanager
def pulled(place: Held) -> Iterator[list[Letter]]:
    """All that there are, the oldest first. What is still in the list at the end is given back."""
    letters = {each.id: each for each in place.pull()}  # one may be given twice
    listed = sorted(letters.values(), key=lambda each: (each.published, each.id))
    try:
        yield listed
    finally:
        place.release(listed)


def _letter(received: dict[str, Any]) -> Letter:
    message = received["message"]
    return Letter(
        id=str(message.get("messageId", "")),
        body=base64.b64decode(message.get("data") or ""),
        attributes={str(key): str(value) for key, value in (message.get("attributes") or {}).items()},
        published=str(message.get("publishTime", "")),
        ack_id=str(received["ackId"]),
    )
