"""The in-memory broker over HTTP: what VMs publish and what the command line reads."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import httpx
import pytest

from functions.local import backing, memory, project, twins
from functions.local.layout import layout
from functions.local.ports import choose
from functions.local.pubsub import PubSub
from functions.local.twins import Twins
from shared.errors import Permanent, Transient
from shared.events import Delivery, Event, NonceIssued, RunRequested
from shared.memory.bus import MemoryBus
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.ports.store import Put
from shared.settings import Settings


@pytest.fixture
def served() -> Iterator[tuple[SimpleNamespace, str]]:
    """Twins without stages, and their address."""
    parts = SimpleNamespace(store=MemoryStore(), blobs=MemoryBlobs(), bus=MemoryBus())
    port = choose(["memory"], None)["memory"]
    server = twins.serve(parts, port)  # type: ignore[arg-type]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield parts, f"127.0.0.1:{port}"
    server.shutdown()
    server.server_close()


def test_documents_and_blobs_are_read_as_they_were_written(served: tuple[SimpleNamespace, str]) -> None:
    parts, address = served
    store, blobs = memory.TwinStore(address), memory.TwinBlobs(address)
    assert store.get("runs", "run-1") is None
    store.put([Put("runs", "run-1", {"state": "running", "stages": {"outer": {"started": 1.5}}})])
    store.put([Put("runs", "run-1", {"stages": {"outer": {"ended": 2.5}}}, merge=True)])
    expected = {"state": "running", "stages": {"outer": {"started": 1.5, "ended": 2.5}}}
    assert store.get("runs", "run-1") == parts.store.get("runs", "run-1") == expected
    assert store.find("runs", "state", "running") == [("run-1", expected)]
    digest = parts.blobs.put(b"\x00\xff")
    assert blobs.get(digest) == b"\x00\xff"
    with pytest.raises(Permanent, match="no stored content"):
        blobs.get("sha256:" + "0" * 64)


def test_what_is_published_reaches_the_subscriber_as_it_was_sent(served: tuple[SimpleNamespace, str]) -> None:
    parts, address = served
    got: list[Delivery] = []
    parts.bus.subscribe("outer", lambda delivery: got.append(delivery) is None)
    body = RunRequested(workload="quickstart").canonical()
    PubSub(address, "dmz-local").publish("run-requested", body, {"ce-id": "an-id"})
    assert parts.bus.drain(5)
    assert [(one.topic, one.body, one.attributes["ce-id"]) for one in got] == [
        ("run-requested", body, "an-id")
    ]


def test_an_unknown_topic_is_refused(served: tuple[SimpleNamespace, str]) -> None:
    with pytest.raises(Permanent, match="Topic not found: gossip"):
        PubSub(served[1], "dmz-local").publish("gossip", b"{}", {})


def test_a_store_that_has_gone_is_a_passing_trouble() -> None:
    with pytest.raises(Transient, match="does not answer"):
        memory.TwinStore("127.0.0.1:9").get("runs", "run-1")


def test_every_stage_is_subscribed_and_a_defect_asks_for_another_delivery() -> None:
    made = Twins(Settings(project="dmz-local", advisories="/nonexistent"))
    assert set(made.bus._receivers) == {"outer", "scanner", "sync", "inner", "attestation"}
    broken = SimpleNamespace(stage="outer", deliver=lambda _: 1 / 0)
    assert not twins._receive(broken, Delivery(b"", "run-requested"))  # type: ignore[arg-type]


def test_the_twins_serve_only_where_there_is_neither_sdk_nor_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["pubsub", "firestore", "metadata-sync", "console"]
    ports = dict.fromkeys(names, 4711)
    monkeypatch.setattr("functions.local.sdk.find", lambda _: None)
    monkeypatch.setattr("functions.local.docker.usable", lambda: False)
    chosen = backing.choose("auto", {}, layout({}), ports)
    assert (chosen.name, chosen.serves_functions) == ("memory", False)
    with pytest.raises(Permanent, match="No Google Cloud SDK with both emulators was found: install"):
        backing.choose("sdk", {}, layout({}), ports)
    with pytest.raises(Permanent, match="Docker does not answer: start its daemon"):
        backing.choose("docker", {}, layout({}), ports)


def test_the_process_answers_with_all_stages_in_it() -> None:
    """As the supervisor starts it."""
    import os
    import subprocess

    from functions.local.project import settings

    ports = choose(["memory", "console"], None)
    port = ports["memory"]
    program = memory.program(port, ports["console"], {})
    environment = os.environ | settings({}, tpu=1, registry=2).environment() | dict(program.environment)
    with subprocess.Popen(program.command, env=environment) as process:
        try:
            deadline = time.monotonic() + 30
            while not program.ready():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert memory.TwinStore(f"127.0.0.1:{port}").get("runs", "run-1") is None
            page = httpx.get(f"http://127.0.0.1:{ports['console']}/", trust_env=False)
            assert (page.status_code, "Nothing has run here yet" in page.text) == (200, True)
        finally:
            process.kill()


def test_a_pulled_message_comes_again_until_it_is_acknowledged(served: tuple[SimpleNamespace, str]) -> None:
    parts, address = served
    client = PubSub(address, "dmz-local")
    client.subscribe("service--nonce-issued", "nonce-issued")
    client.subscribe("service--nonce-issued", "nonce-issued")
    base = f"http://{address}/v1/projects/dmz-local/subscriptions/service--nonce-issued"
    client.publish("run-requested", b"{}", {})
    client.publish("nonce-issued", b'{"a":1}', {"ce-id": "one"})
    parts.bus.pulled["service--nonce-issued"]._ack_seconds = 0.2
    seen = [
        httpx.post(f"{base}:pull", json={"maxMessages": 1}).json()["receivedMessages"][0] for _ in range(2)
    ]
    assert [base64.b64decode(each["message"]["data"]) for each in seen] == [b'{"a":1}'] * 2
    assert seen[0]["message"] == seen[1]["message"]
    parts.bus.pulled["service--nonce-issued"]._ack_seconds = 60
    again = httpx.post(f"{base}:pull", json={"maxMessages": 1}).json()["receivedMessages"][0]
    httpx.post(f"{base}:acknowledge", json={"ackIds": [again["ackId"]]})
    assert parts.bus.pulled["service--nonce-issued"].pull(0.3) is None
    assert httpx.post(f"{base}-not:pull", json={}).status_code == 404


def test_a_data_service_hears_its_own_nonces_alone(served: tuple[SimpleNamespace, str]) -> None:
    """Another service could use them up. Google's emulator takes a filter and ignores it."""
    parts, address = served
    pubsub = PubSub(address, "dmz-local")
    for service in ("aggregator", "collector"):
        pubsub.subscribe(project.nonces_of(service), "nonce-issued", project.own_nonces(service))
    for service, nonce in (("aggregator", "1"), ("collector", "2"), ("aggregator", "3")):
        data = NonceIssued(
            service=service, nonce_id=nonce * 16, nonce=nonce * 10, audience="a", token_type="PKI", expires=1
        )
        parts.bus.publish(Event("nonce-issued", nonce, "/t", "2026-11-22T00:00:00Z", data))
    heard = {}
    for service in ("aggregator", "collector"):
        subscription = parts.bus.pulled[project.nonces_of(service)]
        found = [subscription.pull(0) for _ in range(3)]
        heard[service] = [one[1].attributes["ce-id"] for one in found if one]
    assert heard == {"aggregator": ["1", "3"], "collector": ["2"]}


def test_a_filter_of_another_form_is_refused(served: tuple[SimpleNamespace, str]) -> None:
    with pytest.raises(Permanent, match="not of the form"):
        PubSub(served[1], "dmz-local").subscribe("odd", "nonce-issued", "hasPrefix(attributes.service, 'a')")
