"""What the run's document says of a slice: one result for all workers, and each worker's own below it. Pure.

The fields of a single host stand there for the whole: what any worker lacks or has too much, whether any of them got
out, the smoke test that failed or took longest. `workers` has the same by number, as far as a document holds it: it
ends at 1 MiB, a slice has up to some 1,500 hosts. The whole results stay in `workers/<vm>-<number>`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.ports.store import Document

_SHOWN = 200
_LIST_BYTES = 100_000
_PROBES_BYTES = 50_000
_STEPS = 100
"""As many as one worker may name."""
_WORKERS_BYTES = 300_000
"""Shared by the details of all workers."""
_TAIL = 1000
"""Characters of a worker's own smoke test."""


def summary(found: Mapping[int, Document], hosts: int) -> Document:
    """`found` by the worker's number, at least one of `hosts`."""
    first = min(found)
    opened = [number for number, each in found.items() if each["egress"] != "denied"]
    fields = {
        "installed": found[first]["installed"],
        "missing": _all(found, "missing"),
        "unexpected": _all(found, "unexpected"),
        "egress": "open" if opened else "denied",
        "egress_probes": probes(found[min(opened, default=first)]["egress_probes"]),
        "smoke": _worst_smoke(found),
        "console": found[_telling(found)].get("console", ""),
        "seconds": _longest(found),
    }
    room = _WORKERS_BYTES // len(found)
    return fields | {
        "hosts": hosts,
        "workers": {str(number): _brief(each, room) for number, each in found.items()},
    }


def items(names: Sequence[str]) -> list[str]:
    """The first of a list, as many as a document has room for."""
    return _within(names[:_SHOWN], _LIST_BYTES)


def probes(made: Sequence[Document]) -> list[Document]:
    """The first attempts to get out, as many as a document has room for: the guest's own are a twentieth of that."""
    kept, room = [], _PROBES_BYTES
    for probe in made:
        room -= len(json.dumps(probe, ensure_ascii=False).encode())
        if room < 0:
            break
        kept.append(probe)
    return kept


def _all(found: Mapping[int, Document], name: str) -> list[str]:
    return items(sorted({item for each in found.values() for item in each[name]}))


def _telling(found: Mapping[int, Document]) -> int:
    """The worker whose last lines stand for all: the first that did not do well, else the first."""
    bad = (
        number for number, each in found.items() if each["smoke"] is None or each["smoke"]["exit_code"] != 0
    )
    return next(bad, min(found))


def _worst_smoke(found: Mapping[int, Document]) -> Document | None:
    """The one that failed first by number; where all went well the one that took longest."""
    for each in found.values():
        if each["smoke"] is None or each["smoke"]["exit_code"] != 0:
            return dict(each["smoke"]) if each["smoke"] else None
    return dict(max((each["smoke"] for each in found.values()), key=lambda smoke: float(smoke["seconds"])))


def _longest(found: Mapping[int, Document]) -> dict[str, float]:
    """The run waits for the slowest."""
    seconds: dict[str, float] = {}
    for each in found.values():
        for step, taken in each["seconds"].items():
            if step in seconds or len(seconds) < _STEPS:
                seconds[step] = max(float(taken), seconds.get(step, 0.0))
    return seconds


def _brief(each: Document, room: int) -> dict[str, Any]:
    """A worker's result in some `room` bytes: the numbers always, lists and last lines as far as they fit."""
    share = room // 4
    smoke = each["smoke"]
    if smoke:
        smoke = {"exit_code": smoke["exit_code"], "seconds": smoke["seconds"]} | (
            {"tail": smoke["tail"][-min(_TAIL, share // 4) :]} if share // 4 else {"tail": ""}
        )
    return {
        "installed": each["installed"],
        "missing": _within(each["missing"], share),
        "unexpected": _within(each["unexpected"], share),
        "egress": each["egress"],
        "smoke": smoke,
    }


def _within(items: Iterable[str], room: int) -> list[str]:
    """The first that have no more than `room` bytes together."""
    kept: list[str] = []
    for item in items:
        room -= len(item.encode()) + 4
        if room < 0:
            break
        kept.append(item)
    return kept
