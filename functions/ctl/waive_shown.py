"""What `./dmz waive` shows: waivers, their history, and what one would change. Reads only.

A dry run judges the stored cases of the last runs again, as if the waiver had been in force when they were judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from functions.ctl.inputs import BadInput
from functions.ctl.stored import Records
from shared import waivers
from shared.errors import DmzError
from shared.model.case import Case
from shared.model.value import printable
from shared.model.verdict import Verdict
from shared.model.waiver import Waiver
from shared.policy.judge import judge_all
from shared.ports.store import Document

RUNS, CHANGES = 10, 30
"""Runs that are looked at, and packages of one run that are named."""


def listed(stored: Records, now: float, every: bool, as_json: bool) -> int:
    """Those in force; `every`: those that have ended, too."""
    states = waivers.STATES if every else waivers.STATES[:1]
    found = [
        (id, fields) for state in states for id, fields in stored.documents.find("waivers", "state", state)
    ]
    shown = [(id, fields) for id, fields in found if every or not waivers.ended(fields, now)]
    if as_json:
        print(json.dumps([_as_json(id, fields, now) for id, fields in shown], indent=1))
        return 0
    for id, fields in shown:
        print("\n".join(_lines(id, fields, now)))
    if not shown:
        print(
            "There are no waivers." if every else "No waiver is in force; --all lists those that have ended."
        )
    return 0


def show(stored: Records, now: float, id: str, as_json: bool) -> int:
    """One of them, and everything that was done to it."""
    fields = known(stored, id)
    lines = [line for _, line in stored.documents.find("waiver_history", "waiver", id)]
    lines.sort(key=lambda line: float(line.get("at", 0)))
    if as_json:
        print(json.dumps({**_as_json(id, fields, now), "history": lines}, indent=1))
        return 0
    print("\n".join(_lines(id, fields, now)))
    for line in lines:
        when = datetime.fromtimestamp(float(line["at"]), UTC).isoformat(timespec="seconds")
        by = f" by {_safe(line['by'])}" if line.get("by") else ""
        event = line.get("event")
        sent = (
            f" (event {_safe(event['id'])} from {_safe(event['source'])}, {_safe(event['time'])})"
            if event
            else ""
        )
        print(f"  {when.replace('+00:00', 'Z')}  {_safe(line['what'])}{by}: {_safe(line['reason'])}{sent}")
    return 0


def _lines(id: str, fields: Document, now: float) -> Iterator[str]:
    waiver, why = waivers.waiver_of(fields), waivers.ended(fields, now)
    yield f"{id} {why or 'is in force'}{f': {waivers.words(waiver)}' if waiver else ''}"
    if waiver:
        yield f"  approved by {waiver.approver}: {waiver.reason}"


def _as_json(id: str, fields: Document, now: float) -> dict[str, Any]:
    return {"id": id, "in_force": not waivers.ended(fields, now), **fields}


def known(stored: Records, id: str) -> Document:
    """The document of a waiver; BadInput if there is none."""
    fields = stored.documents.get("waivers", id)
    if fields is None:
        raise BadInput(f"There is no {id} here; ./dmz waive list --all names those that there are.")
    return fields


def _safe(text: object) -> str:
    return printable(str(text), 500)


# --- what would change ---


def dry(stored: Records, given: Waiver) -> int:
    """Which verdicts of the last runs would be others with it; nothing is published or written."""
    print(f"It would overrule {waivers.words(given)}.")
    changed = 0
    asked = [(id, run) for id, run in last_runs(stored) if given.workload in ("", run.get("workload"))]
    for run_id, run in asked:
        name = f"{run_id} ({_safe(run.get('workload', ''))})"
        try:
            case = stored.of_run(run_id, run)[0].case
        except DmzError as error:
            print(f"  {name} cannot be judged again: {error}")
            continue
        found = effects(case, given)
        changed += sum(before.decision != after.decision for before, after in found)
        for before, after in found[:CHANGES]:
            print(f"  {name}: {before.package.purl}: {_said(before, after)}")
        if len(found) > CHANGES:
            print(f"  {name}: and {len(found) - CHANGES} more")
    runs = f"the last {len(asked)} runs" if len(asked) != 1 else "the last run"
    whose = f" of {given.workload}" if given.workload else ""
    print(f"Verdicts of {runs}{whose} that would change: {changed}. Nothing was published.")
    return 0


def effects(case: Case, given: Waiver) -> list[tuple[Verdict, Verdict]]:
    """Verdicts without and with the waiver where it answers anything, as if granted when the case was judged."""
    as_if = given.model_copy(update={"granted": case.at})
    before = {each.package.purl: each for each in judge_all(case)}
    after = judge_all(case.model_copy(update={"waivers": (*case.waivers, as_if)}))
    return [
        (before[each.package.purl], each) for each in after if each.rules != before[each.package.purl].rules
    ]


def _said(before: Verdict, after: Verdict) -> str:
    if before.decision != after.decision:
        return f"{before.decision} -> {after.decision}"
    return f"stays {after.decision}: {printable(after.reason, 300)}"


def last_runs(stored: Records) -> list[tuple[str, Document]]:
    """Those with verdicts, the latest first."""
    found = sorted(stored.judged(), key=lambda run: float(run[1].get("requested") or 0), reverse=True)
    return found[:RUNS]


def leans(run: Document) -> list[str]:
    """Ids of the waivers by which something got in."""
    return [str(each.get("id")) for each in run.get("waivers") or ()]
