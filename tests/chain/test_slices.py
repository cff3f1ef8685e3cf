"""A real run on a slice of two hosts: each installs the same lock, and the run has one result."""

from __future__ import annotations

from typing import Any

import pytest

from shared.machines import vm_name
from tests.chain.system import System, eventually

TWO_HOSTS = "v5p-16"
SMOKE = """\
/opt/work/bin/python -c 'import depot; assert depot.rate == 11'
echo "worker $DMZ_WORKER of $DMZ_WORKERS"
"""


@pytest.fixture(scope="module")
def ran(system: System, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What `./dmz run` said, and its report."""
    directory = tmp_path_factory.mktemp("slice")
    done, report = system.run(directory, accelerator_type=TWO_HOSTS, smoke=SMOKE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, report


def _handled(system: System, stage: str) -> list[str]:
    return [key for key in system.claims(stage, done=True) if f":{stage}-install-completed:" in key]


def test_both_hosts_hold_the_lock_and_work(ran: tuple[str, dict[str, Any]]) -> None:
    said, report = ran
    inner = report["inner"]
    assert (report["state"], inner["missing"], inner["unexpected"], inner["egress"]) == (
        "completed",
        [],
        [],
        "denied",
    )
    workers = inner["workers"]
    assert {number: each["smoke"]["tail"] for number, each in workers.items()} == {
        "0": "worker 0 of 2",
        "1": "worker 1 of 2",
    }
    assert {each["installed"] for each in workers.values()} == {inner["installed"]}
    assert f"2 workers, {inner['installed']} packages each, 0 missing, 0 unexpected, egress denied" in said


def test_each_reported_once_and_the_run_ended_once(ran: tuple[str, dict[str, Any]], system: System) -> None:
    _, report = ran
    run_id = report["run_id"]
    name = vm_name("inner", run_id)
    documents = system.connection.documents
    results = dict(documents.find("workers", "vm", name))
    assert {key: fields["reason"] for key, fields in results.items()} == {f"{name}-0": "", f"{name}-1": ""}
    assert system.get("slices", name)["reported"] == 2
    assert system.get("endings", run_id)["state"] == "completed"
    # Of two deliveries that both see the last result one closes; the other one is done when it comes again.
    eventually(lambda: len(_handled(system, "inner")) == 2, "the end of both deliveries")
    assert len(_handled(system, "outer")) == 1, "the second host of the outer slice has nothing to report"
    created = system.creations()
    assert (created[vm_name("outer", run_id)], created[name]) == (1, 1)


def test_a_host_that_does_not_work_ends_the_run_and_is_named(system: System) -> None:
    run_id = system.request("one-of-two-is-bad", accelerator_type=TWO_HOSTS, smoke='test "$DMZ_WORKER" = 0')
    run = system.ended(run_id)
    assert (run["state"], run["stage"]) == ("failed", "inner")
    assert run["reason"].startswith("Worker 1 (of 0 to 1): The smoke command failed on the inner VM (1)")
    assert run["inner"]["workers"]["1"]["smoke"]["exit_code"] == 1
    eventually(lambda: not any(name.endswith(run_id[4:]) for name in system.vms()), "the VMs' end")
