"""The steps of cloudbuild.yaml for real, as far as one machine can: two builders, their statements, push and event.

Needs the package hosts for inputs of the image that are not in the user's cache yet.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from google.cloud import pubsub_v1

from functions.local import metadata, project
from functions.local.ports import choose
from shared.events import Delivery, decode
from tests.build import kms
from tests.build.worker import Worker, programs, workspace
from tests.ctl.deploy_cloud import Cloud, served
from tests.image.registry.support import Target, docker_registry
from tests.support.emulators import emulator

PROJECT, REVISION = "dmz-test", "0123456789abcdef0123456789abcdef01234567"
KEY = "projects/dmz-test/locations/us-central1/keyRings/package-dmz/cryptoKeys/{}/cryptoKeyVersions/1"
PROVENANCE = "dmz-test-dmz-provenance"


@dataclass
class Storage(Cloud):
    """Buckets from which gcloud can download: it asks where an object says that its bytes are."""

    address: str = ""

    def metadata(self, bucket: str, name: str) -> dict[str, Any]:
        where = f"{self.address}/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media"
        return super().metadata(bucket, name) | {"mediaLink": where}


@dataclass(frozen=True)
class World:
    folder: Path
    cloud: Storage
    registry: Target
    environment: dict[str, str]
    subscription: str

    def worker(self, role: str, **more: str) -> Worker:
        """A build that begins: a workspace of its own, a number of its own."""
        number = len(list(self.folder.glob("work-*/workspace"))) + 1
        given = {
            "_REPOSITORY": f"{self.registry.host}/dmz-services",
            "_REVISION": REVISION,
            "_WAIT_SECONDS": "0",
            **more,
        }
        place = workspace(self.folder / f"work-{number}" / "workspace")
        return Worker(place, role, self.environment, given, build=f"build-{number}")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("build")
    cloud, ports = Storage(), choose(["operator"], None)
    servers = metadata.MetadataServers(ports, project.settings({}, tpu=1, registry=2), b"k" * 32)
    (folder / "registry").mkdir()
    (folder / "token").write_text("nobody's")
    with (
        served(cloud) as storage,
        kms.ring(*(KEY.format(role) for role in ("builder", "rebuilder"))) as (keys, _),
        docker_registry(folder / "registry") as registry,
        emulator("pubsub", folder) as pubsub,
    ):
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("CLOUDSDK_", "DMZ_"))
        }
        environment = kept | {
            **metadata.environment(ports["operator"]),
            "PATH": programs(folder / "bin"),
            "DMZ_KMS_ENDPOINT": keys,
            "DMZ_HOME": str(folder / "state"),
            "PUBSUB_EMULATOR_HOST": pubsub,
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{storage}/storage/v1/",
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
        }
        yield World(folder, cloud, registry, environment, _subscribed(pubsub))
    servers.close()


def _subscribed(pubsub: str) -> str:
    os.environ["PUBSUB_EMULATOR_HOST"] = pubsub
    try:
        publisher, subscriber = pubsub_v1.PublisherClient(), pubsub_v1.SubscriberClient()
        topic = publisher.create_topic(name=publisher.topic_path(PROJECT, "image-built"))
        name = subscriber.subscription_path(PROJECT, "seen")
        subscriber.create_subscription(name=name, topic=topic.name)
    finally:
        del os.environ["PUBSUB_EMULATOR_HOST"]
    return str(name)


def done(worker: Worker, *names: str) -> None:
    for name in names:
        ended = worker.run(name)
        assert ended.returncode == 0, f"{name}: {ended.stdout}\n{ended.stderr}"


@pytest.fixture(scope="module")
def agreed(world: World) -> tuple[Worker, Worker]:
    """Both builds up to the push. Caches are the builders' own; inputs are this user's, by hash."""
    rebuilder, builder = world.worker("rebuilder"), world.worker("builder")
    done(rebuilder, "build", "provenance")
    done(builder, "build", "provenance", "start", "compare", "push")
    return rebuilder, builder


@pytest.mark.network
def test_two_builds_agree_and_one_is_pushed(world: World, agreed: tuple[Worker, Worker]) -> None:
    rebuilder, builder = agreed
    manifests = {
        json.loads((each.workspace / "build/image/index.json").read_text())["manifests"][0]["digest"]
        for each in agreed
    }
    assert len(manifests) == 1
    assert builder.output("push") == f"{world.registry.host}/dmz-services/services@{manifests.pop()}\n"
    reference = json.loads((builder.workspace / "build/reference.json").read_text())
    uri = "https://cloudbuild.googleapis.com/projects/dmz-test"
    assert reference["builders"] == [f"{uri}/builder", f"{uri}/rebuilder"]
    assert reference["threshold"] == 2
    assert reference["revision"] == REVISION
    kept = {name for bucket, name in world.cloud.objects if bucket == PROVENANCE}
    assert {f"services/{REVISION}/{each.role}-{each.build}.json" for each in agreed} <= kept
    assert not world.cloud.unknown
    assert not (rebuilder.workspace / "build/pushed").exists()


@pytest.mark.network
def test_the_rebuilder_pushes_nothing(agreed: tuple[Worker, Worker]) -> None:
    rebuilder, _ = agreed
    for name in ("lint", "test", "start", "compare", "push", "deploy", "smoke"):
        ended = rebuilder.run(name)
        assert (ended.returncode, ended.stdout) == (0, ""), name


@pytest.mark.network
def test_both_votes_reach_the_attestation_stage(
    world: World, agreed: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in agreed:
        done(worker, "publish", "publish")
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", world.environment["PUBSUB_EMULATOR_HOST"])
    with pubsub_v1.SubscriberClient() as subscriber:
        heard = []
        while len(heard) < 4:
            heard += subscriber.pull(
                subscription=world.subscription, max_messages=10, timeout=60
            ).received_messages
    events = [
        decode(Delivery(each.message.data, "image-built", dict(each.message.attributes))) for each in heard
    ]
    assert len({event.id for event in events}) == 2, "the same vote is the same event"


@pytest.mark.network
def test_what_was_pushed_is_not_deployed_by_default(agreed: tuple[Worker, Worker]) -> None:
    _, builder = agreed
    ended = builder.run("deploy")
    assert ended.returncode == 0
    assert f"./dmz deploy --image {builder.output('push').strip()}" in ended.stdout
    assert "Nothing was deployed" in builder.run("smoke").stdout


@pytest.mark.network
def test_a_build_that_comes_out_otherwise_is_not_pushed(world: World, agreed: tuple[Worker, Worker]) -> None:
    """One byte of one source is different on the builder's worker; the name of the revision is the same."""
    changed = world.worker("builder")
    stage = changed.workspace / "functions" / "scanner" / "stage.py"
    stage.write_text(stage.read_text() + "# hello\n")
    done(changed, "build", "provenance")
    ended = changed.run("compare")
    assert ended.returncode == 1
    assert "Builders disagree" in ended.stderr, ended.stderr
    assert changed.run("push").returncode != 0


@pytest.mark.network
def test_a_statement_by_another_key_is_no_vote(world: World, agreed: tuple[Worker, Worker]) -> None:
    """Whoever can write to the bucket cannot speak for the rebuilder."""
    _, builder = agreed
    forged = world.worker("builder", _PROVENANCE="gs://forged")
    shutil.copytree(builder.workspace / "build", forged.workspace / "build")
    statement = (builder.workspace / "build/statement.json").read_bytes()
    world.cloud.stored("forged", f"services/{REVISION}/rebuilder-x.json", statement, None)
    done(forged, "provenance")
    ended = forged.run("compare")
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "1 of 2" in ended.stderr, ended.stderr
    assert forged.run("push").returncode == 1, "its push must be as impossible"


@pytest.mark.network
def test_without_the_other_builder_nothing_goes_on(world: World, agreed: tuple[Worker, Worker]) -> None:
    _, builder = agreed
    alone = world.worker("builder", _PROVENANCE="gs://empty")
    shutil.copytree(builder.workspace / "build", alone.workspace / "build")
    done(alone, "provenance")
    ended = alone.run("compare")
    assert ended.returncode == 1
    assert "submit it with _ROLE=rebuilder" in ended.stderr


@pytest.mark.network
def test_garbage_beside_the_rebuilders_statement_blocks_nothing(
    world: World, agreed: tuple[Worker, Worker]
) -> None:
    rebuilder, builder = agreed
    littered = world.worker("builder", _PROVENANCE="gs://littered")
    shutil.copytree(builder.workspace / "build", littered.workspace / "build")
    done(littered, "provenance")
    world.cloud.stored("littered", f"services/{REVISION}/rebuilder-x.json", b"{", None)
    assert littered.run("compare").returncode == 1, "garbage is no vote"
    assert not (littered.workspace / "build/reference.json").exists(), (
        "and what held before does not hold now"
    )
    statement = (rebuilder.workspace / "build/statement.json").read_bytes()
    world.cloud.stored("littered", f"services/{REVISION}/rebuilder-y.json", statement, None)
    ended = littered.run("compare")
    assert ended.returncode == 0, ended.stderr
    assert "rebuilder-x.json does not count" in ended.stderr


@pytest.mark.network
def test_what_was_stated_before_the_tests_counts(world: World, agreed: tuple[Worker, Worker]) -> None:
    """What changed in the workspace afterwards: the kept statement is compared, the image not pushed."""
    _, builder = agreed
    tampered = world.worker("builder")
    shutil.copytree(builder.workspace / "build", tampered.workspace / "build")
    done(tampered, "provenance")
    (tampered.workspace / "build/statement.json").write_text("{}")
    done(tampered, "compare")
    index = tampered.workspace / "build/image/index.json"
    manifest = json.loads(index.read_text())["manifests"][0]["digest"]
    for other in ("sha256:" + "0" * 64, f"{manifest} sha256:{'0' * 64}"):
        index.write_text(index.read_text().replace(manifest, other))
        ended = tampered.run("push")
        assert ended.returncode == 1
        assert "nothing is pushed" in ended.stderr
        index.write_text(index.read_text().replace(other, manifest))
    noted = builder.output("build").split()
    assert noted[0] == manifest, "in the build's own record"
