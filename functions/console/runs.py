"""The list of runs, the newest first, and what a glance over them says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import quote

from functions.console import words
from functions.console.ahead import ahead
from functions.console.asked import Asked, cursor
from functions.console.chain import ENDED, STAGES
from functions.console.charts import Bar, Chart, chart
from functions.console.packages import Shelf
from functions.console.words import number, part
from shared.readings import Readings

AT_ONCE = 25
"""Runs of one page."""
_FIELDS = (
    "state",
    "stage",
    "workload",
    "requested",
    "ended",
    "reason",
    "stages",
    "packages",
    "mirrored",
    "advisories",
    "judged",
)
VERDICTS = (("allow", "allowed"), ("hold", "held"), ("block", "blocked"))


@dataclass(frozen=True)
class Line:
    """One run of the list."""

    id: str
    workload: str
    state: str
    stage: str
    requested: float | None
    age: float | None
    seconds: float | None
    done: Mapping[str, float]
    """Seconds by stage, of those that have ended: one that goes on would dwarf all others."""
    packages: int | None
    verdicts: Mapping[str, int]
    bytes: float | None
    reason: str
    data_age: float | None
    """Seconds by which the advisory data was older than the run."""


def page(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    counts = {
        state: ahead(partial(readings.count, "runs", {"state": state}))
        for state in ("running", "completed", "failed")
    }
    alarms = ahead(lambda: readings.count("alarms", {"open": True}))
    found = readings.latest("runs", "requested", AT_ONCE + 1, asked.after(), only=_FIELDS)
    shown, more = found[:AT_ONCE], len(found) > AT_ONCE
    lines = [line(id, run, asked.now) for id, run in shown]
    older = cursor(shown[-1][1]["requested"], shown[-1][0]) if more else ""
    return {
        "lines": lines,
        "older": older,
        "first": asked.after() is None,
        "charts": charts(lines) if len(lines) > 1 else (),
        "counts": {state: count() for state, count in counts.items()},
        "alarms": alarms(),
        "data": next((each for each in lines if each.data_age is not None), None),
    }


def line(id: str, run: Mapping[str, Any], now: float) -> Line:
    requested = number(run.get("requested"))
    over = str(run.get("state")) in ENDED
    end = number(run.get("ended")) if over else now
    counts = part(run, "packages")
    data = words.unix(part(run, "advisories").get("date"))
    return Line(
        id=id,
        workload=str(run.get("workload", "")),
        state=str(run.get("state", "")),
        stage=str(run.get("stage", "")),
        requested=requested,
        age=now - requested if requested is not None else None,
        seconds=end - requested if end is not None and requested is not None else None,
        done={
            name: seconds
            for name in STAGES
            if (seconds := _seconds(run, name, end if over else None)) is not None
        },
        packages=sum(int(number(count) or 0) for count in counts.values()) if counts else None,
        verdicts={name: int(number(count) or 0) for name, count in part(run, "judged").items()},
        bytes=number(part(run, "mirrored").get("bytes")),
        reason=str(run.get("reason", "")),
        data_age=requested - data if requested is not None and data is not None else None,
    )


def _seconds(run: Mapping[str, Any], stage: str, end: float | None) -> float | None:
    times = part(part(run, "stages"), stage)
    started, ended = number(times.get("started")), number(times.get("ended"))
    last = end if ended is None else ended
    return None if started is None or last is None else max(0.0, last - started)


def charts(lines: Sequence[Line]) -> tuple[Chart, ...]:
    """Over the runs of this page, the newest at the right."""
    ordered = list(reversed(lines))

    def bar(each: Line, said: str, values: Sequence[float]) -> Bar:
        return Bar(
            f"{each.workload}, {words.moment(each.requested)}: {said}",
            f"/runs/{quote(each.id, safe='')}",
            values,
        )

    times = [
        bar(each, words.duration(sum(each.done.values())), [each.done.get(name, 0.0) for name in STAGES])
        for each in ordered
    ]
    judged = [
        bar(
            each,
            ", ".join(f"{each.verdicts.get(kind, 0)} {name}" for kind, name in VERDICTS),
            [each.verdicts.get(kind, 0) for kind, _ in VERDICTS],
        )
        for each in ordered
    ]
    carried = [bar(each, words.size(each.bytes or 0), [each.bytes or 0]) for each in ordered]
    ages = [bar(each, words.age(each.data_age or 0), [(each.data_age or 0) / 86_400]) for each in ordered]
    return (
        chart(
            "Time by stage",
            "",
            [(f"s{n}", name) for n, name in enumerate(STAGES)],
            times,
            _seconds_label,
            AT_ONCE,
        ),
        chart("Packages by verdict", "", VERDICTS, judged, words.grouped, AT_ONCE),
        chart("Bytes brought in", "", [("s1", "bytes")], carried, words.size, AT_ONCE),
        chart(
            "Age of the advisory data",
            "",
            [("s3", "age when the run began")],
            ages,
            lambda days: f"{days:g} d",
            AT_ONCE,
        ),
    )


def _seconds_label(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 600 else words.age(seconds)
