"""What the private repositories hold, and what has been decided about it since."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from functions.console.ahead import ahead
from functions.console.asked import Asked, cursor
from functions.console.packages import Shelf
from functions.console.words import number, part
from shared.model.package import CODENAMES
from shared.readings import Found, Readings
from shared.settings import Settings

_SHA256 = re.compile(r"(?:sha256:)?[0-9a-f]{64}", re.ASCII)

AT_ONCE = 100
_USUAL = (Settings.python_repository, Settings.generic_repository)


def page(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    """By the records of what came in, the newest first; or those whose name begins with what is looked for."""
    words, chosen = asked.text("q"), asked.text("repository", 100)
    found = _found(readings, words, chosen, asked)
    files = [_file(each) for _, each in found[:AT_ONCE]]
    more = len(found) > AT_ONCE
    known = {*_USUAL, *CODENAMES.values(), chosen, *(str(each["repository"]) for each in files)}
    return {
        "files": files,
        "holds": _holds(readings, sorted(known - {""})[:12]),
        "words": words,
        "chosen": chosen,
        "more": more,
        "older": cursor(found[AT_ONCE - 1][1]["came"], found[AT_ONCE - 1][0]) if more and not words else "",
        "first": asked.after() is None,
    }


def _found(readings: Readings, words: str, chosen: str, asked: Asked) -> Found:
    """A sha256, a purl or a name finds; else all, or all of one repository, by when they came."""
    if words:
        if _SHA256.fullmatch(words):
            digest = f"sha256:{words.removeprefix('sha256:')}"
            found = readings.among("holdings", "sha256", [digest], AT_ONCE + 1)
        else:
            field = "purl" if words.startswith("pkg:") else "subject.package.name"
            found = readings.beginning("holdings", field, words, AT_ONCE + 1)
        return [each for each in found if not chosen or each[1].get("repository") == chosen]
    if chosen:
        return readings.within(
            "holdings", "repository", chosen, "came", AT_ONCE + 1, asked.after(), down=True
        )
    return readings.latest("holdings", "came", AT_ONCE + 1, asked.after())


def _holds(readings: Readings, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """What is there now, without what was evicted: added up by the database, so that no record is read."""
    counts = {
        name: ahead(partial(readings.count, "holdings", {"repository": name, "evicted": None}))
        for name in names
    }
    there = [name for name in names if counts[name]()]
    sizes = {name: ahead(partial(_size, readings, name)) for name in there}
    return [{"name": name, "files": counts[name](), "bytes": sizes[name]()} for name in there]


def _size(readings: Readings, name: str) -> float:
    return readings.total("holdings", {"repository": name, "evicted": None}, "size")


def _file(held: Mapping[str, Any]) -> Mapping[str, Any]:
    transfer = part(held, "transfer")
    kind: Any = next((transfer[name] for name in ("python", "archive", "generic") if transfer.get(name)), {})
    package = part(part(held, "subject"), "package")
    return {
        "repository": held.get("repository", ""),
        "purl": held.get("purl", ""),
        "name": package.get("name", ""),
        "version": package.get("version", ""),
        "sha256": held.get("sha256", ""),
        "size": number(held.get("size", kind.get("size") if isinstance(kind, Mapping) else None)),
        "run": str(held.get("run_id", "")),
        "workload": held.get("workload", ""),
        "came": number(held.get("came")),
        "evicted": number(held.get("evicted")),
    }


def watch(readings: Readings, _shelf: Shelf, _asked: Asked) -> Mapping[str, Any]:
    """Judging again: how the last time went, what a person has to look at, whom it touches, what went out."""
    affected = ahead(lambda: readings.latest("affected", "at", 50))
    sounding = ahead(lambda: readings.among("alarms", "open", (True,), 100))
    evictions = ahead(lambda: readings.latest("evictions", "at", 50))
    latest = ahead(lambda: readings.get("reevaluations", "latest"))
    alarms = (each for _, each in sounding())
    return {
        "latest": latest(),
        "policy": readings.get("policies", "current"),
        "alarms": sorted(alarms, key=lambda each: -(number(each.get("since")) or 0)),
        "affected": [each for _, each in affected() if not each.get("over")],
        "over": sum(bool(each.get("over")) for _, each in affected()),
        "evictions": [each for _, each in evictions()],
    }
