"""`--project`: the commands as they go to Google Cloud, by Google's own clients.

What answers is Google's emulators with all stages behind them, and, for what they never say, a loopback server that
refuses every call. https://cloud.google.com/apis/design/errors
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from google.cloud import pubsub_v1

from functions.ctl import cli, submit
from functions.local.pubsub import HOLD
from shared.events import DEAD_LETTERS, PUBLISHERS, TYPES, run_id_of
from shared.gcp import held, pubsub
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.gcp.pubsub import PubSubBus
from tests.local.up import eventually
from tests.stages.world import OWN, WORKLOAD, World

RUN = "run-0123456789ab"
Dmz = Callable[..., tuple[int, str, str]]


@pytest.fixture
def dmz(capsys: pytest.CaptureFixture[str]) -> Dmz:
    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No platform is up here, and nobody is logged in."""
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "CLOUDSDK_CONFIG", "DMZ_HOME"):
        monkeypatch.setenv(name, os.fspath(tmp_path / "nobody"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")


class Deployment(World):
    """A world whose stages read and write the emulators' documents, and hear what is published to its project."""

    def behind(self, project: str) -> Iterator[str]:
        publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        own = {topic for topic in TYPES if "operator" in PUBLISHERS.get(topic, ())}
        for topic, name in [(one, f"see--{one}") for one in own] + [(DEAD_LETTERS, HOLD)]:
            path = publisher.topic_path(project, topic)
            publisher.create_topic(name=path)
            subscriber.create_subscription(name=subscriber.subscription_path(project, name), topic=path)

        def heard(topic: str) -> Callable[[Any], None]:
            def forward(message: Any) -> None:
                self.bus.send(topic, bytes(message.data), dict(message.attributes))
                message.ack()

            return forward

        for topic in own:
            subscriber.subscribe(subscriber.subscription_path(project, f"see--{topic}"), heard(topic))
        yield project
        subscriber.close()
        self.bus.close()


@pytest.fixture
def world(nobody: None, project: str, tmp_path: Path) -> Iterator[World]:
    ports = {"store": FirestoreStore(project), "blobs": FirestoreBlobs(project)}
    made = Deployment(tmp_path, through=lambda name, port: ports.get(name, port))
    dead = PubSubBus(project)
    made.bus.dead_letter = dead.dead_letter  # type: ignore[method-assign]
    for _ in made.behind(project):
        yield made


def test_daily_work_on_a_deployment(
    world: World, project: str, tmp_path: Path, dmz: Dmz, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the request to the end, over the topics, the database and the names that a deployment has."""
    to = ("--project", project)
    file = tmp_path / "small.yaml"
    file.write_text(WORKLOAD.model_dump_json())
    (tmp_path / OWN.filename).write_bytes(OWN.content)
    staged: list[Any] = []
    staging = SimpleNamespace(upload_generic=lambda *given: staged.append(given[3]))
    monkeypatch.setattr(submit, "_staging", lambda *_: ("dmz-staging", staging))
    code, out, err = dmz("submit", os.fspath(file), "--wait", "--id", "mine", "--json", *to)
    said = json.loads(out)
    assert (code, said["state"], said["run_id"]) == (0, "completed", run_id_of("mine")), err
    assert staged == [OWN.filename]
    run = said["run_id"]
    code, out, _ = dmz("status", run, "--json", *to)
    assert (code, json.loads(out)["state"]) == (0, "completed")
    assert "sync" in dmz("status", run, *to)[1]

    code, out, err = dmz("explain", "lib", "--json", *to)
    assert code == 0, err
    refused = json.loads(out)
    assert "pkg:pypi/lib@1.0" in json.dumps(refused)
    assert "lib" in dmz("verdict", "show", run, "pkg:pypi/lib@1.0", *to)[1]
    assert json.loads(dmz("sbom", run, *to)[1])["bomFormat"] == "CycloneDX"
    assert "lib" in dmz("lock", "diff", run, *to)[1]
    code, out, _ = dmz("decisions", "--verify", *to)
    assert code == 0, out
    assert dmz("policy", "check", "default", "--against", "all", *to)[0] in (0, 1)

    asked = ("--reason", "it is read nowhere", "--approver", "ada", "--days", "30")
    code, out, err = dmz("waive", "GHSA-lib-flaw-0001", "pkg:pypi/lib", *asked, *to)
    assert code == 0, err
    (waiver,) = json.loads(dmz("waive", "list", "--json", *to)[1])
    code, out, err = dmz("waive", "revoke", waiver["id"], "--reason", "it is read", "--by", "ada", *to)
    assert code == 0, err
    history = json.loads(dmz("waive", "show", waiver["id"], "--json", *to)[1])["history"]
    assert [line["what"] for line in history] == ["granted", "revoked"]

    world.outer = lambda _: None
    run = dmz("submit", os.fspath(file), *to)[1].strip()
    eventually(lambda: FirestoreStore(project).get("runs", run))
    code, out, err = dmz("cancel", run, "--why", "the wrong one", "--by", "ada", "--json", *to)
    assert (code, json.loads(out)["reason"]) == (0, "The run was cancelled by ada: the wrong one."), err
    assert dmz("status", run, *to)[0] == 1


def test_dead_letters_of_a_deployment(
    world: World, project: str, dmz: Dmz, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "_PATIENCE", 1.0)
    to = ("--project", project)
    for number in "12":
        body = json.dumps({"run_id": f"run-00000000000{number}", "reason": "x", "by": "ada"}).encode()
        world.bus.send("cancel-requested", body, {})
    world.quiet()
    code, out, err = dmz("dead-letters", "--json", *to)
    assert code == 0, err
    first, second = json.loads(out)
    assert "there is no such run" in first["reason"]
    assert first["reason"] in dmz("dead-letters", "show", first["id"], *to)[1]
    code, out, err = dmz("dead-letters", "drop", first["id"], "--why", "a typo", "--by", "ada", *to)
    assert code == 0, err
    code, out, err = dmz("dead-letters", "replay", second["id"], *to)
    assert code in (0, 1), err
    left = [one["id"] for one in json.loads(dmz("dead-letters", "--json", *to)[1])]
    assert first["id"] not in left


# --- what stands between ---

EVERY = [
    ("submit", "quickstart"),
    ("submit", "quickstart", "--wait"),
    ("status",),
    ("status", RUN),
    ("status", RUN, "--watch"),
    ("cancel", RUN, "--why", "x", "--by", "ada"),
    ("dead-letters",),
    ("dead-letters", "show", "123"),
    ("dead-letters", "replay", "123"),
    ("dead-letters", "drop", "123", "--why", "x", "--by", "ada"),
    ("waive", "GHSA-1234-1234-1234", "pkg:pypi/x@1", "--reason", "r", "--approver", "a", "--days", "3"),
    ("waive", "list"),
    ("waive", "show", "waiver-0123456789ab"),
    ("waive", "revoke", "waiver-0123456789ab", "--reason", "r", "--by", "ada"),
    ("explain", "jinja2"),
    ("verdict", "show", RUN, "pkg:pypi/x@1"),
    ("verdict", "replay", RUN),
    ("sbom", RUN),
    ("lock", "diff", RUN),
    ("decisions",),
    ("policy", "check", "default", "--against", "all"),
    ("collect", "--dry-run"),
]


class Refusing(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # it has none at run time
    """Answers every call with one status."""

    def __init__(self) -> None:
        self.code, self.words = grpc.StatusCode.PERMISSION_DENIED, ""

    def service(self, details: Any) -> Any:
        def one(_: bytes, context: Any) -> None:
            context.abort(self.code, self.words)

        def several(_: bytes, context: Any) -> Iterator[bytes]:
            context.abort(self.code, self.words)
            yield b""

        if details.method.endswith(("/BatchGetDocuments", "/RunQuery")):
            return grpc.unary_stream_rpc_method_handler(several)
        return grpc.unary_unary_rpc_method_handler(one)


@pytest.fixture(scope="module")
def refusing() -> Iterator[tuple[Refusing, str]]:
    handler = Refusing()
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield handler, f"127.0.0.1:{port}"
    server.stop(0)


REFUSALS = [
    ("PERMISSION_DENIED", "Missing or insufficient permissions.", "you lack the right: `operators`"),
    ("NOT_FOUND", "The database (default) does not exist", "Is my-dmz-outer the outer project"),
    ("UNAUTHENTICATED", "The token is too old.", "Log in, then try again"),
]


def one_sentence(err: str) -> str:
    """All that was said; what a person can do nothing with is a failure."""
    # Lines of the log are those of stages that other tests have left at work in this process.
    (line,) = (each for each in err.splitlines() if '"severity": ' not in each)
    assert line.startswith("dmz: ")
    assert "defect" not in line
    assert "Traceback" not in line
    return line


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_who_is_not_logged_in_is_told_how(words: tuple[str, ...], dmz: Dmz) -> None:
    code, out, err = dmz(*words, "--project", "my-dmz-outer")
    assert code == 3
    assert one_sentence(err).endswith("Log in, then try again: gcloud auth application-default login")
    assert "{" not in out


@pytest.mark.parametrize(("status", "words", "todo"), REFUSALS, ids=[one[0] for one in REFUSALS])
@pytest.mark.parametrize("given", [one for one in EVERY if one != ("status",)], ids=" ".join)
def test_who_is_refused_is_told_why(
    given: tuple[str, ...],
    status: str,
    words: str,
    todo: str,
    refusing: tuple[Refusing, str],
    dmz: Dmz,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler, address = refusing
    handler.code, handler.words = getattr(grpc.StatusCode, status), words
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", address)
    code, _, err = dmz(*given, "--project", "my-dmz-outer")
    assert code == 3
    said = one_sentence(err)
    assert words in said
    assert todo in said


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = b'{"error": {"code": 403, "message": "tpu.nodes.list is not yours", "status": "PERMISSION_DENIED"}}'
        self.send_response(403)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.mark.parametrize("project", ["My Project", "x", "projects/my-dmz", "my-dmz-outer\n"])
def test_what_is_no_project_is_bad_input(project: str, dmz: Dmz) -> None:
    code, _, err = dmz("status", "--project", project)
    assert code == 2
    assert "is no project's id" in one_sentence(err)


def test_a_deployment_that_does_not_answer_is_no_answer(
    refusing: tuple[Refusing, str], dmz: Dmz, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, address = refusing
    handler.code, handler.words = grpc.StatusCode.INTERNAL, "Something broke."
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)
    assert pubsub._RETRY.timeout == 60, "shorter than what a stage has for an event"
    monkeypatch.setattr(pubsub, "_RETRY", pubsub._RETRY.with_timeout(0.3))
    code, _, err = dmz("submit", "quickstart", "--project", "my-dmz-outer")
    assert code == 3
    assert "did not succeed for now" in one_sentence(err)


def test_the_log_that_nobody_may_read_says_so(
    dmz: Dmz, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The real gcloud; Cloud Logging is on loopback and refuses."""

    class Refused(Answering):
        do_POST = Answering.do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refused)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_LOGGING", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("CLOUDSDK_AUTH_ACCESS_TOKEN", "x")
    monkeypatch.setenv("CLOUDSDK_CORE_DISABLE_PROMPTS", "true")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    try:
        code, _, err = dmz("logs", RUN, "--project", "my-dmz-outer")
    finally:
        server.shutdown()
        server.server_close()
    assert code == 3
    assert "could not read the log of my-dmz-outer" in one_sentence(err)
    assert "is not yours" in err
