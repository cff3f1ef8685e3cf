"""./dmz rebuild and ./dmz attestation, from a spec to a reference value: two builders, real images, no network."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.ctl import cli, rebuild
from functions.local import platform
from shared.appraisal import statement, votes
from shared.appraisal.builders import Builders
from shared.appraisal.dsse import read
from shared.appraisal.signer import FileSigner, new_key
from shared.events import Delivery, Event, decode
from shared.image import spec as specs
from shared.image.inputs import Cache
from shared.model.value import sha256
from tests.image.python.support import SPEC, Files, demo, interpreter
from tests.provenance.kms_standin import NAME, TOKEN, running

ALICE, BOB = "https://builders.example/alice", "https://builders.example/bob"


@dataclass
class World:
    """A spec with its lock, sources and cached inputs, and two builders' keys."""

    at: Path
    home: Path

    @property
    def spec(self) -> Path:
        return self.at / "demo_service.yaml"

    def key(self, name: str) -> Path:
        path = self.home / f"{name}.pem"
        if not path.exists():
            new_key(path)
        return path

    def rebuild(self, name: str, builder: str, *words: str) -> int:
        """Exit code of ./dmz rebuild; the envelope is in `home/NAME.json`."""
        out = self.home / f"{name}.json"
        given = ("--key", str(self.key(name)), "--builder", builder, "--out", str(out))
        return cli.main(["rebuild", str(self.spec), *given, "--config", str(self.config), *words])

    @property
    def config(self) -> Path:
        return self.home / "config.json"

    def stated(self, name: str) -> Any:
        return statement.read(read((self.home / f"{name}.json").read_text().strip()).unverified_payload)

    def builders(self, threshold: int = 2) -> Path:
        path = self.home / "builders.yaml"
        listed = [
            {"id": id, "keys": [FileSigner(self.key(name)).public_pem]}
            for name, id in (("alice", ALICE), ("bob", BOB))
        ]
        content = {"threshold": threshold, "validity_seconds": 86400, "builders": listed}
        path.write_text(yaml.safe_dump(content))
        return path


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    found = World(tmp_path / "project", tmp_path / "home")
    for directory in (found.at / "src", found.home, tmp_path / "made"):
        directory.mkdir(parents=True)
    (found.at / "src/main.py").write_text("import demo\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DMZ_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("DMZ_DEBUG", raising=False)
    files = Files(tmp_path / "made")
    files.deb("base", "libc6", {"usr/lib/libc.so.6": b"\x7fELF libc"})
    interpreter(files)
    files.wheel("demo", demo())
    cache = Cache()
    for wanted, path in ((each, files.paths[each.url]) for each in files.inputs):
        cache.keep(path.read_bytes(), wanted.filename)
    found.spec.write_text(json.dumps(SPEC.model_dump(mode="json", exclude_defaults=True)))
    spec = specs.read(found.spec)
    lock = files.lock(spec).model_copy(update={"resolved_from": specs.resolved_from(spec)})
    specs.write_lock(lock, found.spec)
    return found


def git(world: World, *words: str) -> str:
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ("git", "-C", str(world.at), *identity, *words),
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | own,
    ).stdout.strip()


def committed(world: World) -> str:
    git(world, "init", "-q")
    git(world, "add", "-A")
    git(world, "commit", "-q", "-m", "all")
    return git(world, "rev-parse", "HEAD")


# --- what is built and signed


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
    assert cli.main(["attestation", "reference", *given, alice, bob]) == 1
    said = capsys.readouterr().err
    assert "Builders disagree about demo_service at v1" in said
    assert world.stated("alice").manifest in said
    assert world.stated("bob").manifest in said


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


# --- the revision


def test_outside_git_the_sources_name_themselves(world: World) -> None:
    assert world.rebuild("alice", ALICE) == 0
    first = world.stated("alice").revision
    assert first.startswith("tree:sha256:")
    os.utime(world.at / "src/main.py", (0, 0))
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision == first
    for change in (
        lambda: (world.at / "src/main.py").chmod(0o755),
        lambda: (world.at / "src/more.py").write_text("x = 1\n"),
        lambda: (world.at / "src/more.py").rename(world.at / "src/other.py"),
    ):
        change()
        assert world.rebuild("alice", ALICE) == 0
        assert world.stated("alice").revision != first
        first = world.stated("alice").revision


def test_a_commit_that_holds_everything_names_the_sources(world: World) -> None:
    head = committed(world)
    (world.at / "notes.txt").write_text("not in the image\n")
    os.utime(world.at / "src/main.py", (0, 0))
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision == head


def commit_something_ignored(world: World) -> None:
    (world.at / ".gitignore").write_text("src/secret.py\n")
    committed(world)
    (world.at / "src/secret.py").write_text("x = 1\n")


def assume_unchanged(world: World) -> None:
    committed(world)
    git(world, "update-index", "--assume-unchanged", "src/main.py")
    (world.at / "src/main.py").write_text("import evil\n")


def line_ends(world: World) -> None:
    """Git would call the file unchanged, but its bytes are not the commit's."""
    committed(world)
    git(world, "config", "core.autocrlf", "true")
    (world.at / "src/main.py").write_bytes(b"import demo\r\n")


DIRTY = {
    "a changed source": lambda world: (committed(world), (world.at / "src/main.py").write_text("x = 1\n")),
    "a new source": lambda world: (committed(world), (world.at / "src/more.py").write_text("x = 1\n")),
    "a new source, staged": lambda world: (
        committed(world),
        (world.at / "src/more.py").write_text("x = 1\n"),
        git(world, "add", "-A"),
    ),
    "an executable bit": lambda world: (committed(world), (world.at / "src/main.py").chmod(0o755)),
    "a changed lock": lambda world: (
        committed(world),
        specs.lock_path(world.spec).write_text(specs.lock_path(world.spec).read_text() + "\n"),
    ),
    "a changed spec": lambda world: (committed(world), world.spec.write_text(world.spec.read_text() + "\n")),
    "an ignored source": commit_something_ignored,
    "a source that git was told to pass over": assume_unchanged,
    "other line ends": line_ends,
    "no commit yet": lambda world: git(world, "init", "-q"),
}


@pytest.mark.parametrize("case", DIRTY)
def test_a_commit_that_does_not_hold_everything_names_nothing(case: str, world: World) -> None:
    DIRTY[case](world)
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision.startswith("tree:sha256:")


def test_a_calling_git_s_variables_do_not_answer_for_another_repository(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = committed(world)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "none"))
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision == head


def test_sources_that_change_while_they_are_built(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build = rebuild.make

    def meanwhile(*given: Any) -> Any:
        made = build(*given)
        (world.at / "src/main.py").write_text("x = 2\n")
        return made

    monkeypatch.setattr(rebuild, "make", meanwhile)
    assert world.rebuild("alice", ALICE) == 1
    assert "changed while they were built" in capsys.readouterr().err
    assert not (world.home / "alice.json").exists()


def test_a_commit_of_something_else_meanwhile_is_no_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, build = committed(world), rebuild.make

    def meanwhile(*given: Any) -> Any:
        made = build(*given)
        (world.at / "notes.txt").write_text("not in the image\n")
        committed(world)
        return made

    monkeypatch.setattr(rebuild, "make", meanwhile)
    assert world.rebuild("alice", ALICE) == 0
    assert world.stated("alice").revision == head


# --- keys


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

    monkeypatch.setattr(platform, "read", lambda _: Up())
    monkeypatch.setattr(
        "functions.local.pubsub.PubSub.publish", lambda self, *given: sent.append((self.host, *given))
    )
    assert world.rebuild("alice", ALICE, "--publish", "local") == 0
    ((host, topic, _, attributes),) = sent
    assert (host, topic) == ("127.0.0.1:1", "image-built")
    assert attributes["ce-type"] == "package-dmz.image-built.v1"
