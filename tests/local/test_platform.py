"""The whole platform with small functions in the stages' places: Google's emulators, real pushes, real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from functions.local import leftovers, platform, project
from functions.local.layout import CHECKOUT, Layout
from functions.local.platform import Platform
from functions.local.pubsub import HOLD, PubSub
from shared.emulators import tokens
from shared.events import SUBSCRIBERS, TYPES, RunRequested, SweepRequested

FUNCTION = """
import json, os, pathlib, time
import functions_framework
import google.auth
from google.auth.transport.requests import Request

@functions_framework.cloud_event
def handle(cloud_event):
    message = cloud_event.data["message"]
    if message.get("attributes", {}).get("slow"):
        time.sleep(1)
    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(Request())
    topic = cloud_event["source"].rsplit("/", 1)[-1]
    seen = {"topic": topic, "id": message["messageId"], "token": credentials.token, "pid": os.getppid()}
    with open(pathlib.Path(__file__).parent / "seen", "a") as file:
        file.write(json.dumps(seen) + "\\n")
"""
RUN = """
import os, signal, sys
from pathlib import Path
from functions.local.layout import Layout
from functions.local.supervisor import Choice, Supervisor
layout = Layout(Path(sys.argv[1]), Path(sys.argv[2]))
supervisor = Supervisor(Choice(layout, dict(os.environ), "sdk", Path(sys.argv[3])))
signal.signal(signal.SIGTERM, lambda *_: supervisor.stop())
try:
    supervisor.run()
except Exception as error:
    sys.exit(str(error))
"""


class Up:
    """A supervisor of its own, its state in a path with spaces."""

    def __init__(self, directory: Path, cache: Path) -> None:
        self.layout = Layout(directory / "state of it", cache)
        self.functions = directory / "functions"
        for stage in project.STAGES:
            (self.functions / stage).mkdir(parents=True)
            (self.functions / stage / "main.py").write_text(FUNCTION)
        self.supervisor: subprocess.Popen[bytes] | None = None

    def command(self) -> tuple[str, ...]:
        places = (self.layout.home, self.layout.cache, self.functions)
        return (sys.executable, "-c", RUN, *map(os.fspath, places))

    def start(self) -> Platform:
        environment = os.environ | {"PYTHONPATH": os.fspath(CHECKOUT)}
        self.supervisor = subprocess.Popen(self.command(), env=environment, start_new_session=True)
        deadline = time.monotonic() + 900
        while not (up := platform.read(self.layout.platform)):
            assert self.supervisor.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return up

    def stop(self) -> int:
        assert self.supervisor
        self.supervisor.terminate()
        return self.supervisor.wait(30)

    def seen(self, stage: str) -> list[dict[str, str]]:
        path = self.functions / stage / "seen"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def cache() -> Path:
    """The user's own: the root image is made once a day."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "package-dmz"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("platform"), cache)
    made.start()
    yield made
    assert made.stop() == 0
    assert leftovers.processes(made.layout.home) == []
    assert not made.layout.platform.exists()


def running(up: Up) -> Platform:
    found = platform.read(up.layout.platform)
    assert found
    return found


def eventually(check: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def publish(found: Platform, topic: str, **attributes: str) -> None:
    body = RunRequested(workload="quickstart") if topic == "run-requested" else SweepRequested()
    PubSub(found.addresses["pubsub"], found.project).publish(topic, body.canonical(), attributes)


def test_every_topic_and_subscription_is_there_with_its_dead_letters(up: Up) -> None:
    found = running(up)
    base = f"http://{found.addresses['pubsub']}/v1/projects/{found.project}"
    topics = httpx.get(f"{base}/topics", params={"pageSize": 100}).json()["topics"]
    assert {topic["name"].rsplit("/")[-1] for topic in topics} == {*TYPES, "dead-letters"}
    subscriptions = httpx.get(f"{base}/subscriptions", params={"pageSize": 100}).json()["subscriptions"]
    by_name = {one["name"].rsplit("/")[-1]: one for one in subscriptions}
    expected = {f"{stage}--{topic}" for stage, topics in SUBSCRIBERS.items() for topic in topics}
    assert set(by_name) == expected | {HOLD}
    for name in expected:
        assert by_name[name]["ackDeadlineSeconds"] == 600
        assert by_name[name]["deadLetterPolicy"]["maxDeliveryAttempts"] == 10
        assert not by_name[name].get("enableMessageOrdering")


def test_an_event_reaches_its_stage_with_its_topic_and_the_stage_its_account(up: Up) -> None:
    publish(running(up), "run-requested")
    eventually(lambda: any(one["topic"] == "run-requested" for one in up.seen("outer")))
    event = next(one for one in up.seen("outer") if one["topic"] == "run-requested")
    key = tokens.load_key(up.layout.token_key)
    assert tokens.verify(key, event["token"], time.time()) == project.account("outer")


def test_the_scheduler_ticks_to_every_stage(up: Up) -> None:
    eventually(
        lambda: all(
            any(one["topic"] == "sweep-requested" for one in up.seen(stage)) for stage in project.STAGES
        )
    )


def test_a_killed_function_is_back_by_itself_and_gets_what_it_was_handling(up: Up) -> None:
    found = running(up)
    before = len([one for one in up.seen("outer") if one["topic"] == "run-requested"])
    publish(found, "run-requested", slow="yes")
    time.sleep(0.5)
    os.kill(found.pids["outer"], signal.SIGKILL)
    eventually(lambda: len([one for one in up.seen("outer") if one["topic"] == "run-requested"]) > before)
    assert up.seen("outer")[-1]["pid"] != found.pids["outer"]


def test_a_second_supervisor_is_refused_with_one_sentence(up: Up) -> None:
    environment = os.environ | {"PYTHONPATH": os.fspath(CHECKOUT)}
    second = subprocess.run(
        up.command(), env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "A platform is already up or coming up" in second.stderr
    assert running(up).alive


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
    found = running(up)
    token = tokens.mint(tokens.load_key(up.layout.token_key), project.account(account), time.time())
    parent = f"projects/{found.project}/locations/us-central1/repositories/{repository}"
    answer = httpx.get(
        f"{found.environment['DMZ_REGISTRY_ENDPOINT']}/v1/{parent}/files",
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (answer.status_code == 200) == allowed, answer.text


def test_nothing_survives_a_killed_supervisor_and_the_next_start_finds_a_clean_place(
    tmp_path: Path, cache: Path
) -> None:
    own = Up(tmp_path, cache)
    first = own.start()
    assert len(leftovers.processes(own.layout.home)) >= 8
    os.kill(first.pid, signal.SIGKILL)
    eventually(lambda: not leftovers.processes(own.layout.home), seconds=3)
    assert platform.read(own.layout.platform) is None
    (own.layout.scratch / "sync-half").mkdir()
    stray = subprocess.Popen(("sleep", "60"), env={leftovers.MARK: os.fspath(own.layout.home)})
    own.start()
    assert stray.wait(5) != 0
    assert not (own.layout.scratch / "sync-half").exists()
    assert own.stop() == 0
