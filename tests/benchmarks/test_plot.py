"""The drawing shows what was measured, and what is recorded is what the tables read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import figures, plot
from tests.benchmarks.paper import Speed

SPEED = Speed(0.02, 100e6)


def measured(artifacts: int, **more: float) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "artifacts": artifacts,
        "shards": artifacts // 100,
        "first_s": artifacts / 50,
        "again_s": 0.5,
        "plan_mib": 100,
        "apply_mib": 110,
        "close_mib": 120,
        "at": "2026-11-22T12:00:00Z",
    }
    return fields | more


def heights(drawn: str, kind: str) -> list[float]:
    """How far down the dots of a kind stand, in the order of the drawing."""
    return [float(y) for y in re.findall(rf'<circle class="{kind}-dot" cx="[0-9.]+" cy="([0-9.]+)"', drawn)]


def test_more_seconds_stand_higher_and_equal_memory_as_high() -> None:
    seconds_and_memory = heights(
        plot.drawing([measured(100), measured(1600), measured(10_000)], SPEED), "first"
    )
    seconds, memory = seconds_and_memory[:3], seconds_and_memory[3:]
    assert seconds == sorted(seconds, reverse=True)
    assert len(set(seconds)) == 3
    assert len(set(memory)) == 1


def test_another_figure_is_another_drawing() -> None:
    rows = [measured(100), measured(1600)]
    assert plot.drawing(rows, SPEED) == plot.drawing(rows, SPEED)
    assert plot.drawing(rows, SPEED) != plot.drawing([rows[0], measured(1600, first_s=33)], SPEED)
    assert plot.drawing(rows, SPEED) != plot.drawing(rows, Speed(0.04, 100e6))


def test_one_size_makes_no_curve() -> None:
    with pytest.raises(ValueError, match="two sizes"):
        plot.drawing([measured(100)], SPEED)


def test_what_a_benchmark_records_is_what_its_table_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "MEASUREMENTS", tmp_path)
    figures.record(tmp_path / "sync.json", "sync", [{"sync_s": 9, "aria2c_s": 4, "curl_s": 2}], 0.2)
    assert "| 1 | 9.0 s | 4.0 s | 2.0 s | 1.50 |" in figures.sync_table()
    assert "with nothing else running" in figures.sync_table()
    scripts = {"files": 239, "sync_s": 10, "peer_s": 117, "pip_s": 43, "twine_s": 74}
    figures.record(tmp_path / "peers.json", "scripts", [scripts], 7.3)
    figures.record(tmp_path / "peers.json", "bandersnatch", [{"files": 239, "sync_s": 2, "peer_s": 3}], 0.1)
    table = figures.peers_table()
    assert "| scripts | 239 | 10.0 s | 117.0 s | 11.7 | pip 43.0 s, twine 74.0 s |" in table
    assert "| bandersnatch | 239 | 2.0 s | 3.0 s | 1.5 |" in table
    assert "load 7.3" in table
    (tmp_path / "mirror.json").write_text(json.dumps([measured(1600), measured(100)]))
    assert "| 1,600 | 16 | 32.0 s | 50 | 0.5 s |" in figures.mirror_table().splitlines()[-1]
    assert figures.speed().file_seconds == pytest.approx(1 / 50)
