"""The steps `deploy`, `smoke`, `lint` and `test`: what they call, with programs that write down what they were told."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from functions.ctl import cli
from functions.local.layout import CHECKOUT
from tests.build import config
from tests.build.worker import Worker, programs, workspace

DOCUMENT = config.read(config.PATH.read_text(encoding="utf-8"))
IMAGE = "us-central1-docker.pkg.dev/dmz-test/dmz-services/services@sha256:" + "1" * 64
_TELLS = """#!/usr/bin/env bash
printf '%s\\n' "$(python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@")" >> "$TOLD"
"""
# Terraform's zip, whose program writes down what it was told, from where it is downloaded.
_CURL = (
    _TELLS
    + """
while [[ $1 != --output ]]; do shift; done
cp "$(dirname "$TOLD")/terraform.zip" "$2"
"""
)
_TERRAFORM = (
    _TELLS
    + """
[[ $2 != output ]] || echo '{"identities": {"value": {"project": "the-inner-one"}}}'
"""
)
# As ./dmz in a container: what it has, and an attempt on what was built.
_SEES = """
{ env; echo --; ls -A; } > "$(dirname "$TOLD")/seen"
rm -rf build; mkdir build; echo evil > build/pushed
[[ $2 == lint ]] || terraform -chdir=here version
"""
# Copies what is asked for, and describes services as Cloud Run does.
_GCLOUD = (
    _TELLS
    + """
case "$1 $2" in
  "storage cp") for last; do :; done; for file in outer inner; do echo x > "$last$file.tfvars"; done ;;
  "run services")
    [[ "$4 $5" != "inner --project=the-inner-one" || -z ${INNER:-} ]] || SERVED=$INNER
    printf '%s\\tReady\\t%s\\n' "${SERVED:-}" "${READY:-True}" ;;
esac
"""
)


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    place = tmp_path / "workspace"
    (place / "build").mkdir(parents=True)
    (place / "build/pushed").write_text(f"{IMAGE}\n")
    (place / "dmz").write_text(_TELLS)
    (place / "dmz").chmod(0o755)
    (place / "build/inner-project").write_text("the-inner-one\n")
    shutil.copytree(CHECKOUT / ".ci", place / ".ci")
    with zipfile.ZipFile(tmp_path / "terraform.zip", "w") as archive:
        archive.writestr("terraform", _TERRAFORM)
    path = programs(tmp_path / "bin", gcloud=_GCLOUD, curl=_CURL, **{"apt-get": _TELLS})
    return Worker(place, "builder", {"PATH": path, "TOLD": str(tmp_path / "told"), "SECRET": "of the worker"})


def zip_digest(worker: Worker) -> str:
    return hashlib.sha256((worker.workspace.parent / "terraform.zip").read_bytes()).hexdigest()


def told(worker: Worker) -> list[list[str]]:
    path = Path(worker.environment["TOLD"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ran(worker: Worker, name: str, **given: str) -> subprocess.CompletedProcess[str]:
    worker.substitutions = given
    return worker.run(name)


DEPLOYED = {"_DEPLOY": "true", "_DEPLOY_VARIABLES": "gs://b/vars", "_STATE_BUCKET": "my-state"}


@pytest.mark.parametrize("digest", ["0" * 64, "", "x", DOCUMENT["substitutions"]["_TERRAFORM_SHA256"]])
@pytest.mark.parametrize("name", ["deploy", "test"])
def test_another_terraform_is_not_installed(worker: Worker, name: str, digest: str) -> None:
    ended = ran(worker, name, **DEPLOYED, _TERRAFORM_SHA256=digest)
    assert ended.returncode != 0
    assert f"has the SHA-256 {zip_digest(worker)}, not {digest}: it is not installed." in ended.stderr
    assert [each for each in told(worker) if each[0] in ("deploy", "test", "storage")] == []


def test_a_deployment_is_what_dmz_deploy_takes(worker: Worker) -> None:
    (worker.workspace / "build/inner-project").unlink()
    ended = ran(worker, "deploy", **DEPLOYED, _TERRAFORM_SHA256=zip_digest(worker))
    assert ended.returncode == 0, ended.stderr
    *prepared, copied, deployed, asked = told(worker)
    assert prepared[1] == ["install", "-qq", "-y", "--no-install-recommends", "curl", "jq"]
    assert (
        prepared[2][-1] == "https://releases.hashicorp.com/terraform/1.11.4/terraform_1.11.4_linux_amd64.zip"
    )
    assert asked == ["-chdir=terraform/inner", "output", "-json"]
    assert (worker.workspace / "build/inner-project").read_text() == "the-inner-one\n"
    assert copied == ["storage", "cp", "gs://b/vars/outer.tfvars", "gs://b/vars/inner.tfvars", "build/"]
    given = cli.parser().parse_args(deployed)
    assert (given.command, given.image, given.yes, given.state_bucket) == ("deploy", IMAGE, True, "my-state")
    assert (worker.workspace / given.outer_vars).is_file()
    assert (worker.workspace / given.inner_vars).is_file()


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({}, 0, "Not deployed (_DEPLOY is false)"),
        ({"_DEPLOY": "yes"}, 0, "Not deployed (_DEPLOY is yes)"),
        ({"_DEPLOY": "true"}, 1, "STATE_BUCKET is empty"),
        ({"_DEPLOY": "true", "_STATE_BUCKET": "b"}, 1, "VARIABLES is empty"),
    ],
)
def test_nothing_is_deployed_by_a_slip(worker: Worker, given: dict[str, str], code: int, words: str) -> None:
    ended = ran(worker, "deploy", **given)
    assert ended.returncode == code
    assert words in ended.stdout + ended.stderr
    assert told(worker) == []


@pytest.mark.parametrize(
    ("served", "ready", "code"),
    [(IMAGE, "True", 0), (IMAGE, "False", 1), (IMAGE[:-1] + "2", "True", 1), ("", "True", 1)],
)
def test_what_cloud_run_serves_is_compared(worker: Worker, served: str, ready: str, code: int) -> None:
    worker.environment = {**worker.environment, "SERVED": served, "READY": ready}
    ended = ran(worker, "smoke", _DEPLOY="true")
    assert ended.returncode == code, ended.stderr
    asked = [each[3] for each in told(worker)]
    assert asked == (["attestation", "outer", "scanner", "sync", "inner"] if code == 0 else ["attestation"])


def test_the_inner_project_is_looked_at_too(worker: Worker) -> None:
    worker.environment = {**worker.environment, "SERVED": IMAGE, "INNER": IMAGE[:-1] + "2"}
    ended = ran(worker, "smoke", _DEPLOY="true")
    assert ended.returncode == 1
    assert f"inner should serve {IMAGE}" in ended.stderr


def test_what_was_not_deployed_was_not_looked_at_and_that_is_said(worker: Worker) -> None:
    ended = ran(worker, "smoke")
    assert (ended.returncode, told(worker)) == (0, [])
    assert "Nothing was deployed (_DEPLOY is false)" in ended.stdout


def test_lint_and_tests_are_the_projects_own(worker: Worker) -> None:
    """With CI, so that nothing is skipped silently, and with Terraform; without what belongs to the worker."""
    (worker.workspace / "dmz").write_text(_TELLS + _SEES)
    seen = worker.workspace.parent / "seen"
    for name, words in (("lint", ["test", "lint"]), ("test", ["test", "tests", "-m", "not network"])):
        ended = ran(worker, name, _TESTS="not network", _TERRAFORM_SHA256=zip_digest(worker))
        assert ended.returncode == 0, ended.stderr
        assert words in told(worker)
        assert cli.parser().parse_known_args(words)[0].command == "test"
        variables, _, files = seen.read_text().partition("--\n")
        assert "CI=true" in variables.splitlines()
        assert not {"SECRET", "ROLE", "BUILDER_OUTPUT"} & {
            line.partition("=")[0] for line in variables.splitlines()
        }
        assert set(files.split()) == {".ci", "dmz"}, "the sources, not what was built"
    assert ["-chdir=here", "version"] in told(worker), "the tests have the Terraform that was downloaded"
    assert (worker.workspace / "build/pushed").read_text() == f"{IMAGE}\n"


def test_what_fails_in_the_container_fails_the_step(worker: Worker) -> None:
    (worker.workspace / "dmz").write_text("#!/bin/sh\nexit 3\n")
    for name in ("lint", "test"):
        assert ran(worker, name, _TERRAFORM_SHA256=zip_digest(worker)).returncode == 3, name


def test_lint_for_real(tmp_path: Path) -> None:
    """In a workspace whose sources are no good, so that it is over soon: the step is red, and says why."""
    place = workspace(tmp_path / "workspace")
    (place / "functions" / "wrong.py").write_text("import os\n")
    (place / "tests").mkdir()
    if (CHECKOUT / ".mypy_cache").is_dir():
        shutil.copytree(CHECKOUT / ".mypy_cache", place / ".mypy_cache")
    lint = Worker(place, "builder", {"PATH": programs(tmp_path / "bin"), "HOME": str(tmp_path)})
    ended = lint.run("lint")
    assert ended.returncode == 1
    assert "ruff check: FAILED" in ended.stdout
    assert "wrong.py" in ended.stdout
    assert "mypy: " in ended.stdout
    assert CHECKOUT not in place.parents
