"""The steps `deploy`, `smoke`, `lint` and `test`: what they call, with programs that write down what they were told."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from functions.ctl import cli
from functions.local.layout import CHECKOUT
from tests.build.worker import Worker, programs, workspace

IMAGE = "us-central1-docker.pkg.dev/dmz-test/dmz-services/services@sha256:" + "1" * 64
_TELLS = """#!/usr/bin/env bash
printf '%s\\n' "$(python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "$@")" >> "$TOLD"
"""
# Copies what is asked for, and describes services as Cloud Run does.
_GCLOUD = (
    _TELLS
    + """
case "$1 $2" in
  "storage cp") for last; do :; done; for file in outer inner; do echo x > "$last$file.tfvars"; done ;;
  "run services") printf '%s\\tReady\\t%s\\n' "${SERVED:-}" "${READY:-True}" ;;
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
    path = programs(tmp_path / "bin", gcloud=_GCLOUD, **{"apt-get": _TELLS})
    return Worker(place, "builder", {"PATH": path, "TOLD": str(tmp_path / "told")})


def told(worker: Worker) -> list[list[str]]:
    path = Path(worker.environment["TOLD"])
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def ran(worker: Worker, name: str, **given: str) -> subprocess.CompletedProcess[str]:
    worker.substitutions = given
    return worker.run(name)


def test_a_deployment_is_what_dmz_deploy_takes(worker: Worker) -> None:
    ended = ran(worker, "deploy", _DEPLOY="true", _DEPLOY_VARIABLES="gs://b/vars", _STATE_BUCKET="my-state")
    assert ended.returncode == 0, ended.stderr
    copied, deployed = told(worker)
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
    assert asked == (["attestation", "outer", "scanner", "sync"] if code == 0 else ["attestation"])


def test_lint_and_tests_are_the_projects_own(worker: Worker) -> None:
    assert ran(worker, "lint").returncode == 0
    assert ran(worker, "test", _TESTS="not network").returncode == 0
    *_, tests = told(worker)
    assert told(worker)[0] == ["test", "lint"]
    assert tests == ["test", "tests", "-m", "not network"]
    for words in (["test", "lint"], tests):
        assert cli.parser().parse_known_args(words)[0].command == "test"


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
