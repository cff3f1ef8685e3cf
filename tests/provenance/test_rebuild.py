"""./dmz rebuild and ./dmz attestation, from a spec to a reference value: two builders, real images, no network."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import yaml

from functions.ctl import cli, rebuild
from functions.local import platform
from shared.appraisal import statement, votes
from shared.appraisal.builders import Builders
from shared.appraisal.dsse import read
from shared.appraisal.signer import FileSigner
from shared.events import Delivery, Event, decode
from shared.image import roots
from shared.image import spec as specs
from shared.model.value import sha256
from tests.provenance.kms_standin import NAME, TOKEN, running
from tests.provenance.world import ALICE, BOB, World


def test_two_builders_agree_and_their_key_is_released_to_that_image(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert world.rebuild("alice", ALICE, "--layout", str(world.home / "layout")) == 0
    assert world.rebuild("bob", BOB) == 0
    capsys.readouterr()
    envelopes = [str(world.home / f"{name}.json") for name in ("alice", "bob")]
    given = ("--builders", str(world.builders()), "--config", str(world.config))
    assert cli.main(["attestation", "reference", *given, *envelopes]) == 0
    reference = json.loads(capsys.readouterr().out)
    index = json.loads((world.home / "layout/index.json").read_text())
    assert reference["manifest"] == index["manifests"][0]["digest"]
    assert reference["config"] == sha256(world.config.read_bytes())
    assert reference["builders"] == [ALICE, BOB]
    assert reference["lock"] == specs.read_lock(specs.read(world.spec), world.spec).digest
    (world.home / "reference.json").write_text(json.dumps(reference))

    policy = yaml.safe_load(
        (Path(rebuild.__file__).parents[2] / "shared/data/attestation/policies/aggregator.yaml").read_text()
    )
    (world.home / "policy.yaml").write_text(yaml.safe_dump(policy | {"image": "demo_service"}))
    words = ["attestation", "export", "--policy", str(world.home / "policy.yaml")]
    words += ["--reference", str(world.home / "reference.json"), "--project-number", "1", "--pool", "pool"]
    assert cli.main(words) == 0
    first = capsys.readouterr().out
    assert reference["manifest"] in json.loads(first)["provider"]["attribute_condition"]
    assert cli.main(words) == 0
    assert capsys.readouterr().out == first


def test_too_few_and_disagreeing_builders(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    revision = ("--revision", "v1")
    assert world.rebuild("alice", ALICE, *revision) == 0
    given = ("--builders", str(world.builders()), "--config", str(world.config))
    alice, bob = str(world.home / "alice.json"), str(world.home / "bob.json")
    assert cli.main(["attestation", "reference", *given, alice]) == 1
    assert "1 of 2 builders have built demo_service at v1" in capsys.readouterr().err
    (world.at / "src/main.py").write_text("import demo  # and a door at the back\n")
    assert world.rebuild("bob", BOB, *revision) == 0
    assert cli.main(["attestation", "reference", *given, alice, bob]) == 3
    said = capsys.readouterr().err
    assert "Builders disagree about demo_service at v1" in said
    assert world.stated("alice").manifest in said
    assert world.stated("bob").manifest in said


def test_what_does_not_count_is_named_and_blocks_nothing(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Garbage, what nobody signed, another revision's statement and an old one, beside two votes that agree."""
    month_ago = time.time() - 30 * 86400
    with monkeypatch.context() as then:
        then.setattr(rebuild, "time", SimpleNamespace(time=lambda: month_ago))
        assert world.rebuild("bob", BOB, "--revision", "v1") == 0
    old = world.home / "old.json"
    (world.home / "bob.json").rename(old)
    assert world.rebuild("bob", BOB, "--revision", "v2") == 0
    replayed = world.home / "replayed.json"
    (world.home / "bob.json").rename(replayed)
    assert world.rebuild("alice", ALICE, "--revision", "v1") == 0
    assert world.rebuild("bob", BOB, "--revision", "v1") == 0
    alice, bob = (world.home / f"{name}.json" for name in ("alice", "bob"))
    garbage, large, forged = (world.home / f"{name}.json" for name in ("garbage", "large", "forged"))
    garbage.write_bytes(b"\xff{")
    large.write_bytes(b"x" * (1 << 21))
    forged.write_text(
        json.dumps(json.loads(bob.read_text()) | {"payload": json.loads(alice.read_text())["payload"]})
    )
    given = ("--builders", str(world.builders()), "--config", str(world.config), "--revision", "v1")
    harmless = [str(path) for path in (old, replayed, garbage, large, forged)]
    capsys.readouterr()
    assert cli.main(["attestation", "reference", *given, str(alice), *harmless, str(bob)]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)["builders"] == [ALICE, BOB]
    assert [line.split(" does not count: ")[0] for line in printed.err.splitlines()] == [
        f"dmz: {path}" for path in harmless
    ]
    assert cli.main(["attestation", "reference", *given, str(alice), *harmless]) == 1, (
        "none of them is a vote"
    )
    assert "1 of 2 builders" in capsys.readouterr().err
    assert cli.main(["attestation", "reference", *given, *harmless]) == 1
    assert cli.main(["attestation", "reference", *given, str(alice), str(world.home / "none.json")]) == 2


def test_an_old_vote_is_a_dispute_still(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    month_ago, source = time.time() - 30 * 86400, world.at / "src/main.py"
    sound = source.read_text()
    source.write_text("import demo  # and a door at the back\n")
    with monkeypatch.context() as then:
        then.setattr(rebuild, "time", SimpleNamespace(time=lambda: month_ago))
        assert world.rebuild("bob", BOB, "--revision", "v1") == 0
    old = world.home / "old.json"
    (world.home / "bob.json").rename(old)
    source.write_text(sound)
    assert world.rebuild("alice", ALICE, "--revision", "v1") == 0
    assert world.rebuild("bob", BOB, "--revision", "v1") == 0
    given = ("--builders", str(world.builders()), "--config", str(world.config), "--revision", "v1")
    envelopes = [str(path) for path in (world.home / "alice.json", world.home / "bob.json", old)]
    assert cli.main(["attestation", "reference", *given, *envelopes]) == 3
    assert "Builders disagree about demo_service at v1" in capsys.readouterr().err


def test_different_sources_are_not_compared(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert world.rebuild("alice", ALICE) == 0
    (world.at / "src/main.py").write_text("x = 1\n")
    assert world.rebuild("bob", BOB) == 0
    given = ("--builders", str(world.builders()), "--config", str(world.config))
    envelopes = [str(world.home / f"{name}.json") for name in ("alice", "bob")]
    assert cli.main(["attestation", "reference", *given, *envelopes]) == 2
    assert "different images, revisions or locks" in capsys.readouterr().err


def test_without_out_the_envelope_is_printed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "rebuild",
        str(world.spec),
        "--key",
        str(world.key("alice")),
        "--builder",
        ALICE,
        "--codec",
        "stored",
    ]
    assert cli.main(words) == 0
    printed = capsys.readouterr()
    found = statement.read(read(printed.out.strip()).unverified_payload)
    assert found.codec == "stored"
    assert found.manifest in printed.err


# --- keys


def test_no_compile_root_comes_from_a_cache(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write to the cache could put a compiler there, and a record that finds it sound."""
    made, before, places = rebuild.make, roots.place(), []

    def noted(*given: Any) -> Any:
        places.append(roots.place())
        return made(*given)

    monkeypatch.setattr(rebuild, "make", noted)
    assert world.rebuild("alice", ALICE) == 0
    (place,) = places
    assert place != before
    assert not place.exists()
    assert roots.place() == before


def test_a_new_key(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    path = world.home / "new.pem"
    assert cli.main(["rebuild", "--new-key", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.out == FileSigner(path).public_pem
    assert FileSigner(path).key_id in printed.err
    assert cli.main(["rebuild", "--new-key", str(path)]) == 2
    assert "never overwritten" in capsys.readouterr().err


def test_a_key_in_cloud_kms(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with running() as kms:
        monkeypatch.setenv(rebuild.KMS_ENDPOINT, kms.url)
        monkeypatch.setattr("shared.gcp.kms.KmsSigner._default_token", lambda _: TOKEN)
        out = str(world.home / "alice.json")
        words = ["rebuild", str(world.spec), "--key", f"gcpkms://{NAME}", "--builder", ALICE, "--out", out]
        assert cli.main(words) == 0
        signer = rebuild.signer_of(f"gcpkms://{NAME}", os.environ)
        listed = Builders.check(
            {
                "threshold": 1,
                "validity_seconds": 60,
                "builders": [{"id": ALICE, "keys": [signer.public_pem]}],
            },
            "The policy",
        )
        vote = votes.verify(Path(out).read_text().strip(), listed, world.stated("alice").finished)
        assert vote.keyid == signer.key_id


# --- bad input is found before anything is built


@pytest.fixture
def nothing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was built")

    monkeypatch.setattr(rebuild, "make", refuse)


BAD: dict[str, tuple[dict[str, str], str]] = {
    "no spec": ({"spec": ""}, "SPEC is missing"),
    "no key": ({"--key": ""}, "--key is missing"),
    "no builder": ({"--builder": ""}, "--builder is missing"),
    "a spec that is none": ({"spec": "nothing_like_it"}, "There is no image"),
    "a key that is none": ({"--key": "none.pem"}, "cannot be read"),
    "a key version that is none": ({"--key": "gcpkms://key"}, "names no key version"),
    "a builder that is no URI": ({"--builder": "alice"}, "builder"),
    "a revision that is none": ({"--revision": "v 1"}, "revision"),
    "an envelope into nowhere": ({"--out": "/nowhere/envelope.json"}, "cannot be written"),
    "a platform that is not up": ({"--publish": "local"}, "not up"),
}


@pytest.mark.usefixtures("nothing_is_built")
@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    changed, said = BAD[case]
    given = {"spec": str(world.spec), "--key": str(world.key("alice")), "--builder": ALICE} | changed
    words = [word for name, value in given.items() if value for word in (name, value) if word != "spec"]
    assert cli.main(["rebuild", *words]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1


@pytest.mark.usefixtures("nothing_is_built")
def test_a_spec_without_its_lock(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    specs.lock_path(world.spec).unlink()
    assert world.rebuild("alice", ALICE) == 2
    assert "has no lock" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "--policy", "nothing_like_it"], "policy"),
        (["export", "--policy", "aggregator"], "No reference value"),
        (["export", "--policy", "aggregator", "--reference", "/nowhere"], "cannot be read"),
        (["export", "--policy", "aggregator", "--at", "now"], "RFC 3339"),
        (["reference", "--builders", "/nowhere", "--config", "/nowhere", "/nowhere"], "cannot be read"),
    ],
)
def test_unusable_input(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["attestation", *words]) == 2
    assert said in capsys.readouterr().err


# --- the event


def test_the_vote_is_published(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent: list[tuple[str, Event]] = []
    monkeypatch.setattr(
        "shared.gcp.pubsub.PubSubBus.publish", lambda bus, event: sent.append((bus._project, event))
    )
    assert world.rebuild("alice", ALICE, "--publish", "my-project") == 0
    ((project, event),) = sent
    assert project == "my-project"
    found = decode(Delivery(event.body(), "image-built", event.attributes()))
    assert found.id == event.id
    assert found.data.image == "demo_service"  # type: ignore[attr-defined]
    assert found.data.config == world.config.read_text()  # type: ignore[attr-defined]
    assert found.data.envelope == (world.home / "alice.json").read_text().strip()  # type: ignore[attr-defined]
    assert "Published image-built to my-project" in capsys.readouterr().err


def test_the_vote_is_published_to_the_platform_that_is_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Any, ...]] = []

    class Up:
        addresses, project = {"pubsub": "127.0.0.1:1"}, "dmz-local"
        environment: ClassVar[dict[str, str]] = {}

    monkeypatch.setattr(platform, "read", lambda _: Up())
    monkeypatch.setattr(
        "functions.local.pubsub.PubSub.publish", lambda self, *given: sent.append((self.host, *given))
    )
    assert world.rebuild("alice", ALICE, "--publish", "local") == 0
    ((host, topic, _, attributes),) = sent
    assert (host, topic) == ("127.0.0.1:1", "image-built")
    assert attributes["ce-type"] == "package-dmz.image-built.v1"
