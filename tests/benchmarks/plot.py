"""A drawing of what sync costs against the number of artifacts: seconds and memory as measured, dollars as on paper.

python -m tests.benchmarks.plot [FILE]    draws docs/measurements/mirror.json into docs/drawings/mirror.svg, or FILE
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import figures, paper
from tests.docs import svg

DRAWING = Path(__file__).parents[2] / "docs" / "drawings" / "mirror.svg"
_WIDTH, _HEIGHT, _PLOT = 1000, 400, 232
_TOP, _BOTTOM, _LEFT, _STEP = 70, 330, 70, 316
_STYLE = """\
.first,.second,.third{fill:none;stroke-width:2}.first{stroke:#1f4e8c}.second{stroke:#2f7d4a}.third{stroke:#b3423a}
.first-dot{fill:#1f4e8c}.second-dot{fill:#2f7d4a}.third-dot{fill:#b3423a}
@media (prefers-color-scheme:dark){
.first{stroke:#79b1ff}.second{stroke:#5cb87c}.third{stroke:#e5807a}
.first-dot{fill:#79b1ff}.second-dot{fill:#5cb87c}.third-dot{fill:#e5807a}
}
"""
_KINDS = ("first", "second", "third")


@dataclass(frozen=True)
class Curve:
    name: str
    points: tuple[tuple[float, float], ...]
    """(artifacts, value), by artifacts."""
    dots: bool = True
    """Measured, not computed."""


@dataclass(frozen=True)
class Panel:
    title: str
    curves: tuple[Curve, ...]
    logarithmic: bool
    label: Callable[[float], str]


def panels(measured: Sequence[Mapping[str, Any]], speed: paper.Speed) -> tuple[Panel, ...]:
    """Three: seconds and MiB of what was measured, dollars of the same sizes."""

    def taken(name: str, field: str) -> Curve:
        return Curve(name, tuple((one["artifacts"], one[field]) for one in measured))

    apart = all(field in one for one in measured for field in figures.PHASES.values())
    phases = figures.PHASES if apart else {"all": "peak_mib"}
    sizes = _sizes(measured)
    bills = [(size, paper.bill(paper.Load(size, size * paper.MEAN_BYTES), speed)) for size in sizes]
    return (
        Panel(
            "seconds", (taken("first time", "first_s"), taken("again", "again_s")), True, lambda v: f"{v:g} s"
        ),
        Panel(
            "memory of a worker",
            tuple(taken(name, field) for name, field in phases.items()),
            False,
            lambda v: f"{v:g} MiB",
        ),
        Panel(
            "dollars, list price",
            (
                Curve("a run", tuple((size, paper.once(lines)) for size, lines in bills), dots=False),
                Curve(
                    "a month kept", tuple((size, paper.monthly(lines)) for size, lines in bills), dots=False
                ),
            ),
            True,
            lambda v: f"${v:g}",
        ),
    )


def _sizes(measured: Sequence[Mapping[str, Any]]) -> list[int]:
    """Enough for a smooth curve, from the smallest to the largest."""
    low, high = (math.log10(measured[at]["artifacts"]) for at in (0, -1))
    return [round(10 ** (low + (high - low) * step / 24)) for step in range(25)]


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float
    logarithmic: bool

    def share(self, value: float) -> float:
        """From 0 to 1."""
        if not self.logarithmic:
            return (value - self.low) / (self.high - self.low)
        return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))

    @property
    def ticks(self) -> list[float]:
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            return [10.0**power for power in range(first, last + 1)]
        return [self.high * part / 4 for part in range(5)]


def _upwards(panel: Panel) -> _Scale:
    values = [value for curve in panel.curves for _, value in curve.points]
    if panel.logarithmic:
        least, most = (math.log10(max(each, 1e-6)) for each in (min(values), max(values)))
        return _Scale(10.0 ** math.floor(least), 10.0 ** max(math.ceil(most), math.floor(least) + 1), True)
    step = 10.0 ** math.floor(math.log10(max(values)))
    return _Scale(0, math.ceil(max(values) / step) * step, False)


def drawing(measured: Sequence[Mapping[str, Any]], speed: paper.Speed) -> str:
    """The SVG. ValueError unless at least two sizes were measured."""
    if len(measured) < 2:
        raise ValueError("A curve needs two sizes: run tests.benchmarks.bench_mirror with more.")
    across = _Scale(measured[0]["artifacts"], measured[-1]["artifacts"], True)
    parts = [svg.text(16, 28, "Sync against the number of artifacts", size=16, anchor="start", bold=True)]
    for number, panel in enumerate(panels(measured, speed)):
        parts += _panel(
            panel, _LEFT + number * _STEP, across, _apart([one["artifacts"] for one in measured], across)
        )
    parts.append(
        svg.text(
            16,
            _HEIGHT - 12,
            "Dots: measured with small files, on two processors. Dollars: on paper, files of MaxText's mean size.",
            kind="faint",
            anchor="start",
        )
    )
    description = (
        f"Three panels against {measured[0]['artifacts']:,} to {measured[-1]['artifacts']:,} artifacts: seconds of a "
        "first and of a second run, memory of the processes, and dollars at list price for a run and for a month."
    )
    return svg.document(_WIDTH, _HEIGHT, "What sync costs", description, parts, style=_STYLE)


def _apart(sizes: Sequence[float], across: _Scale) -> list[float]:
    """Those whose labels do not touch."""
    found: list[float] = []
    for size in sizes:
        if not found or across.share(size) - across.share(found[-1]) > 0.16:
            found.append(size)
    return found


def _panel(panel: Panel, left: float, across: _Scale, sizes: Sequence[float]) -> Iterator[str]:
    up = _upwards(panel)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x = left + _PLOT * across.share(point[0])
        return round(x, 1), round(_BOTTOM - (_BOTTOM - _TOP) * up.share(point[1]), 1)

    yield svg.text(left, _TOP - 16, panel.title, anchor="start", bold=True)
    for tick in up.ticks:
        _, y = place((across.low, tick))
        yield svg.line(left, y, left + _PLOT, y, "lane")
        yield svg.text(left - 6, y + 4, panel.label(tick), kind="faint", anchor="end")
    for tick in sizes:
        x, _ = place((tick, up.high))
        yield svg.line(x, _TOP, x, _BOTTOM, "lane")
        yield svg.text(x, _BOTTOM + 18, f"{tick:,.0f}", kind="faint")
    for number, (curve, kind) in enumerate(zip(panel.curves, _KINDS, strict=False)):
        points = [place(point) for point in curve.points]
        yield svg.path("M" + " L".join(f"{x:g} {y:g}" for x, y in points), kind)
        if curve.dots:
            yield from (f'<circle class="{kind}-dot" cx="{x:g}" cy="{y:g}" r="4"/>' for x, y in points)
        at = left + number * 82
        yield svg.line(at, _BOTTOM + 34, at + 14, _BOTTOM + 34, kind)
        yield svg.text(at + 18, _BOTTOM + 38, curve.name, anchor="start")


def drawn() -> str:
    """The drawing of what docs/measurements holds."""
    return drawing(figures.mirror(), figures.speed())


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else DRAWING).write_text(drawn())
