"""The bill on paper follows from what a run really asks for, and its sums and quotas are right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import paper
from tests.benchmarks.paper import Load, Speed
from tests.benchmarks.tally import counted

LARGE, SPEED = Load(10_000, 28e9), Speed(0.02, 100e6)


def test_coefficients_are_what_a_run_asks_for(tmp_path: Path) -> None:
    files = 100
    found = counted(files, tmp_path, shard_bytes=48 << 20)
    shards = found.pop("shards")
    assert shards > 5
    for name, count in found.items():
        each = paper.PER[name]
        assert each.run + each.shard * shards + each.file * files == pytest.approx(count, rel=0.15), name


@pytest.mark.parametrize(
    ("load", "shards"),
    [(Load(1, 10), 1), (Load(101, 10), 2), (Load(10_000, 10), 100), (Load(3, 65 << 20), 2), (LARGE, 418)],
)
def test_shards_are_cut_by_bytes_and_by_files(load: Load, shards: int) -> None:
    assert load.shards == shards


def test_the_bill_is_the_sum_of_its_lines() -> None:
    lines = {f"{line.service} {line.what}": line for line in paper.bill(LARGE, SPEED)}
    seconds = 10_000 * 0.02 + 280
    assert lines["Cloud Run processors"].dollars == pytest.approx(2 * seconds * 0.000024)
    assert lines["Cloud Run memory"].dollars == pytest.approx(4 * seconds * 0.0000025)
    assert lines["Artifact Registry stored"].dollars == pytest.approx(2.80)
    once, monthly = paper.once(list(lines.values())), paper.monthly(list(lines.values()))
    assert once + monthly == pytest.approx(sum(line.dollars for line in lines.values()))
    assert f"${monthly:.2f} a month" in paper.bill_table(LARGE, SPEED).splitlines()[-1]


def test_uploads_meet_the_first_quota() -> None:
    first, *others = paper.quotas(LARGE)
    assert first.what.startswith("Artifact Registry: write requests")
    assert first.seconds == pytest.approx(60 * 10_000 / 18_000)
    assert all(each.seconds < first.seconds for each in others)
    assert paper.least_seconds(LARGE, SPEED) == first.seconds
    assert paper.crowd(LARGE, SPEED) == pytest.approx(480 / first.seconds)
    assert paper.counter_rate(LARGE, SPEED) == pytest.approx(418 / first.seconds)


def test_few_files_are_held_up_by_no_quota() -> None:
    few = Load(10, 60e9)
    assert paper.least_seconds(few, SPEED) == pytest.approx(SPEED.seconds(few) / paper.INSTANCES)
