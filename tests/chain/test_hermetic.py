"""The whole chain on the real emulators, in a package world of the test's own: no request leaves the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions.local.layout import CHECKOUT
from shared.events import SUBSCRIBERS
from shared.machines import vm_name
from shared.model.value import sha256
from tests.chain import world as goods
from tests.chain.system import PATIENCE, System, eventually, wanted, workload
from tests.chain.world import World

BLOCKED, FIXED = "pkg:pypi/courier@1.0", "pkg:pypi/courier@1.1"


@pytest.fixture(scope="module")
def ran(system: System, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of `./dmz run` of a workload with everything in it, a wheel of the user's own beside the file."""
    directory = tmp_path_factory.mktemp("workload of a user")
    (directory / goods.OWN.filename).write_bytes(goods.OWN.content)
    own = {"path": goods.OWN.filename, "sha256": goods.OWN.sha256}
    done, report = system.run(
        directory, install=goods.EVERYTHING, smoke=goods.SMOKE, wheels=[own], after="keep"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if BLOCKED in line]
    assert "GHSA-courier" in line
    assert FIXED in line
    told = done.stdout.splitlines()
    assert [line for line in told if line.startswith("cost: on Google Cloud at most ")], done.stdout
    assert [line for line in told if line.startswith("  cost        on Google Cloud at most 0.")], done.stdout
    assert [line for line in told if line.startswith("  seal        sealed by the VM's own network")], (
        done.stdout
    )
    found: dict[str, Any] = report
    return found


def test_nothing_left_the_machine(ran: dict[str, Any], world: World) -> None:
    assert ran["state"] == "completed"
    assert world.proxy.refused == []
    assert world.proxy.passed == 1  # the file by URL, fetched again by the stage


def test_the_report_has_its_form_and_nothing_else(ran: dict[str, Any]) -> None:
    assert list(ran) == [
        *("run_id", "workload", "platform", "advisories", "state", "reason", "seconds", "stages", "manifest"),
        *("verdicts", "refused", "changes", "waivers", "mirrored", "inner", "attestation"),
    ]
    assert (ran["workload"], ran["platform"], ran["state"], ran["reason"]) == (
        "work",
        "emulators (SDK)",
        "completed",
        "",
    )
    assert list(ran["stages"]) == ["platform", "outer", "scanner", "sync", "inner", "attestation"]
    # This workload names no data service.
    assert (ran["attestation"], ran["stages"].pop("attestation")) == (None, None)
    assert all(seconds >= 0 for seconds in ran["stages"].values())
    assert ran["manifest"]["digest"].startswith("sha256:")
    packages = ran["manifest"]["packages"]
    assert (packages["pypi"], packages["generic"]) == (4, 1)
    total = sum(packages.values())
    assert ran["verdicts"] == {"allow": total - 1, "hold": 0, "block": 1}
    assert ran["refused"] == [{"purl": BLOCKED, "advisories": ["GHSA-courier"], "replacement": FIXED}]
    sizes = [len(deb.built.content) for deb in (goods.LIBRARY, goods.PROGRAM)] + [len(goods.CONTENT)]
    wheels = (goods.COURIER_1_1, goods.DEPOT, goods.SMALLBUILD, goods.CRATE, goods.OWN)
    sizes += [len(file.content) for file in wheels]
    assert ran["mirrored"] == {"artifacts": 8, "bytes": sum(sizes)}
    inner = ran["inner"]
    assert (inner["missing"], inner["unexpected"], inner["egress"]) == ([], [], "denied")
    assert inner["installed"] == total
    assert inner["smoke"]["exit_code"] == 0
    assert inner["smoke"]["tail"] == "rate 11 crate 3.0"


def test_the_lock_names_every_byte(ran: dict[str, Any], system: System, world: World) -> None:
    run = system.get("runs", ran["run_id"])
    lock = system.lock(run)
    (environment,) = lock.environments
    assert environment.path == "/opt/work"
    found = {file.filename: (file.version, file.sha256) for file in environment.packages}
    assert found == {
        goods.COURIER_1_1.filename: ("1.1", goods.COURIER_1_1.sha256),
        goods.DEPOT.filename: ("1.0", goods.DEPOT.sha256),
        goods.CRATE.filename: ("3.0", goods.CRATE.sha256),
        goods.OWN.filename: ("0.1", goods.OWN.sha256),
    }
    (crate,) = [file for file in environment.packages if file.name == "crate"]
    assert [(file.filename, file.sha256) for file in crate.build] == [
        (goods.SMALLBUILD.filename, goods.SMALLBUILD.sha256)
    ]
    assert {(a.name, a.version, a.sha256, a.suite) for a in lock.debian} == {
        (deb.name, deb.version, deb.built.sha256, "trixie") for deb in (goods.LIBRARY, goods.PROGRAM)
    }
    assert [(file.url, file.sha256, file.size) for file in lock.generic] == [
        (goods.URL, sha256(goods.CONTENT), len(goods.CONTENT))
    ]
    (change,) = lock.changes
    assert (change.before.purl, change.after.purl, change.advisories) == (BLOCKED, FIXED, ("GHSA-courier",))
    assert change.required_by == ("depot",)
    assert lock.manifest == ran["manifest"]["digest"]


def test_the_repositories_hold_what_the_lock_names_and_nothing_else(
    ran: dict[str, Any], system: System
) -> None:
    run = system.get("runs", ran["run_id"])
    assert system.stored() == wanted(system.lock(run), run)


def test_the_documents_tell_the_same_story(ran: dict[str, Any], system: System) -> None:
    run_id = ran["run_id"]
    run = system.get("runs", run_id)
    assert (run["state"], run["stage"], run["after"]) == ("completed", "inner", "keep")
    assert run["packages"] == ran["manifest"]["packages"]
    assert run["mirrored"] == ran["mirrored"]
    assert run["planned"] == 8
    assert all({"started", "ended"} <= set(times) for times in run["stages"].values())
    assert system.get("endings", run_id)["state"] == "completed"
    verdicts = dict(system.connection.documents.find("verdicts", "run_id", run_id))
    decisions = {fields["purl"]: fields["decision"] for fields in verdicts.values()}
    assert decisions[BLOCKED] == "block"
    assert decisions[FIXED] == "allow"
    assert [purl for purl, decision in decisions.items() if decision != "allow"] == [BLOCKED]
    for kind, state in (("outer", "ended"), ("inner", "reported")):
        record = system.get("vms", vm_name(kind, run_id))
        assert (record["kind"], record["state"], record["run_id"]) == (kind, state, run_id)
        assert record["ended"] > record["asked"]
        assert run["cost"]["vms"][kind]["at_most"].endswith(" USD")
    assert run["inner"]["enter"] == f"./dmz enter {vm_name('inner', run_id)}"
    claims = {stage: system.claims(stage, done=True) for stage in SUBSCRIBERS}
    numbers = {"outer": 2, "scanner": 1, "sync": 2, "inner": 2, "attestation": 0}
    assert {stage: len(each) for stage, each in claims.items()} == numbers
    assert {fields["attempt"] for each in claims.values() for fields in each.values()} == {1}


def test_the_outer_vm_is_gone_and_the_inner_one_is_kept(ran: dict[str, Any], system: System) -> None:
    """`./dmz run` without --keep deletes the VM that the run itself would keep."""
    outer, inner = vm_name("outer", ran["run_id"]), vm_name("inner", ran["run_id"])
    assert system.creations() == {outer: 1, inner: 1}
    eventually(lambda: system.vms() == {}, "the VMs' end")


def gcloud(system: System, directory: Path, body: str) -> None:
    """The line of events/README.md, by the real gcloud."""
    if not shutil.which("gcloud"):
        pytest.fail("There is no gcloud here, and this test starts a run with it: install google-cloud-cli.")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CLOUDSDK_")}
    done = subprocess.run(
        ["gcloud", "pubsub", "topics", "publish", "run-requested", f"--message={body}"],
        env=environment | system.up.gcloud | {"CLOUDSDK_CORE_DISABLE_PROMPTS": "true"},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr


def test_gcloud_starts_a_run_and_once_more_another(
    ran: dict[str, Any], system: System, world: World, tmp_path: Path
) -> None:
    """The example in events/ as it stands: a run begins, whose packages this world does not have."""
    example = (CHECKOUT / "events/examples/run-requested.json").read_text()
    gcloud(system, tmp_path, example)
    gcloud(system, tmp_path, example)
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(workload(after="keep")))

    def begun() -> list[str]:
        found = [
            run_id
            for state in ("running", "failed")
            for run_id, run in system.connection.documents.find("runs", "state", state)
            if run["workload"] == "quickstart"
        ]
        return found if len(set(found)) >= 2 else []

    first, second = sorted(set(eventually(begun)))
    for run_id in (first, second):
        run = system.ended(run_id)
        assert (run["state"], run["stage"]) == ("failed", "outer")
        assert "Unable to locate package jq" in run["tail"]
    assert system.creations()[vm_name("outer", first)] == 1
    assert system.creations()[vm_name("outer", second)] == 1
    eventually(lambda: system.vms() == {}, "the VMs' end")
    assert world.proxy.refused == []
