"""What the run's document says of a slice, and that it fits however large the slice is."""

from __future__ import annotations

import json

import pytest

from functions.inner import decide
from shared import worker_summary
from shared.events import InnerInstallCompleted
from shared.ports.store import Document, Put


def worst(number: int, items: int = 200) -> Document:
    names = [f"pip /opt/{'x' * 120} package-{number}-{n} 1.0 sha256:{'0' * 64}" for n in range(items)]
    return {
        "installed": 20_000,
        "missing": names,
        "unexpected": names,
        "egress": "denied",
        "egress_probes": [{"probe": "tcp", "target": "a", "open": False, "outcome": "b" * 100}] * 20,
        "smoke": {"exit_code": number % 2, "seconds": float(number), "tail": "ü" * 16_384},
        "seconds": {"apt": float(number)},
    }


@pytest.mark.parametrize("hosts", [2, 64, 1536])
def test_the_largest_slice_fits_a_document(hosts: int) -> None:
    fields = worker_summary.summary({number: worst(number) for number in range(hosts)}, hosts)
    assert len(json.dumps(fields, ensure_ascii=False).encode()) < 800_000
    assert len(fields["workers"]) == hosts
    assert fields["missing"]
    assert all(each["smoke"]["exit_code"] == int(n) % 2 for n, each in fields["workers"].items())
    assert (fields["smoke"]["exit_code"], fields["smoke"]["seconds"]) == (1, 1.0)
    assert fields["seconds"] == {"apt": float(hosts - 1)}


def steps(number: int) -> dict[str, float]:
    """As many as a report may hold, of other names from every worker."""
    return {f"{number}-{step}".ljust(60): 1.0e300 for step in range(100)}


def hostile() -> InnerInstallCompleted:
    """As much as a report may hold, in characters of four bytes."""
    wide = chr(0x1F600)
    probe = {"probe": wide * 100, "target": wide * 200, "open": True, "outcome": wide * 500}
    report = {
        "run_id": "run-0123456789ab",
        "report_token": "t" * 128,
        "state": "installed",
        "tail": wide * 16_384,
        "seconds": steps(0),
        "installed": None,
        "smoke": {"exit_code": -255, "seconds": 1.0e300, "tail": wide * 16_384},
        "egress": "open",
        "egress_probes": [probe] * 200,
    }
    return InnerInstallCompleted.check(report, "The report")


@pytest.mark.parametrize("hosts", [1, 2, 64, 1536])
def test_what_hostile_workers_report_fits_every_document(hosts: int) -> None:
    names = tuple(f"url https://{chr(0x1F600) * 500}.test/{n}" for n in range(2000))
    one = decide.result(decide.Comparison(2**53, names, names), hostile())
    results = {n: one | {"found": one["found"] | {"seconds": steps(n)}} for n in range(hosts)}
    assert len(json.dumps(one, ensure_ascii=False).encode()) < 800_000
    assert one["reason"]
    (put,) = decide.learned("run-0123456789ab", results, hosts, "")
    assert isinstance(put, Put)
    assert len(json.dumps(put.fields, ensure_ascii=False).encode()) < 800_000
    inner = put.fields["inner"]
    assert (inner["egress"], inner["smoke"]["exit_code"], len(inner["seconds"])) == ("open", -255, 100)
    assert inner["egress_probes"]
    assert inner["missing"]


def test_a_slice_that_works_says_so_of_each_and_shows_the_slowest_smoke_test() -> None:
    found = {
        n: worst(n, 0) | {"smoke": {"exit_code": 0, "seconds": 5.0 - n, "tail": f"{n}"}} for n in range(3)
    }
    fields = worker_summary.summary(found, 3)
    assert fields["smoke"] == {"exit_code": 0, "seconds": 5.0, "tail": "0"}
    assert [each["smoke"]["tail"] for each in fields["workers"].values()] == ["0", "1", "2"]
    found[1]["egress"] = "open"
    assert worker_summary.summary(found, 3)["egress"] == "open"
    found[2]["smoke"] = None
    assert worker_summary.summary(found, 3)["smoke"] is None
