"""What the benchmarks of size call a failure, and what bench_mirror keeps. The limits are held by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.benchmarks import bench_mirror, bench_runs
from tests.benchmarks.bench_mirror import Measured


def _measured(artifacts: int, apply_mib: float, first_s: float = 1.0) -> Measured:
    return Measured(artifacts, 1, first_s, 0.5, 500.0, 500.0, apply_mib, 400.0, 0.1, "2026-11-22T12:00:00Z")


@pytest.mark.parametrize(
    ("small", "large", "code"),
    [
        (110.0, 140.0, 0),
        (110.0, 143.5, 1),
        (80.0, 110.0, 0),  # 30 MiB more
        (80.0, 110.5, 1),
        (200.0, 259.0, 0),  # 1.3 times
        (200.0, 261.0, 1),
    ],
)
def test_shards_whose_memory_grows_with_the_plan_fail(small: float, large: float, code: int) -> None:
    sizes = {400: small, 10_000: large, 100: 1.0}
    assert bench_mirror.main(list(sizes), None, lambda size: _measured(size, sizes[size])) == code


def test_without_the_reference_the_smallest_size_stands_for_it() -> None:
    assert bench_mirror.ended([_measured(2000, 100.0), _measured(1000, 10.0)]) == 1


def test_what_is_recorded_stands_beside_other_sizes_and_in_place_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "measurements" / "mirror.json"
    for sizes, seconds in (([400, 100], 1.0), ([2000, 100], 2.0)):
        bench_mirror.main(sizes, file, lambda size, seconds=seconds: _measured(size, 100.0, seconds))  # type: ignore[misc]
    assert json.loads(file.read_text()) == [
        asdict(_measured(100, 100.0, 2.0)),
        asdict(_measured(400, 100.0, 1.0)),
        asdict(_measured(2000, 100.0, 2.0)),
    ]


@pytest.mark.parametrize(("troubles", "code"), [([], 0), (["run-1 has had 2 outer VMs"], 1)])
def test_runs_that_do_not_add_up_fail(
    troubles: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench_runs.ended(troubles) == code
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("WRONG")] == [
        f"WRONG: {each}" for each in troubles
    ]
