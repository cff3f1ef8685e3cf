"""What the run's document says of a slice, and that it fits however large the slice is."""

from __future__ import annotations

import json

import pytest

from shared import worker_summary
from shared.ports import Document


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
    assert len(json.dumps(fields, ensure_ascii=False).encode()) < 900_000
    assert len(fields["workers"]) == hosts
    assert fields["missing"]
    assert all(each["smoke"]["exit_code"] == int(n) % 2 for n, each in fields["workers"].items())
    assert (fields["smoke"]["exit_code"], fields["smoke"]["seconds"]) == (1, 1.0)
    assert fields["seconds"] == {"apt": float(hosts - 1)}


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
