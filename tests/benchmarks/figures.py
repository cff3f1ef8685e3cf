"""Measured figures, as docs/measurements keeps them, and the tables of docs/benchmarks.md that show them.

The benchmarks write the files (`--record FILE`); `python -m tests.docs.pages --write` makes the tables anew.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks import paper

MEASUREMENTS = Path(__file__).parents[2] / "docs" / "measurements"
MAXTEXT = paper.Load(239, 667_000_000)
LARGE = paper.Load(10_000, 10_000 * paper.MEAN_BYTES)


def read(name: str) -> Any:
    return json.loads((MEASUREMENTS / name).read_text())


def record(path: Path, key: str, rounds: Sequence[Mapping[str, float]], load: float) -> None:
    """Put the rounds of one benchmark into the file, beside what it holds of others."""
    there = json.loads(path.read_text()) if path.exists() else {}
    there[key] = {
        "at": datetime.now(UTC).date().isoformat(),
        "machine": _machine(),
        "load": round(load, 1),
        "rounds": [{name: round(value, 2) for name, value in each.items()} for each in rounds],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(there, indent=1, sort_keys=True) + "\n")


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = platform.freedesktop_os_release()
    name = f"{system.get('NAME', '').partition(' ')[0]} {system.get('VERSION_ID', '')}".strip()
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {name}, Python {python}"


def _when(found: Mapping[str, Any]) -> str:
    load = found["load"]
    quiet = "with nothing else running" if load < 1 else f"beside other processes (load {load:g} before)"
    return f"Measured {found['at']}, {found['machine']}, {quiet}."


def sync_table() -> str:
    """Every round of `bench_sync`."""
    found = read("sync.json")["sync"]
    rows = [
        f"| {number} | {one['sync_s']:.1f} s | {one['aria2c_s']:.1f} s | {one['curl_s']:.1f} s | "
        f"{one['sync_s'] / (one['aria2c_s'] + one['curl_s']):.2f} |"
        for number, one in enumerate(found["rounds"], 1)
    ]
    head = ("| round | sync | aria2c | curl | ratio |", "|---|---|---|---|---|")
    return "\n".join((_when(found), "", *head, *rows))


def peers_table() -> str:
    """The medians of `bench_peers`."""
    rows, said = [], []
    for peer, found in sorted(read("peers.json").items()):
        said.append(f"*{peer}*: {_when(found)}")
        rounds = found["rounds"]
        parts = ", ".join(
            f"{name.removesuffix('_s')} {_median(rounds, name):.1f} s"
            for name in rounds[0]
            if name not in ("sync_s", "peer_s", "files")
        )
        ratio = statistics.median(one["peer_s"] / one["sync_s"] for one in rounds)
        rows.append(
            f"| {peer} | {rounds[0]['files']:.0f} | {_median(rounds, 'sync_s'):.1f} s | "
            f"{_median(rounds, 'peer_s'):.1f} s | {ratio:.1f} | {parts} |"
        )
    head = ("| peer | files | sync | peer | peer over sync | its parts |", "|---|---|---|---|---|---|")
    return "\n".join((" ".join(said), "", *head, *rows))


def _median(rounds: Sequence[Mapping[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in rounds)


def mirror() -> list[dict[str, Any]]:
    """Every size of `bench_mirror`, the smallest first."""
    found = sorted(read("mirror.json"), key=lambda one: int(one["artifacts"]))
    return [dict(one) for one in found]


def mirror_table() -> str:
    """Every size of `bench_mirror`."""
    rows = [
        f"| {one['artifacts']:,} | {one['shards']} | {one['first_s']:.1f} s | "
        f"{one['artifacts'] / one['first_s']:.0f} | {one['again_s']:.1f} s | {_memory(one)} | {_aside(one)} |"
        for one in mirror()
    ]
    head = "| artifacts | shards | first | a second | again | peaks of memory | measured |"
    return "\n".join((head, "|---|---|---|---|---|---|---|", *rows))


def _aside(one: Mapping[str, Any]) -> str:
    load = f"load {one['load']:g}" if one.get("load", 0) >= 1 else ""
    return ", ".join(each for each in (one["at"][:10], load, one.get("note", "")) if each)


PHASES = {"plan": "plan_mib", "shards": "apply_mib", "close": "close_mib"}
"""What has a peak of memory of its own, where it was measured apart."""


def _memory(one: Mapping[str, Any]) -> str:
    parts = [f"{name} {one[field]:.0f}" for name, field in PHASES.items() if field in one]
    return f"{', '.join(parts) or format(one['peak_mib'], '.0f')} MiB"


def speed() -> paper.Speed:
    """Of one machine with two processors: by file from the largest mirror, by byte from what MaxText takes beyond."""
    largest = mirror()[-1]
    each = largest["first_s"] / largest["artifacts"]
    maxtext = _median(read("sync.json")["sync"]["rounds"], "sync_s")
    rest = max(maxtext - MAXTEXT.artifacts * each, 0.1 * maxtext)
    return paper.Speed(each, MAXTEXT.bytes / rest)


def bill_table() -> str:
    """Of LARGE."""
    return paper.bill_table(LARGE, speed())


def quota_table() -> str:
    """Of LARGE, and what follows from it."""
    fast = speed()
    first = paper.quotas(LARGE)[0]
    pace = paper.counter_rate(LARGE, fast)
    said = (
        f"One instance would take {fast.seconds(LARGE):,.0f} s; {paper.INSTANCES} of them, unhindered, "
        f"{fast.seconds(LARGE) / paper.INSTANCES:.0f} s, and {paper.least_seconds(LARGE, fast):.0f} s with the quotas. "
        f"From {paper.crowd(LARGE, fast):.0f} instances on the first quota bites: {first.what}.\n\n"
        "Firestore has no quota of writes a second, but "
        "[advises](https://cloud.google.com/firestore/docs/best-practices) no more than about one a second to one "
        f"document for long. The {LARGE.shards} shards count themselves in one, {pace:.0f} a second at that pace; what "
        "is refused is tried again. On the real service that has not been tried."
    )
    return f"{paper.quota_table(LARGE)}\n\n{said}"
