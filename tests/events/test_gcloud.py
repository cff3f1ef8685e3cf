"""What the catalogue tells an operator to type works: the real gcloud, against Google's emulator."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.cloud import pubsub_v1

from functions.ctl.held import pulled
from functions.local.pubsub import HOLD
from shared.events import DEAD_LETTERS, TYPES, Delivery, Event, RunRequested, decode
from shared.gcp.held import HeldLetters
from shared.gcp.pubsub import PubSubBus

ROOT = Path(__file__).parents[2]


@pytest.fixture
def next_event(project: str) -> Iterator[Callable[[str], Event]]:
    """What `decode` makes of the next message of a topic."""
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    for topic in TYPES:
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


def shell(command: str, project: str, emulator: str, config: Path) -> str:
    """Run a line of the catalogue as an operator would, in the project's root; its output."""
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
        "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "true",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_PUBSUB": f"http://{emulator}/",
    }
    done = subprocess.run(
        ["bash", "-ec", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def documented(topic: str) -> str:
    """The line that events/README.md gives for a topic."""
    section = (ROOT / "events/README.md").read_text().split(f"### {topic}\n")[1]
    found = re.search(r"```sh\n(.+?)\n```", section, re.DOTALL)
    assert found
    return found[1]


def dead_letter_lines() -> list[str]:
    """The lines that events/README.md gives for dead letters: look, publish again, take off the list, seek."""
    section = (ROOT / "events/README.md").read_text().split("## Dead letters by hand\n")[1].split("\n## ")[0]
    found = re.findall(r"```sh\n(.+?)\n```", section, re.DOTALL)
    assert len(found) == 4
    return [str(line) for line in found]


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


ONE_PROCESS = """
import json, sys
sys.path[:0] = [f"{sys.argv[1]}/lib", f"{sys.argv[1]}/lib/third_party"]
from googlecloudsdk import gcloud_main
cli = gcloud_main.CreateCLI([])
for line in sys.stdin.read().split("\\0\\0"):
    if line:
        cli.Execute(line.split("\\0"))
"""
"""gcloud's own program, started once: a second for each of two dozen lines would be a good part of all tests."""
TYPED = 'gcloud() { printf "%s\\0" "$@"; printf "\\0"; }\n'


def test_every_line_of_the_catalogue(
    project: str, pubsub_emulator: str, next_event: Callable[[str], Event], tmp_path: Path
) -> None:
    """Each line as it stands there, with what bash makes of it, sends what is decoded as that event with its body."""
    typed = shell(TYPED + "\n".join(map(documented, TYPES)), project, pubsub_emulator, tmp_path)
    assert typed.count("\0\0") == len(TYPES)
    root = Path(shutil.which("gcloud") or "").resolve().parents[1]
    command = shlex.join((sys.executable, "-I", "-S", "-c", ONE_PROCESS, os.fspath(root)))
    (tmp_path / "typed").write_text(typed)
    shell(f"{command} < {shlex.quote(os.fspath(tmp_path / 'typed'))}", project, pubsub_emulator, tmp_path)
    for topic in TYPES:
        example = (ROOT / f"events/examples/{topic}.json").read_bytes()
        event = next_event(topic)
        assert (event.type, event.data) == (topic, TYPES[topic].read(example, topic))
    assert event.run_id == "", "the watchdog's tick is about no run"


def test_dead_letters_by_hand(
    project: str, pubsub_emulator: str, next_event: Callable[[str], Event], tmp_path: Path
) -> None:
    """Seen, published once more under another id, taken off the list, and everything delivered again: by gcloud."""
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    dead = publisher.topic_path(project, DEAD_LETTERS)
    publisher.create_topic(name=dead)
    hold, sought = (
        subscriber.subscription_path(project, name) for name in (HOLD, "scanner--manifest-published")
    )
    subscriber.create_subscription(request={"name": hold, "topic": dead, "ack_deadline_seconds": 600})
    topic = publisher.topic_path(project, "manifest-published")
    subscriber.create_subscription(request={"name": sought, "topic": topic, "retain_acked_messages": True})
    body = (ROOT / "events/examples/manifest-published.json").read_bytes()
    PubSubBus(project).dead_letter(body, {"topic": "manifest-published"}, "It hurt.")
    look, back, off, seek = dead_letter_lines()
    (letter,) = json.loads(shell(look, project, pubsub_emulator, tmp_path))
    assert letter["message"]["attributes"]["reason"] == "It hurt."
    (tmp_path / "body.json").write_bytes(base64.b64decode(letter["message"]["data"]))
    shell(back.replace("body.json", str(tmp_path / "body.json")), project, pubsub_emulator, tmp_path)
    assert next_event("manifest-published").replay_id == "again-1"
    shell(off.replace("ACK_ID", letter["ackId"]), project, pubsub_emulator, tmp_path)
    received = subscriber.pull(subscription=sought, max_messages=10, timeout=20).received_messages
    subscriber.acknowledge(subscription=sought, ack_ids=[each.ack_id for each in received])
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    moment = re.sub(r"--time=\S+", f"--time={an_hour_ago:%Y-%m-%dT%H:%M:%SZ}", seek)
    assert moment != seek
    shell(moment, project, pubsub_emulator, tmp_path)
    again = subscriber.pull(subscription=sought, max_messages=10, timeout=20).received_messages
    assert [each.message.data for each in again] == [body.strip()]
    assert HeldLetters(project, HOLD, patience=1.0).pull() == []


def test_the_same_by_the_command_line_of_a_deployment(project: str) -> None:
    """`--project` speaks to Pub/Sub itself: pulled, given back, taken off."""
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    dead = publisher.topic_path(project, DEAD_LETTERS)
    publisher.create_topic(name=dead)
    subscriber.create_subscription(
        request={
            "name": subscriber.subscription_path(project, HOLD),
            "topic": dead,
            "ack_deadline_seconds": 60,
        }
    )
    for number in range(3):
        PubSubBus(project).dead_letter(b"%d" % number, {"topic": "gossip"}, "No.")
    held = HeldLetters(project, HOLD, patience=0.5)
    with pulled(held) as letters:
        assert sorted(each.body for each in letters) == [b"0", b"1", b"2"]
        assert {(each.topic, each.reason) for each in letters} == {("gossip", "No.")}
        held.acknowledge([gone := letters.pop()])
    with pulled(held) as letters:
        assert {each.body for each in letters} == {b"0", b"1", b"2"} - {gone.body}
