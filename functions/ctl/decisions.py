"""`./dmz decisions`: the decision log (shared/decision_log.py), listed and checked. Reads only.

Entries without a run have no last entry that lists them: of those, --verify can tell that one was changed, not that one
was taken away. The log of the stages names each with its digest.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from functions.ctl.inputs import BadInput
from functions.ctl.stored import UNREACHABLE, Records, Unreachable, records
from functions.local.layout import Layout
from shared import decision_log
from shared.delivery import ENDED
from shared.errors import Transient
from shared.model.value import printable
from shared.ports.store import Document

_DAYS = 30
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)
"""Nothing is older."""


def decisions(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code."""
    since = _since(arguments.since, bool(arguments.run))
    try:
        stored = records(layout, arguments.project)
        found = of_run(stored, arguments.run) if arguments.run else of_months(stored, since, time.time())
        if arguments.verify:
            whole = found if arguments.run else with_their_runs(stored, found)
            return verify(stored, whole, arguments.run, arguments.json)
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE
    shown = sorted(
        (fields for fields in found.values() if _at(fields) >= since),
        key=lambda fields: (_at(fields), str(fields.get("kind")), str(fields.get("subject"))),
    )
    for fields in shown:
        print(json.dumps(fields, ensure_ascii=True) if arguments.json else line(fields))
    if not shown and not arguments.json:
        print(f"Nothing was decided{' in that run' if arguments.run else ''} since {since:%Y-%m-%d}.")
    return 0


def of_run(stored: Records, run_id: str) -> dict[str, Document]:
    """Entries by name. BadInput if there is neither an entry of such a run nor the run, which is forgotten earlier."""
    found = dict(stored.documents.find("decisions", "run_id", run_id))
    if not found:
        stored.run(run_id)
    return found


def of_months(stored: Records, since: datetime, now: float) -> dict[str, Document]:
    """Entries by name, of all months from `since` to `now`."""
    found: dict[str, Document] = {}
    month = since.replace(day=1)
    while month <= datetime.fromtimestamp(now, UTC) + timedelta(days=1):
        found.update(stored.documents.find("decisions", "month", f"{month:%Y-%m}"))
        month = (month + timedelta(days=32)).replace(day=1)
    return found


def with_their_runs(stored: Records, found: Mapping[str, Document]) -> dict[str, Document]:
    """And all entries of the runs that some of them belong to: a run may have begun a month earlier."""
    whole = dict(found)
    for run_id in sorted({str(fields.get("run_id") or "") for fields in found.values()} - {""}):
        whole.update(stored.documents.find("decisions", "run_id", run_id))
    return whole


def verify(stored: Records, found: Mapping[str, Document], run_id: str, as_json: bool) -> int:
    """1 if anything gives away that the log was tampered with."""
    wrong = list(decision_log.altered(found))
    runs = {str(fields.get("run_id") or "") for fields in found.values()} | {run_id}
    for each in sorted(runs - {""}):
        run = stored.documents.get("runs", each) or {}
        if run.get("state") in ENDED and f"{each}-ended" not in found:
            wrong.append(
                f"{_safe(each)} has ended, and its last entry, which lists the others, is not there."
            )
    if as_json:
        print(json.dumps({"entries": len(found), "wrong": wrong}, ensure_ascii=True))
        return int(bool(wrong))
    for said in wrong:
        print(f"dmz: {said}", file=sys.stderr)
    if not wrong:
        print(f"{len(found)} entries are what they were when they were written.")
    return int(bool(wrong))


def line(fields: Document) -> str:
    """One entry for a person."""
    cause = fields.get("cause")
    event = f" [{_safe(cause.get('type'))} {_safe(cause.get('id'))}]" if isinstance(cause, dict) else ""
    run = f" {_safe(fields.get('run_id'))}" if fields.get("run_id") else ""
    said = f"{_safe(fields.get('kind'))} {_safe(fields.get('subject'))}: {_safe(fields.get('reason'))}"
    return f"{_safe(fields.get('at'))}{run} {said} ({_safe(fields.get('actor'))}){event}"


def _safe(value: object) -> str:
    return printable(str(value), 1500)


def _at(fields: Document) -> datetime:
    """The end of time for what has none: it must be seen."""
    try:
        at = datetime.fromisoformat(str(fields.get("at")))
    except ValueError:
        return datetime.max.replace(tzinfo=UTC)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _since(given: str, of_run: bool) -> datetime:
    if not given:
        return _FIRST if of_run else datetime.now(UTC) - timedelta(days=_DAYS)
    try:
        moment = datetime.fromisoformat(given)
    except ValueError as error:
        raise BadInput(f"--since '{printable(given, 60)}' is no date: write it like 2026-11-01.") from error
    return max(moment if moment.tzinfo else moment.replace(tzinfo=UTC), _FIRST)
