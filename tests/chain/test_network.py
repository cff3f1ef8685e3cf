"""The real thing: quickstart from PyPI, Debian and OSV.dev, and a user's own workload.

`-m 'not network'` leaves it out.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.local import leftovers
from functions.local.layout import CHECKOUT, layout
from tests.chain.system import environment_of, workload
from tests.support import built

MINE = built.wheel(
    "mine", "0.1", ("humanize",), text="\nimport humanize\nsize = humanize.naturalsize(3_000_000)"
)
OWN: dict[str, Any] = {
    "name": "mine",
    "apt": ["tree"],
    "constraints": [],
    "install": "python3 -m venv /opt/mine\n/opt/mine/bin/pip install --progress-bar off mine\n",
    "smoke": "tree --version\n/opt/mine/bin/python -c 'import mine; print(mine.size)'",
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment_of(tmp_path_factory.mktemp("real") / "state", None)


def dmz(environment: dict[str, str], *words: str | os.PathLike[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CHECKOUT / "dmz", *words], env=environment, capture_output=True, text=True, timeout=800
    )


@pytest.fixture(scope="module")
def up(environment: dict[str, str]) -> Iterator[None]:
    """`./dmz up`, and `./dmz down` at the end."""
    done = dmz(environment, "up")
    assert done.returncode == 0, done.stderr
    yield
    assert dmz(environment, "down").returncode == 0
    assert leftovers.processes(layout(environment).home) == []


def ran(environment: dict[str, str], directory: Path, which: str) -> dict[str, Any]:
    report = directory / "report.json"
    done = dmz(environment, "run", which, "--report", report)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(report.read_text())
    assert (found["state"], found["reason"]) == ("completed", "")
    inner = found["inner"]
    assert (inner["missing"], inner["unexpected"], inner["egress"]) == ([], [], "denied")
    assert inner["installed"] == sum(found["manifest"]["packages"].values())
    assert inner["smoke"]["exit_code"] == 0
    return found


@pytest.mark.network
@pytest.mark.usefixtures("up")
def test_quickstart_refuses_what_is_flawed_and_works_without_it(
    environment: dict[str, str], tmp_path: Path
) -> None:
    found = ran(environment, tmp_path, "quickstart")
    refused = {one["purl"]: one for one in found["refused"]}
    jinja2 = refused["pkg:pypi/jinja2@3.1.4"]
    assert jinja2["advisories"]
    replacement = jinja2["replacement"].removeprefix("pkg:pypi/jinja2@")
    assert tuple(map(int, replacement.split("."))) > (3, 1, 4)
    assert f"jinja2 {replacement}" in found["inner"]["smoke"]["tail"]
    assert found["mirrored"]["artifacts"] > 5
    assert found["mirrored"]["bytes"] > 1_000_000


@pytest.mark.network
@pytest.mark.usefixtures("up")
def test_a_workload_of_ones_own_with_a_wheel_of_ones_own(environment: dict[str, str], tmp_path: Path) -> None:
    found = ran(environment, tmp_path, own_workload(tmp_path, MINE.sha256))
    assert found["workload"] == "mine"
    assert found["inner"]["smoke"]["tail"].endswith("\n3.0 MB")


def own_workload(directory: Path, sha256: str) -> str:
    (directory / MINE.filename).write_bytes(MINE.content)
    path = directory / "mine.yaml"
    path.write_text(yaml.safe_dump(workload(**OWN, wheels=[{"path": MINE.filename, "sha256": sha256}])))
    return os.fspath(path)


@pytest.mark.parametrize("wrong", ["hash", "missing", "workload"])
def test_bad_input_is_one_sentence_and_exit_code_2(
    environment: dict[str, str], tmp_path: Path, wrong: str
) -> None:
    path = own_workload(tmp_path, "sha256:" + "0" * 64 if wrong == "hash" else MINE.sha256)
    if wrong == "missing":
        (tmp_path / MINE.filename).unlink()
    if wrong == "workload":
        path = os.fspath(tmp_path / "nothing.yaml")
    done = dmz(environment, "run", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("dmz: ")
    assert done.stderr.count("\n") == 1
    said = {
        "hash": f"has {MINE.sha256}; the workload says sha256:000",
        "missing": "cannot be read: No such file or directory",
        "workload": "nothing.yaml cannot be read",
    }
    assert said[wrong] in done.stderr
