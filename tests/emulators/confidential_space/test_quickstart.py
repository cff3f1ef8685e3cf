"""The quickstart's own data service: built, pushed, pulled, launched, asked for a token by Pub/Sub, appraised."""

from __future__ import annotations

import datetime
import json
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.cloud import pubsub_v1

from shared.appraisal import keys as trusted
from shared.appraisal.appraise import appraise
from shared.emulators import tokens
from shared.emulators.confidential_space import config
from shared.emulators.confidential_space.platform import Platform
from shared.emulators.registry.app import App
from shared.emulators.registry.config import parse
from shared.emulators.registry.http import Server
from shared.image.make import Made, make
from shared.image.registry import Registry
from shared.image.registry_logins import with_token
from shared.image.registry_reference import Reference
from shared.model.appraisal import AppraisalPolicy
from tests.emulators.confidential_space.conftest import (
    HOST,
    KEY,
    OPERATOR,
    SERVICE,
    Space,
    configuration,
    request,
)
from tests.emulators.vm.support import listener

pytestmark = pytest.mark.network
AUDIENCE, NONCE = "https://attestation.example", "nonce-of-the-stage-0001"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Made:
    directory = tmp_path_factory.mktemp("quickstart")
    return make("quickstart_data", directory / "image", directory / "layers")


@dataclass
class Stand:
    space: Space
    project: str
    reference: Reference


@pytest.fixture
def stand(tmp_path: Path, ca: Path, project: str, pubsub_emulator: str, built: Made) -> Iterator[Stand]:
    """Artifact Registry, Pub/Sub and Confidential Space, with the image pushed."""
    key = tmp_path / "key"
    key.write_bytes(KEY)
    probe, _ = listener()
    port = probe.getsockname()[1]
    probe.close()
    registry = parse({
        "listen": f"127.0.0.1:{port}", "state_dir": str(tmp_path / "registry"), "token_key": str(key),
        "project": project, "location": "us-central1", "repositories": [{"name": "services", "format": "DOCKER"}],
        "iam": {"services": {"reader": [SERVICE], "writer": [OPERATOR]}},
    })  # fmt: skip
    registry.state_dir.mkdir()
    app = App(registry)
    server = Server(("127.0.0.1", port), app)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    origin = f"http://127.0.0.1:{port}"
    pusher = Registry(with_token(lambda: tokens.mint(KEY, OPERATOR, time.time())), {HOST: origin})
    pushed = pusher.push(built.layout, Reference(HOST, f"{project}/services/quickstart_data", "v1"))
    made = Platform(config.parse(json.dumps(configuration(
        tmp_path, ca_dir=str(ca), project=project, registries={HOST: origin}, pubsub=f"http://{pubsub_emulator}",
        service_accounts={SERVICE: {
            "publish": [f"projects/{project}/topics/attestation-requested"],
            "pull": [f"projects/{project}/subscriptions/quickstart"],
        }},
    ))))  # fmt: skip
    yield Stand(Space(made, tmp_path), project, pushed.reference)
    made.close()
    server.shutdown()
    server.server_close()
    app.store.close()


@pytest.mark.parametrize("kind", ["OIDC", "PKI"])
def test_the_data_service_proves_which_image_it_is(stand: Stand, built: Made, kind: str) -> None:
    publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
    place = f"projects/{stand.project}"
    for topic, subscription in (("nonce-issued", "quickstart"), ("attestation-requested", "appraiser")):
        publisher.create_topic(name=f"{place}/topics/{topic}")
        subscriber.create_subscription(
            name=f"{place}/subscriptions/{subscription}", topic=f"{place}/topics/{topic}"
        )
    body = request(
        "quickstart",
        **{
            "tee-image-reference": str(stand.reference),
            "tee-container-log-redirect": "serial",
            "tee-env-DMZ_SERVICE": "quickstart_data",
            "tee-env-DMZ_PROJECT": stand.project,
            "tee-env-DMZ_SUBSCRIPTION": "quickstart",
        },
    )
    answer = stand.space.api.post(
        f"/compute/v1/projects/{stand.project}/zones/us-central1-a/instances", json=body
    )
    assert answer.status_code == 200, answer.text
    url = f"/compute/v1/projects/{stand.project}/zones/us-central1-a/instances/quickstart"
    deadline = time.monotonic() + 120
    while "Listening on port 8080" not in (
        said := stand.space.api.get(f"{url}/serialPort").json()["contents"]
    ):
        assert time.monotonic() < deadline, said
        time.sleep(0.1)
    instance = stand.space.api.get(url).json()
    service = f"http://{instance['networkInterfaces'][0]['networkIP']}:{instance['localPorts']['8080']}"
    sums = httpx.post(f"{service}/v1/sum", json={"values": [0.5, 7, -3], "low": 0, "high": 1})
    assert sums.json() == {"count": 3, "sum": 1.5}

    challenge = {
        "run_id": "r", "service": "quickstart_data", "nonce_id": "n", "nonce": NONCE, "audience": AUDIENCE,
        "token_type": kind, "expires": int(time.time()) + 600,
    }  # fmt: skip
    publisher.publish(f"{place}/topics/nonce-issued", json.dumps(challenge).encode()).result(30)
    found = subscriber.pull(subscription=f"{place}/subscriptions/appraiser", max_messages=1, timeout=60)
    token = json.loads(found.received_messages[0].message.data)["token"]

    pki = stand.space.platform.signer.pki.root_pem.encode()
    jwks = stand.space.issuer.get(
        stand.space.issuer.get("/.well-known/openid-configuration").json()["jwks_uri"]
    ).content
    believed = trusted.read_root(pki, "root") if kind == "PKI" else trusted.read_jwks(jwks, "jwks")
    now = datetime.datetime.now(datetime.UTC).timestamp()
    result = appraise(token, policy(built, instance, stand.project, kind), believed, (), NONCE, now)
    assert [check for check in result.checks if check.answer == "failed"] == []
    assert result.decision == "accepted"
    assert (result.image_digest, result.image_id) == (built.built.manifest, built.built.config)


def policy(built: Made, instance: dict[str, Any], project: str, kind: str) -> AppraisalPolicy:
    settings = json.loads(built.config_json)["config"]
    pinned = {
        "image_digest": built.built.manifest,
        "image_id": built.built.config,
        "env": dict(pair.split("=", 1) for pair in settings.get("Env", []))
        or {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
        "args": [*settings["Entrypoint"], *(settings.get("Cmd") or [])],
    }
    number = str(zlib.crc32(project.encode()) + 100_000_000_000)
    return AppraisalPolicy.model_validate_json(json.dumps({
        "format": "package-dmz/appraisal-policy/v1", "service": "quickstart_data", "image": "quickstart_data",
        "audience": AUDIENCE, "token_types": [kind], "hwmodel": ["GCP_INTEL_TDX"], "swversion_minimum": 250800,
        "projects": [{"id": project, "number": number}],
        "service_accounts": [SERVICE],
        "env_overrides": dict.fromkeys(("DMZ_SERVICE", "DMZ_PROJECT", "DMZ_SUBSCRIPTION"), ".*"),
        "reference": {"rule": "digests", "images": [pinned]},
    }))  # fmt: skip
