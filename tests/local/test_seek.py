"""Seeking back in a subscription delivers all again, and changes nothing: Google's own emulator, the real desk."""

from __future__ import annotations

import base64
import copy
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from functions.local.pubsub import PubSub
from shared.errors import DmzError
from shared.events import SUBSCRIBERS, Delivery, Event, run_id_of, timestamp
from shared.memory.store import MemoryStore
from tests.delivery.world import desk, expected, request
from tests.local.endpoint import Endpoint
from tests.local.up import eventually

STAGES = ("outer", "scanner", "sync", "inner")


class Bus:
    """The stages' bus over Pub/Sub's REST interface."""

    def __init__(self, pubsub: PubSub) -> None:
        self._pubsub = pubsub
        self.dead: list[str] = []

    def publish(self, event: Event) -> None:
        self._pubsub.publish(event.type, event.body(), event.attributes())

    def dead_letter(self, _body: bytes, _attributes: Mapping[str, str], reason: str) -> None:
        self.dead.append(reason)


class Chain:
    """Toy stages that Pub/Sub pushes to."""

    def __init__(self, host: str, project: str) -> None:
        self.pubsub = PubSub(host, project)
        self.store, self.bus = MemoryStore(), Bus(self.pubsub)
        self.came: Counter[tuple[str, str]] = Counter()
        """(subscription, message id) to how often it was handled to the end."""
        self.endpoint = Endpoint(self.handle)
        address = self.endpoint.address
        self.pubsub.set_up({stage: f"{address}/{stage}" for stage in STAGES})

    def handle(self, path: str, pushed: Mapping[str, Any]) -> bool:
        stage, topic, message = path.split("/")[1], path.rpartition("/")[2], pushed["message"]
        delivery = Delivery(
            base64.b64decode(message["data"]),
            topic,
            message.get("attributes", {}),
            message["messageId"],
            message["publishTime"],
        )
        try:
            desk(stage, self.store, self.bus, clock=time.time, sleep=time.sleep).deliver(delivery)
        except DmzError:
            return False
        self.came[f"{stage}--{topic}", message["messageId"]] += 1
        return True

    def seek(self, subscription: str, to: Mapping[str, str]) -> None:
        """https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions/seek"""
        self._ask("POST", f"subscriptions/{subscription}:seek", to)

    def snapshot(self, subscription: str) -> str:
        """https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.snapshots/create"""
        base = f"projects/{self.pubsub.project}"
        name = f"{base}/snapshots/before-{subscription}"
        whose = {"subscription": f"{base}/subscriptions/{subscription}"}
        self._ask("PUT", name.removeprefix(f"{base}/"), whose)
        return name

    def _ask(self, method: str, path: str, content: Mapping[str, str]) -> None:
        address = f"http://{self.pubsub.host}/v1/projects/{self.pubsub.project}/{path}"
        answer = httpx.request(method, address, json=content, timeout=60, trust_env=False)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def chain(pubsub_emulator: str, project: str) -> Iterator[Chain]:
    made = Chain(pubsub_emulator, project)
    yield made
    made.endpoint.close()


@pytest.mark.parametrize("to", ["time", "snapshot"])
def test_seeking_back_delivers_all_again_and_changes_nothing(chain: Chain, to: str) -> None:
    began = {"time": timestamp(time.time() - 60)}
    places = {each: began if to == "time" else {"snapshot": chain.snapshot(each)} for each in handled()}
    asked = request("mine")
    run_id = run_id_of("mine")
    chain.pubsub.publish(asked.topic, asked.body, asked.attributes)
    eventually(lambda: chain.store.get("counters", run_id) == expected(run_id))
    eventually(lambda: {topic for (topic, _) in chain.came} == handled())
    before = documents(chain.store)
    first = dict(chain.came)
    for subscription in sorted(handled()):
        chain.seek(subscription, places[subscription])
    eventually(lambda: all(chain.came[each] >= 2 for each in first))
    assert documents(chain.store) == before
    assert chain.store.get("counters", run_id) == expected(run_id)
    # The shard that finished last closes the run again, by the same id; nothing else is published.
    new = {topic for (topic, id) in chain.came if (topic, id) not in first}
    assert new <= {"inner--sync-completed"}
    assert chain.bus.dead == []


def handled() -> set[str]:
    """The subscriptions that a run of the toy chain goes through."""
    topics = (
        "run-requested",
        "manifest-published",
        "verdicts-written",
        "sync-shard-planned",
        "sync-completed",
    )
    return {f"{stage}--{topic}" for stage in STAGES for topic in topics if topic in SUBSCRIBERS[stage]}


def documents(store: MemoryStore) -> dict[Any, Any]:
    """All that stages have written, but for the traces of deliveries themselves."""
    found = {key: value for key, value in store._documents.items() if key[0] not in ("spans", "claims")}
    return copy.deepcopy(found)
