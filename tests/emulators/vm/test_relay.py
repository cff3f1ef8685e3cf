"""The publish relay: one topic, one service account, nothing else; with Google's own emulator behind it at the end."""

from __future__ import annotations

import base64
import datetime
import http.client
import http.server
import json
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from google.cloud import pubsub_v1

from shared.emulators import tokens
from shared.emulators.ca import CertificateAuthority
from shared.emulators.vm import front, relay
from shared.emulators.vm.backend import Backend
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.listen import Listeners
from shared.emulators.vm.spec import PUBSUB_HOST, Identity, Network, Platform, VmSpec
from tests.emulators.vm.conftest import IDENTITY, KEY, PLACE, TOPIC, serial
from tests.emulators.vm.support import Origin, origin, reply

PATH = f"/v1/{TOPIC}:publish"
MESSAGE = {"messages": [{"data": base64.b64encode(b"{}").decode(), "attributes": {"ce-type": "x"}}]}


def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
    reply(handler, b'{"messageIds": ["1"]}', Content_Type="application/json")


@dataclass
class Side:
    client: httpx.Client
    pubsub: Origin

    def publish(self, path: str = PATH, method: str = "POST", **options: object) -> httpx.Response:
        options.setdefault("headers", {"Authorization": f"Bearer {token()}"})
        options.setdefault("json", MESSAGE)
        headers = [("Host", PUBSUB_HOST), *dict(options.pop("headers")).items()]  # type: ignore[call-overload]
        return self.client.request(
            method, path, headers=headers, extensions={"sni_hostname": PUBSUB_HOST}, **options
        )  # type: ignore[arg-type]


def token(email: str = IDENTITY.email, key: bytes = KEY, now: float | None = None) -> str:
    return tokens.mint(key, email, time.time() if now is None else now)


@pytest.fixture
def side() -> Iterator[Side]:
    moment = datetime.datetime.now(datetime.UTC)
    authority = CertificateAuthority.create(moment)
    context = authority.server_context([PUBSUB_HOST], moment)
    with origin(answer) as pubsub:
        by_host = {PUBSUB_HOST: relay.PublishRelay(IDENTITY, KEY, Backend(pubsub.url))}
        listeners = Listeners("relay")
        server = socket.create_server(("127.0.0.1", 0))
        listeners.tcp(server, lambda connection: front.serve(connection, context, by_host))
        address = f"https://127.0.0.1:{server.getsockname()[1]}"
        listeners.start()
        trust = ssl.create_default_context(cadata=authority.pem)
        with httpx.Client(verify=trust, trust_env=False, base_url=address) as client:
            yield Side(client, pubsub)
        listeners.close()


def test_a_vm_publishes_to_its_topic(side: Side) -> None:
    assert side.publish().json() == {"messageIds": ["1"]}
    assert (side.pubsub.seen[0].path, json.loads(side.pubsub.seen[0].body)) == (PATH, MESSAGE)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("PUT", PATH),
        ("DELETE", f"/v1/{TOPIC}"),
        ("PUT", f"/v1/{TOPIC}"),
        ("POST", "/v1/projects/test-project/subscriptions/s:pull"),
        ("POST", f"{PATH}?x=1"),
        ("POST", f"{PATH}/"),
        ("POST", f"{PATH}#x"),
        ("POST", f"//v1/{TOPIC}:publish/../../../x"),
        ("POST", PATH.replace("topics/", "topics/%6f")),
        ("POST", "/v1/projects/test-project/topics/:publish"),
        ("GET", "/"),
    ],
)
def test_nothing_but_publishing_passes(side: Side, method: str, path: str) -> None:
    response = (
        side.publish(path, method) if "#" not in path else side.publish(path.replace("#", "%23"), method)
    )
    assert (response.status_code, response.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert not side.pubsub.seen


@pytest.mark.parametrize(
    "topic",
    [
        "projects/test-project/topics/verdicts-written",
        "projects/other-project/topics/outer-install-completed",
        "projects/test-project/topics/outer-install-completed2",
        "projects/test-project/topics/Outer-install-completed",
    ],
)
def test_another_topic_is_refused(side: Side, topic: str) -> None:
    response = side.publish(f"/v1/{topic}:publish")
    assert (response.status_code, response.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert not side.pubsub.seen


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ya29.",
        "Bearer ya29.x.y",
        "Bearer ya29.e30.4",
        "Bearer ya29.\xe9.\xe9",
        f"Bearer {token()[:-2]}",
        f"Bearer {token(key=b'another key, not the platform s')}",
        f"Bearer {token(now=time.time() - 3700)}",
        f"Bearer {token('inner@test-project.iam.gserviceaccount.com')}",
        f"Basic {token()}",
        f"bearer {token()}",
    ],
)
def test_without_its_own_fresh_token_nothing_passes(side: Side, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization.encode("latin-1")}
    response = side.publish(headers=headers)
    assert (response.status_code, response.json()["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert not side.pubsub.seen


def test_ten_megabytes_pass_and_no_more(side: Side) -> None:
    data = base64.b64encode(b"x" * 10_000_000).decode()
    assert side.publish(json={"messages": [{"data": data}]}).status_code == 200
    response = side.publish(content=b"x" * (relay.BODY_LIMIT + 1))
    assert response.status_code == 413
    assert len(side.pubsub.seen) == 1


def test_a_pubsub_that_is_down_is_unavailable(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backend, "_connection", lambda _: http.client.HTTPConnection("127.0.0.1", 1))
    response = side.publish()
    assert (response.status_code, response.json()["error"]["status"]) == (502, "UNAVAILABLE")


PUBLISH = r"""#!/usr/bin/python3
import base64, json, urllib.error, urllib.request
attributes = "http://metadata.google.internal/computeMetadata/v1/instance/"
def metadata(path):
    request = urllib.request.Request(attributes + path, headers={"Metadata-Flavor": "Google"})
    return urllib.request.urlopen(request).read()
token = json.loads(metadata("service-accounts/default/token"))["access_token"]
stolen = metadata("attributes/stolen").decode()
body = json.dumps({"messages": [{"data": base64.b64encode(b"done").decode(), "attributes": {"from": "vm"}}]}).encode()
def publish(topic, bearer):
    url = f"https://pubsub.googleapis.com/v1/{topic}:publish"
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers)
    try:
        return urllib.request.urlopen(request).status
    except urllib.error.HTTPError as error:
        return error.code
topic = metadata("attributes/topic").decode()
print("codes", publish(topic, token), publish(topic, stolen), publish(topic + "-other", token))
"""


@pytest.mark.parametrize("internet", [True, False], ids=["outer", "inner"])
def test_a_vm_publishes_through_googles_emulator(
    root: object, tmp_path: object, pubsub_emulator: str, project: str, internet: bool
) -> None:
    topic, subscription = f"projects/{project}/topics/done", f"projects/{project}/subscriptions/done"
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    publisher.create_topic(name=topic)
    publisher.create_topic(name=f"{topic}-other")
    subscriber.create_subscription(name=subscription, topic=topic)
    platform = Platform(root, tmp_path / "state", KEY, f"http://{pubsub_emulator}")  # type: ignore[operator, arg-type]
    identity = Identity("vm@p.iam.gserviceaccount.com", frozenset({topic}))
    attributes = {
        "startup-script": PUBLISH,
        "topic": topic,
        "stolen": token("other@p.iam.gserviceaccount.com"),
    }
    engine = Engine(platform)
    try:
        vm = engine.boot(VmSpec("vm", Network(internet), identity, PLACE, attributes))
        assert "codes 200 403 403" in serial(vm)
        received = subscriber.pull(subscription=subscription, max_messages=5, timeout=20).received_messages
    finally:
        engine.close()
    assert [(item.message.data, dict(item.message.attributes)) for item in received] == [
        (b"done", {"from": "vm"})
    ]
