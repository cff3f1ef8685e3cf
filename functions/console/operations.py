"""Pages about everything at once: VMs that are up, waivers, what sticks, images and who built them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from functions.console import letters, words
from functions.console.ahead import ahead
from functions.console.asked import Asked, cursor
from functions.console.packages import Shelf
from functions.console.words import number, part
from shared.model import costs
from shared.readings import Readings

AT_ONCE = 50
LETTERS = 10
"""Dead letters that stand on the page of troubles; the others have one of their own."""
_FAILED = ("workload", "stage", "reason", "ended")
_VM = (
    "run_id",
    "kind",
    "state",
    "zone",
    "zones",
    "asked",
    "ended",
    "minutes",
    "workers",
    "tried",
    "lives",
    "seen",
)
"""Never `report_token`, by which a VM proves that a report is its own."""


def machines(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    """VMs without an end, the oldest first: those cost money."""
    found = readings.among("vms", "state", ("asked", "reported"), 400, only=_VM)
    up = [(name, vm) for name, vm in found if not vm.get("ended") and number(vm.get("asked")) is not None]
    runs = readings.several(
        "runs",
        sorted({str(vm.get("run_id")) for _, vm in up}),
        only=("workload", "state", "after", "cost", "inner"),
    )
    lines = [_machine(name, vm, runs.get(str(vm.get("run_id")), {}), asked.now) for name, vm in up]
    lines.sort(key=lambda each: -(each["age"] or 0))
    return {"machines": lines, "more": len(found) == 400}


def _machine(name: str, vm: Mapping[str, Any], run: Mapping[str, Any], now: float) -> Mapping[str, Any]:
    try:
        terms = costs.of_run(run)
        cost = costs.of_record(terms, vm, now) if terms else None
    except (AttributeError, KeyError, TypeError, ValueError):
        terms = cost = None  # a record of another form than this version writes
    kept = (run.get("state"), run.get("after"), vm.get("kind")) == ("completed", "keep", "inner")
    return {
        "name": name,
        "kind": vm.get("kind", ""),
        "run": str(vm.get("run_id", "")),
        "workload": run.get("workload", ""),
        "zone": vm.get("zone", ""),
        "workers": int(number(vm.get("workers")) or 1),
        "age": now - float(vm["asked"]),
        "state": "kept" if kept else "asked" if vm.get("state") == "asked" else "reported",
        "cost": costs.money(cost.amount, terms) if cost and terms and cost.amount is not None else "",
        "rate": costs.rate(cost.rate, terms) if cost and terms and cost.rate is not None else "",
        "why": cost.why if cost else "no prices in the run's document",
        "enter": part(run, "inner").get("enter", "") if kept else "",
    }


def waivers(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    history = ahead(lambda: readings.latest("waiver_history", "at", 20))
    found = readings.latest("waivers", "recorded", AT_ONCE + 1, asked.after())
    lines = []
    for id, waiver in found[:AT_ONCE]:
        expires = words.unix(waiver.get("expires"))
        over = waiver.get("state") != "granted" or expires is None or expires <= asked.now
        state = (
            str(waiver.get("state", ""))
            if waiver.get("state") != "granted"
            else "expired"
            if over
            else "granted"
        )
        lines.append({"id": id, "fields": waiver, "state": state, "left": (expires or 0) - asked.now})
    more = len(found) > AT_ONCE
    older = cursor(found[AT_ONCE - 1][1]["recorded"], found[AT_ONCE - 1][0]) if more else ""
    return {
        "waivers": lines,
        "older": older,
        "first": asked.after() is None,
        "history": [each for _, each in history()],
    }


def trouble(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    """What did not go on: events that wait, events that were given back, runs that failed."""
    unfinished = ahead(
        lambda: readings.among("claims", "done", (False,), 100, only=("key", "attempt", "until", "reason"))
    )
    waiting = ahead(lambda: readings.latest("outbox", "since", AT_ONCE, only=("key", "since", "type")))
    failed = ahead(
        lambda: readings.within(
            "runs", "state", "failed", "ended", AT_ONCE + 1, asked.after(), down=True, only=_FAILED
        )
    )
    total = ahead(lambda: readings.count("runs", {"state": "failed"}))
    dead = ahead(lambda: letters.lines(readings, letters.newest(readings, LETTERS + 1)))
    events = []
    for key, claim in unfinished():
        stage, _, rest = str(claim.get("key", key)).partition(":")
        topic, _, id = rest.partition(":")
        until = number(claim.get("until")) or 0
        state = "at work" if until > asked.now else "given back" if until == 0 else "lease over"
        events.append({"stage": stage, "type": topic, "id": id, "state": state, "claim": claim})
    shown = failed()[:AT_ONCE]
    more = len(failed()) > AT_ONCE
    return {
        "events": events,
        "letters": dead()[:LETTERS],
        "more_letters": len(dead()) > LETTERS,
        "waiting": waiting(),
        "failed": shown,
        "older": cursor(shown[-1][1]["ended"], shown[-1][0]) if more else "",
        "first": asked.after() is None,
        "failed_total": total(),
    }


def images(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    """Reference values, the newest first, with what each builder said of the same image."""
    appraised = ahead(lambda: readings.latest("appraisals", "at", 20))
    found = [each for _, each in readings.latest("references", "agreed", AT_ONCE)]
    names = sorted({str(each.get("image")) for each in found})[:30]
    votes = [
        _vote(each)
        for _, each in readings.among("votes", "image", names, 400, only=("image", "builder", "vote"))
    ]
    return {
        "references": [
            {
                "fields": each,
                "over": (number(each.get("expires")) or 0) <= asked.now,
                "votes": list(
                    {
                        (vote["builder"], vote["manifest"], vote["revision"]): vote
                        for vote in votes
                        if vote["image"] == each.get("image")
                    }.values()
                ),
            }
            for each in found
        ],
        "appraisals": [each for _, each in appraised()],
    }


def _vote(document: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        build = orjson.loads(document["vote"])["build"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        build = {}
    return {
        "image": str(document.get("image", "")),
        "builder": str(document.get("builder", "")),
        "manifest": build.get("manifest", ""),
        "revision": build.get("revision", ""),
        "finished": number(build.get("finished")),
    }
