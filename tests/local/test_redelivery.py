"""Google's own emulator, set up as the local platform does it: what fails comes again, together or alone."""

from __future__ import annotations

import base64
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from functions.local.pubsub import HOLD, PubSub
from tests.local.endpoint import Endpoint
from tests.local.up import eventually


class Stage:
    """Refuses each message so many times, and notes when it came."""

    def __init__(self, refusals: int) -> None:
        self.came: dict[str, list[float]] = defaultdict(list)
        self.taken: set[str] = set()
        self._refusals = refusals
        self.endpoint = Endpoint(self._takes)

    def _takes(self, _path: str, pushed: Mapping[str, Any]) -> bool:
        name = base64.b64decode(pushed["message"]["data"]).decode()
        self.came[name].append(time.monotonic())
        if len(self.came[name]) <= self._refusals:
            return False
        self.taken.add(name)
        return True


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage(refusals=4)
    yield made
    made.endpoint.close()


def test_messages_that_fail_together_come_again_until_they_are_taken(
    pubsub_emulator: str, project: str, stage: Stage
) -> None:
    """Under a retry policy the emulator loses them after the third time, for ever (functions/local/pubsub.py)."""
    pubsub = PubSub(pubsub_emulator, project)
    pubsub.set_up({"scanner": stage.endpoint.address})
    names = {f"event {number}" for number in range(6)}
    for name in sorted(names):
        pubsub.publish("manifest-published", name.encode(), {})
    eventually(lambda: stage.taken == names)
    assert {len(times) for times in stage.came.values()} == {5}
    assert pubsub.pull(HOLD) == []
