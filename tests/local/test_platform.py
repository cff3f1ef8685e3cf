"""The whole platform with small functions in the stages' places: Google's emulators, real pushes, real kills."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from functions.local import leftovers, platform, project
from functions.local.platform import Platform
from functions.local.pubsub import HOLD, PubSub
from shared.emulators import tokens
from shared.events import DEAD_LETTERS, SUBSCRIBERS, TYPES, RunRequested, SweepRequested
from shared.model.routes import LETTERS_TO
from tests.local.up import Up, eventually


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("platform"))
    made.start()
    yield made
    assert made.stop() == (0, "")
    assert leftovers.processes(made.layout.home) == []
    assert not made.layout.platform.exists()


def publish(found: Platform, topic: str, **attributes: str) -> None:
    body = RunRequested(workload="quickstart") if topic == "run-requested" else SweepRequested()
    PubSub(found.addresses["pubsub"], found.project).publish(topic, body.canonical(), attributes)


def test_every_topic_and_subscription_is_there_with_its_dead_letters(up: Up) -> None:
    found = up.running()
    base = f"http://{found.addresses['pubsub']}/v1/projects/{found.project}"
    topics = httpx.get(f"{base}/topics", params={"pageSize": 100}).json()["topics"]
    assert {topic["name"].rsplit("/")[-1] for topic in topics} == {*TYPES, "dead-letters"}
    subscriptions = httpx.get(f"{base}/subscriptions", params={"pageSize": 100}).json()["subscriptions"]
    by_name = {one["name"].rsplit("/")[-1]: one for one in subscriptions}
    expected = {f"{stage}--{topic}" for stage, topics in SUBSCRIBERS.items() for topic in topics}
    expected |= {f"{LETTERS_TO}--{DEAD_LETTERS}"}
    assert set(by_name) == expected | {HOLD}
    for name in expected:
        assert by_name[name]["ackDeadlineSeconds"] == 600
        # Pub/Sub's own dead letter would hold the whole message, and with it a credential.
        policy = by_name[name].get("deadLetterPolicy")
        # One about a dead letter would go round for ever.
        assert (policy is None) == name.endswith(("--attestation-requested", "--dead-letters"))
        assert policy is None or policy["maxDeliveryAttempts"] == 100
        assert not by_name[name].get("enableMessageOrdering")


def test_an_event_reaches_its_stage_with_its_topic_and_the_stage_its_account(up: Up) -> None:
    publish(up.running(), "run-requested")
    eventually(lambda: up.seen("outer", "run-requested"))
    key = tokens.load_key(up.layout.token_key)
    token = up.seen("outer", "run-requested")[0]["token"]
    assert tokens.verify(key, token, time.time()) == project.account("outer")


def test_the_scheduler_ticks_to_every_stage(up: Up) -> None:
    eventually(lambda: all(up.seen(stage, "sweep-requested") for stage in project.STAGES))


def test_the_console_shows_what_the_store_holds(up: Up) -> None:
    address = f"http://{up.running().addresses[project.CONSOLE]}/"
    page = httpx.get(address, trust_env=False)
    assert (page.status_code, "Nothing has run here yet" in page.text) == (200, True)
    assert httpx.post(address, trust_env=False).status_code == 405


def test_a_killed_function_is_back_by_itself_and_gets_what_it_was_handling(up: Up) -> None:
    found = up.running()
    before = len(up.seen("outer", "run-requested"))
    publish(found, "run-requested", slow="yes")
    time.sleep(0.5)
    os.kill(found.pids["outer"], signal.SIGKILL)
    eventually(lambda: len(up.seen("outer", "run-requested")) > before)
    assert up.seen("outer", "run-requested")[-1]["pid"] != found.pids["outer"]


def test_a_second_supervisor_is_refused_with_one_sentence(up: Up) -> None:
    second = up.spawn()
    said = second.communicate(timeout=60)[1]
    assert second.returncode == 1
    assert said.count("\n") == 1
    assert "A platform is already up or coming up" in said
    assert up.running().alive


@pytest.mark.parametrize(
    ("account", "repository", "allowed"),
    [
        ("inner-vm", "dmz-python", True),
        ("inner-vm", "dmz-staging", False),
        ("outer-vm", "dmz-staging", True),
        ("outer-vm", "dmz-python", False),
        ("outer-vm", "dmz-generic", False),
        ("scanner", "dmz-python", False),
        ("sync", "dmz-staging", True),
        ("sync", "trixie", True),
    ],
)
def test_nobody_reads_a_repository_that_is_not_for_him(
    up: Up, account: str, repository: str, allowed: bool
) -> None:
    found = up.running()
    token = tokens.mint(tokens.load_key(up.layout.token_key), project.account(account), time.time())
    parent = f"projects/{found.project}/locations/us-central1/repositories/{repository}"
    answer = httpx.get(
        f"{found.environment['DMZ_REGISTRY_ENDPOINT']}/v1/{parent}/files",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (answer.status_code == 200) == allowed, answer.text


def test_nothing_survives_a_killed_supervisor_and_the_next_start_finds_a_clean_place(
    tmp_path: Path,
) -> None:
    own = Up(tmp_path)
    first = own.start()
    assert len(leftovers.processes(own.layout.home)) >= 8
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not leftovers.processes(own.layout.home))
    assert platform.read(own.layout.platform) is None
    (own.layout.scratch / "sync-half").mkdir()
    stray = subprocess.Popen(("sleep", "60"), env={leftovers.MARK: os.fspath(own.layout.home)})
    own.start()
    assert stray.wait(5) != 0
    assert not (own.layout.scratch / "sync-half").exists()
    assert own.stop() == (0, "")
