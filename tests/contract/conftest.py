"""Each port twice: over memory and over Google's emulator. A test that names a fixture here runs over both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from google.cloud import firestore, pubsub_v1

from shared.events import DEAD_LETTERS, SUBSCRIBERS, Delivery
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.gcp.pubsub import PubSubBus
from shared.memory.bus import MemoryBus
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.value import Digest
from shared.ports.store import Blobs, Bus, Store

BOTH = ("memory", "emulator")


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return FirestoreStore(request.getfixturevalue("project"))


@dataclass(frozen=True)
class Vault:
    """Blobs, and a hand that can change what is stored behind their back."""

    blobs: Blobs
    overwrite: Callable[[Digest, bytes], None]
    """Puts other bytes where the stored ones are."""
    forget_a_part: Callable[[Digest], None]


@pytest.fixture(params=BOTH)
def vault(request: pytest.FixtureRequest) -> Vault:
    if request.param == "memory":
        memory = MemoryBlobs()

        def replace(digest: Digest, data: bytes) -> None:
            memory._content[digest] = data

        return Vault(memory, replace, lambda digest: replace(digest, b""))
    project = request.getfixturevalue("project")
    database = firestore.Client(project=project)

    def chunk(digest: Digest) -> Any:
        return database.collection("blobs").document(digest).collection("chunks").document("000000")

    def overwrite(digest: Digest, data: bytes) -> None:
        chunk(digest).set({"data": data})

    def forget(digest: Digest) -> None:
        chunk(digest).delete()

    return Vault(FirestoreBlobs(project), overwrite, forget)


@dataclass(frozen=True)
class Line:
    """A bus, and what comes out at its far end."""

    bus: Bus
    received: Callable[[str], tuple[bytes, Mapping[str, str]]]
    """Body and attributes of the next message of a topic."""
    dead: Callable[[], tuple[bytes, Mapping[str, str], str]]
    """Body, attributes and reason of the next dead letter."""


@pytest.fixture(params=BOTH)
def line(request: pytest.FixtureRequest) -> Iterator[Line]:
    if request.param == "memory":
        yield from _memory_line()
    else:
        yield from _pubsub_line(request.getfixturevalue("project"))


def _memory_line() -> Iterator[Line]:
    bus, seen = MemoryBus(), []

    def receive(delivery: Delivery) -> bool:
        seen.append(delivery)
        return True

    for stage in SUBSCRIBERS:
        bus.subscribe(stage, receive)

    def received(topic: str) -> tuple[bytes, Mapping[str, str]]:
        assert bus.drain(5)
        found = next(delivery for delivery in seen if delivery.topic == topic)
        return found.body, found.attributes

    yield Line(bus, received, lambda: bus.dead.pop(0))
    bus.close()


def _pubsub_line(project: str) -> Iterator[Line]:
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    for topic in ("manifest-published", "sync-shard-planned", DEAD_LETTERS):
        path = publisher.topic_path(project, topic)
        publisher.create_topic(name=path)
        subscriber.create_subscription(
            name=subscriber.subscription_path(project, f"see--{topic}"), topic=path
        )

    def received(topic: str) -> tuple[bytes, Mapping[str, str]]:
        path = subscriber.subscription_path(project, f"see--{topic}")
        message = subscriber.pull(subscription=path, max_messages=1, timeout=20).received_messages[0]
        subscriber.acknowledge(subscription=path, ack_ids=[message.ack_id])
        return message.message.data, dict(message.message.attributes)

    def dead() -> tuple[bytes, Mapping[str, str], str]:
        body, attributes = received(DEAD_LETTERS)
        return (
            body,
            {key: value for key, value in attributes.items() if key != "reason"},
            attributes["reason"],
        )

    yield Line(PubSubBus(project), received, dead)
    subscriber.close()
