"""Two builders' agreement, proved on the operator's machine: real gcloud, real signatures, the real command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.ctl import deploy_proof_steps as commands
from functions.ctl.deploy_commands import Runner
from functions.ctl.deploy_doing import Doing
from functions.ctl.deploy_proof import Proof
from functions.ctl.deploy_proof_steps import Evidence
from shared.errors import Permanent
from tests.ctl.deploy_builders import BUCKET, KEY, PROJECT, ROLES, Builders
from tests.ctl.deploy_world import World, world

GOOD, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
REVISION, FORMER = "a" * 40, "b" * 40
pytestmark = pytest.mark.skipif(
    not os.environ.get("CI") and not all(map(shutil.which, ("terraform", "gcloud", "jq", "git"))),
    reason="A deployment needs terraform, gcloud, jq, git.",
)


@pytest.fixture
def made(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ) as found:
        yield found
        assert found.cloud.unknown == []


@pytest.fixture
def builders(made: World) -> Builders:
    """A former revision that both agree on."""
    for role in ROLES:
        made.builders.keep(role, FORMER, OTHER, "0")
    return made.builders


def proof(made: World) -> Proof:
    folder = made.folder / "proof"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    keys = tuple(f"gcpkms://{KEY.format(role)}" for role in ROLES)
    doing = Doing(Runner(made.root, made.environment))
    return Proof(doing, Evidence(PROJECT, BUCKET, (keys[0], keys[1]), os.fspath(folder)))


def test_an_image_that_two_builders_agree_on_is_proved_be_it_an_older_one(
    made: World, builders: Builders
) -> None:
    for role in ROLES:
        builders.keep(role, REVISION, GOOD, "1")
    proof(made).prove(REVISION, GOOD)
    proof(made).prove_named(GOOD)
    # What proves nothing blocks nothing: neither this revision nor another one.
    made.cloud.stored(BUCKET, f"services/{REVISION}/builder-00.json", b"{}", None)
    proof(made).prove_named(GOOD)
    proof(made).prove_named(OTHER)


def test_what_the_builders_did_not_agree_on_is_refused(made: World, builders: Builders) -> None:
    builders.keep("builder", REVISION, GOOD, "1")
    with pytest.raises(Permanent, match="No statement of the rebuilder about"):
        proof(made).prove(REVISION, GOOD)
    # A stranger's signature in the rebuilder's name, and a statement about another revision, are no second voice.
    builders.keep("rebuilder", REVISION, GOOD, "1", signer="builder")
    with pytest.raises(Permanent, match="do not agree"):
        proof(made).prove(REVISION, GOOD)
    builders.keep("rebuilder", FORMER, GOOD, "2", below=REVISION)
    with pytest.raises(Permanent, match="do not agree"):
        proof(made).prove(REVISION, GOOD)
    builders.keep("rebuilder", REVISION, GOOD, "3")
    proof(made).prove(REVISION, GOOD)
    with pytest.raises(Permanent, match="is not sha256:2222"):
        proof(made).prove(REVISION, OTHER)
    # A single other answer is a dispute.
    builders.keep("rebuilder", REVISION, OTHER, "4")
    with pytest.raises(Permanent, match="do not agree"):
        proof(made).prove(REVISION, GOOD)


def test_an_image_that_nobody_has_stated_is_refused(made: World) -> None:
    with pytest.raises(Permanent, match="Nobody has stated that a commit"):
        proof(made).prove_named(GOOD)
    made.builders.keep("builder", REVISION, OTHER, "1")
    with pytest.raises(Permanent, match="or say --unproved"):
        proof(made).prove_named(GOOD)


@pytest.mark.parametrize(("digest", "code"), [(OTHER, 0), (GOOD, 1)])
def test_a_shell_proves_the_same(made: World, builders: Builders, digest: str, code: int) -> None:
    outputs: dict[str, object] = {
        "contract": {"project": PROJECT, "location": "us-central1"},
        "provenance_bucket": BUCKET,
    }
    outputs |= {"repository": "r", "builds_bucket": "b"}
    outputs |= {f"{role}_key": f"gcpkms://{KEY.format(role)}" for role in ROLES}
    said = made.folder / "outputs.json"
    said.write_text(json.dumps({name: {"value": value} for name, value in outputs.items()}))
    terraform = f"terraform() {{ cat {said}; }}"
    lines = ("set -eu", "proof=$(mktemp -d)", terraform, *commands.typed(f"a.b/c@{digest}"), "echo proved")
    done = subprocess.run(
        "sh",
        input="\n".join(lines),
        env=dict(made.environment),
        cwd=made.root,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode != 0) == bool(code), done.stderr
    assert ("proved" in done.stdout) != bool(code)
