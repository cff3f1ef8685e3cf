"""What the private repositories hold, and what has been decided about it since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.console.asked import Asked, cursor
from functions.console.packages import Shelf
from functions.console.words import number, part
from shared.model.package import CODENAMES
from shared.readings import Readings

AT_ONCE = 100


def page(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    """By the records of what came in, the newest first."""
    found = readings.latest("holdings", "came", AT_ONCE + 1, asked.after())
    files = [_file(each) for _, each in found[:AT_ONCE]]
    more = len(found) > AT_ONCE
    names = sorted({str(each["repository"]) for each in files} | set(CODENAMES.values()))
    counts = {name: readings.count("holdings", {"repository": name}) for name in names[:12]}
    return {
        "files": files,
        "counts": {name: count for name, count in counts.items() if count},
        "older": cursor(found[AT_ONCE - 1][1]["came"], found[AT_ONCE - 1][0]) if more else "",
        "first": asked.after() is None,
    }


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
        "size": number(kind.get("size")) if isinstance(kind, Mapping) else None,
        "run": str(held.get("run_id", "")),
        "workload": held.get("workload", ""),
        "came": number(held.get("came")),
        "evicted": number(held.get("evicted")),
    }


def watch(readings: Readings, _shelf: Shelf, _asked: Asked) -> Mapping[str, Any]:
    """Judging again: how the last time went, what a person has to look at, whom it touches, what went out."""
    affected = readings.latest("affected", "at", 50)
    sounding = readings.among("alarms", "open", (True,), 100)
    return {
        "latest": readings.get("reevaluations", "latest"),
        "policy": readings.get("policies", "current"),
        "alarms": sorted((each for _, each in sounding), key=lambda each: -(number(each.get("since")) or 0)),
        "affected": [each for _, each in affected if not each.get("over")],
        "over": sum(bool(each.get("over")) for _, each in affected),
        "evictions": [each for _, each in readings.latest("evictions", "at", 50)],
    }
