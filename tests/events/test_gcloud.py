"""What the catalogue tells an operator to type works: the real gcloud, against Google's emulator."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.cloud import pubsub_v1

from shared.events import Delivery, Event, RunRequested, decode

ROOT = Path(__file__).parents[2]
TOPICS = ("run-requested", "manifest-published", "sweep-requested")


@pytest.fixture
def next_event(project: str) -> Iterator[Callable[[str], Event]]:
    """What `decode` makes of the next message of a topic."""
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    for topic in TOPICS:
        path = publisher.topic_path(project, topic)
        publisher.create_topic(name=path)
        subscriber.create_subscription(name=subscriber.subscription_path(project, topic), topic=path)

    def next_event(topic: str) -> Event:
        path = subscriber.subscription_path(project, topic)
        received = subscriber.pull(subscription=path, max_messages=1, timeout=20).received_messages[0]
        subscriber.acknowledge(subscription=path, ack_ids=[received.ack_id])
        message = received.message
        published = message.publish_time.isoformat()
        return decode(Delivery(message.data, topic, dict(message.attributes), message.message_id, published))

    with subscriber:
        yield next_event


def shell(command: str, project: str, emulator: str, config: Path) -> None:
    """Run a line of the catalogue as an operator would, in the project's root."""
    if not shutil.which("gcloud"):
        pytest.fail(
            "There is no gcloud, and this test types what events/README.md says: install google-cloud-cli.",
            pytrace=False,
        )
    environment = os.environ | {
        "CLOUDSDK_CONFIG": str(config),
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CORE_PROJECT": project,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": f"http://{emulator}/",
    }
    done = subprocess.run(
        ["bash", "-ec", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def documented(topic: str) -> str:
    """The line that events/README.md gives for a topic."""
    section = (ROOT / "events/README.md").read_text().split(f"### {topic}\n")[1]
    found = re.search(r"```sh\n(.+?)\n```", section, re.DOTALL)
    assert found
    return found[1]


def test_the_documented_line_starts_a_run_and_again_another(
    project: str, pubsub_emulator: str, next_event: Callable[[str], Event], tmp_path: Path
) -> None:
    runs = []
    for _ in range(2):
        shell(documented("run-requested"), project, pubsub_emulator, tmp_path)
        event = next_event("run-requested")
        assert event.data == RunRequested(workload="quickstart")
        assert re.fullmatch(r"run-[0-9a-f]{12}", event.run_id)
        runs.append(event.run_id)
    assert runs[0] != runs[1]


def test_a_derived_event_by_hand_with_a_replay_id(
    project: str, pubsub_emulator: str, next_event: Callable[[str], Event], tmp_path: Path
) -> None:
    for attribute in ("", " --attribute=replay-id=again-1"):
        shell(documented("manifest-published") + attribute, project, pubsub_emulator, tmp_path)
    first, second = next_event("manifest-published"), next_event("manifest-published")
    assert first.data == second.data
    assert first.id != second.id
    assert second.replay_id == "again-1"


def test_the_watchdogs_tick_by_hand(
    project: str, pubsub_emulator: str, next_event: Callable[[str], Event], tmp_path: Path
) -> None:
    shell(documented("sweep-requested"), project, pubsub_emulator, tmp_path)
    assert next_event("sweep-requested").run_id == ""
