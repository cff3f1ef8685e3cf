"""`./dmz explain`: what was decided about a package, on what, who needs it, and what to do now. Reads only."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from contextlib import suppress

from functions.ctl.explanation import Bearing, Explanation, by_purl, lines
from functions.ctl.inputs import BadInput
from functions.ctl.sought import Sought, choose, read
from functions.ctl.stored import UNREACHABLE, Judgement, Records, Unreachable, records
from functions.ctl.summary import wrap
from functions.local.layout import Layout
from shared import attested, decision_log, waivers
from shared.errors import Permanent, Transient
from shared.held_files import RECORDS, package_id
from shared.model.case import Case
from shared.model.decision import LoggedDecision
from shared.model.package import Package
from shared.model.value import printable
from shared.model.verdict import Verdict
from shared.ports.store import Document


def explain(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code."""
    sought = read(arguments.package)
    try:
        stored = records(layout, arguments.project)
        found = explanation(stored, sought, arguments.run, time.time())
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE
    if arguments.json:
        print(json.dumps(found.document(), ensure_ascii=True, indent=1))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        print("\n".join(part for line in lines(found) for part in wrap(line, width)))
    return 0


def newest(stored: Records) -> tuple[str, Document]:
    """The run that was requested last, of those with verdicts; BadInput if there is none."""
    runs = sorted(stored.judged(), key=lambda run: (float(run[1].get("requested") or 0), run[0]))
    if not runs:
        raise BadInput("No run has any verdicts here; start one with ./dmz run.")
    return runs[-1]


def explanation(stored: Records, sought: Sought, run_id: str, now: float) -> Explanation:
    """BadInput if there is no such run or package, or several packages are meant."""
    run_id, run = (run_id, stored.run(run_id)) if run_id else newest(stored)
    first, *more = stored.of_run(run_id, run)
    lock = stored.lock(run)
    changes = lock.changes if lock else ()
    brought = {each.after.purl for each in changes if each.kind != "dropped"}
    package = _choose(sought, first, more, brought, run_id)
    held, verdict = _verdict(package, (first, *more))
    away, here = by_purl(changes, package.purl)
    claimed = any(each.package.purl == package.purl for each in first.verdicts.verdicts)
    return Explanation(
        run_id=run_id,
        workload=str(run.get("workload") or held.workload),
        at=held.at,
        verdict=verdict,
        policy=held.policy,
        replaced_by=away,
        replaces=here,
        only_looked_at=not (claimed or here),
        waivers=tuple(_bearing(stored, held, id, now) for id in verdict.waivers),
        logged=_logged(stored, package.purl),
        publishers=_publishers(stored, package.purl),
    )


def _choose(
    sought: Sought, first: Judgement, more: list[Judgement], brought: set[str], run_id: str
) -> Package:
    """Of what the outer VM had; else of what replaces some of it; else of all that was looked at."""
    claimed = [each.package for each in first.verdicts.verdicts]
    others = [each.package for found in more for each in found.verdicts.verdicts]
    replacing = [each for each in others if each.purl in brought]
    for packages in (claimed, replacing, others):
        if any(sought.matches(package) for package in packages):
            return choose(sought, packages, run_id)
    return choose(sought, [*claimed, *others], run_id)


def _verdict(package: Package, judged: tuple[Judgement, ...]) -> tuple[Case, Verdict]:
    return next(
        (found.case, each)
        for found in judged
        for each in found.verdicts.verdicts
        if each.package.purl == package.purl
    )


def _bearing(stored: Records, case: Case, id: str, now: float) -> Bearing:
    """As it was when the package was judged; whether it still counts, as the store says now."""
    waiver = next((each for each in case.waivers if each.id == id), None)
    fields = stored.documents.get("waivers", id)
    ended = waivers.ended(fields, now) if fields else "is not known any more"
    if waiver is None:
        return Bearing(id, "unknown", "unknown", "unknown", "unknown", ended)
    return Bearing(id, waivers.words(waiver), waiver.approver, waiver.reason, waiver.expires, ended)


def _publishers(stored: Records, purl: str) -> tuple[str, ...]:
    named = set()
    for _, record in stored.documents.find(RECORDS, "package", package_id(purl)):
        with suppress(Permanent):
            named |= {str(publisher) for publisher in attested.publishers(record)}
    return tuple(sorted(named))


def _logged(stored: Records, purl: str) -> tuple[LoggedDecision, ...]:
    """An entry that cannot be read is no reason to explain nothing; ./dmz decisions --verify names it."""
    found = []
    for _, fields in stored.documents.find("decisions", "subject", printable(purl, 1000)):
        try:
            found.append(decision_log.read(fields))
        except Permanent:
            continue
    return tuple(sorted(found, key=lambda entry: (entry.at, entry.kind)))
