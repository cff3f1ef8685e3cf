"""The chain of a run as a picture: who has done what, and how long it took. Documents in, coordinates out. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from functions.console import words
from functions.console.words import listed, number, part

State = Literal["done", "running", "failed", "waiting"]
STAGES = ("outer", "scanner", "sync", "inner", "attestation")
ENDED = ("completed", "failed", "cancelled")
PLACES = {
    "outer": "on the internet",
    "scanner": "a verdict each",
    "sync": "into the repositories",
    "inner": "in the sealed network",
    "attestation": "Confidential Space",
}
_CARRIES = ("manifest", "verdicts", "lock", "report")
"""What passes from each stage to the next."""
WIDTH, HEIGHT = 1080, 176
_BOX, _GAP, _TOP, _TALL = 172, 55, 26, 96
_WIDE = 24
"""Characters that a box has room for."""
_SQUARES = 22
"""Shards that are drawn one by one."""


@dataclass(frozen=True)
class Stage:
    """One box of the picture, one row of the table."""

    name: str
    place: str
    state: State
    seconds: float | None
    detail: str
    x: int
    start: float
    """Share of the run's time, 0 to 1, that had passed when it began."""
    share: float
    """Share of the run's time that it took."""


@dataclass(frozen=True)
class Arrow:
    """What passes between two boxes."""

    x: int
    carries: str
    passed: bool


@dataclass(frozen=True)
class Chain:
    """The whole picture."""

    stages: tuple[Stage, ...]
    arrows: tuple[Arrow, ...]
    seconds: float | None
    """Of the whole run, until now if it goes on."""
    ended: bool
    shards: tuple[bool, ...]
    """Done or not, each; empty where there are none, or too many to draw."""
    shard_words: str
    words: str
    """The picture in one sentence, for who does not see it."""
    width: int = WIDTH
    height: int = HEIGHT
    box: int = _BOX
    top: int = _TOP
    tall: int = _TALL
    gap: int = _GAP


@dataclass(frozen=True)
class Synced:
    """The shards of a run."""

    planned: int
    done: int
    files: int
    files_done: int
    bytes: int


def chain(run: Mapping[str, Any], synced: Synced | None, verdicts: Mapping[str, int], now: float) -> Chain:
    """`verdicts`: decision to count, empty as long as nothing is judged."""
    attests = bool(run.get("data_services"))
    names = [name for name in STAGES if name != "attestation" or attests]
    began, over = number(run.get("requested")), run.get("state") in ENDED
    end = number(run.get("ended")) if over else now
    whole = max(0.001, end - began) if began is not None and end is not None else None
    stages = tuple(_stage(name, place, run, synced, verdicts, now, whole) for place, name in enumerate(names))
    arrows = tuple(
        Arrow(_BOX * (place + 1) + _GAP * place, _CARRIES[place], stages[place].state == "done")
        for place in range(len(stages) - 1)
    )
    squares = synced.planned if synced and synced.planned <= _SQUARES else 0
    said = ", ".join(f"{each.name} {each.state} {words.duration(each.seconds)}".rstrip() for each in stages)
    return Chain(
        stages=stages,
        arrows=arrows,
        seconds=whole,
        ended=over,
        shards=tuple(place < (synced.done if synced else 0) for place in range(squares)),
        shard_words=f"{synced.done} of {words.plural(synced.planned, 'shard')}" if synced else "",
        words=said,
        width=_BOX * len(stages) + _GAP * (len(stages) - 1),
    )


def _stage(
    name: str,
    place: int,
    run: Mapping[str, Any],
    synced: Synced | None,
    verdicts: Mapping[str, int],
    now: float,
    whole: float | None,
) -> Stage:
    times = part(part(run, "stages"), name)
    started, ended = number(times.get("started")), number(times.get("ended"))
    state = _state(name, run, started, ended)
    last = ended if ended is not None else number(run.get("ended")) if run.get("state") in ENDED else now
    seconds = max(0.0, last - started) if started is not None and last is not None else None
    began = number(run.get("requested"))
    start = (started - began) / whole if started is not None and began is not None and whole else 0.0
    return Stage(
        name=name,
        place=PLACES[name],
        state=state,
        seconds=seconds,
        detail=_cut(_detail(name, state, run, synced, verdicts)),
        x=(_BOX + _GAP) * place,
        start=min(1.0, max(0.0, start)),
        share=min(1.0, (seconds or 0.0) / whole) if whole else 0.0,
    )


def _cut(text: str) -> str:
    return text if len(text) <= _WIDE else text[: _WIDE - 1] + "…"


def _state(name: str, run: Mapping[str, Any], started: float | None, ended: float | None) -> State:
    if started is None:
        return "waiting"
    if ended is not None and not (run.get("state") == "failed" and run.get("stage") == name):
        return "done"
    return (
        "running"
        if run.get("state") == "running"
        else "done"
        if run.get("state") == "completed"
        else "failed"
    )


def _detail(
    name: str, state: State, run: Mapping[str, Any], synced: Synced | None, verdicts: Mapping[str, int]
) -> str:
    match name:
        case "outer":
            counts = part(run, "packages")
            total = sum(int(number(counts.get(kind)) or 0) for kind in ("pypi", "debian", "generic"))
            return words.plural(total, "package") if total else "installs" if state == "running" else ""
        case "scanner":
            refused = verdicts.get("hold", 0) + verdicts.get("block", 0)
            return f"{refused} of {words.grouped(sum(verdicts.values()))} refused" if verdicts else ""
        case "sync":
            if synced:
                return f"{synced.files_done} of {words.plural(synced.files, 'file')}"
            files = number(part(run, "mirrored").get("artifacts"))
            return words.plural(files, "file") if files is not None else ""
        case "inner":
            inner = part(run, "inner")
            installed = words.grouped(number(inner.get("installed")))
            sealed = "" if inner.get("egress") == "denied" else ", egress open"
            return f"{installed} installed{sealed}" if installed else ""
    answers: Sequence[Any] = list(part(run, "attestation").values())
    waiting = str(part(run, "attesting").get("service", "")) if state == "running" else ""
    said = [str(each.get("decision", "")) for each in answers if isinstance(each, Mapping)]
    return f"awaits {waiting}" if waiting else ", ".join(dict.fromkeys(said))


def synced(
    run: Mapping[str, Any], syncs: Sequence[tuple[str, Mapping[str, Any]]], progress: Mapping[str, Any] | None
) -> Synced | None:
    """The shards of the run's newest plan; None before there is one."""
    if not syncs:
        return None
    known = syncs[-1][1]

    def count(document: Mapping[str, Any] | None, name: str) -> int:
        return int(number((document or {}).get(name)) or 0)

    files = count(run, "planned")
    done = min(files, max(count(known, "artifacts"), count(progress, "done")))
    return Synced(
        count(known, "shards"),
        count(known, "done"),
        files,
        done,
        max(count(known, "bytes"), count(progress, "bytes")),
    )


def tried(run: Mapping[str, Any]) -> list[str]:
    """Zones that gave no VM, each with why."""
    said = []
    for kind, machine in part(run, "machines").items():
        for each in listed(machine, "tried") if isinstance(machine, Mapping) else []:
            zone, why = (
                (each.get("zone", ""), each.get("reason", "")) if isinstance(each, Mapping) else ("", each)
            )
            said.append(f"{kind} VM: {zone} {why}".strip())
    return said
