"""A held package whose time has come is admitted by itself.

1. Runs that went without held packages are judged again with everything that is held: those packages, by the run's own
   workload.
2. As soon as all of a run's held packages are allowed, each is published, hold to allow, and the run's document says
   that it may be requested again.
3. If nothing but holds with an end stood in its way, and it failed, it is requested again by itself: once, under an
   id that follows from the run's. What came of that is not requested again by itself.

The new run is judged like any other: nothing enters because of what is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from shared import decision_log
from shared.delivery import Outcome
from shared.errors import DmzError
from shared.events import Event, RunRequested, VerdictChanged, derive, run_id_of
from shared.judgement import Court
from shared.model.case import Case
from shared.model.holdings import Awaited, Holdings
from shared.model.package import Release
from shared.model.value import printable, sha256
from shared.model.verdict import Verdicts
from shared.model.workload import Workload
from shared.policy.judge import judge_all
from shared.ports.store import Blobs, Document, Put, Store, Write


def judged(
    event: Event,
    holdings: Holdings,
    digest: str,
    court: Callable[[Release, str], Court],
    blobs: Blobs,
    now: float,
) -> tuple[tuple[Event, ...], tuple[str, ...]]:
    """The events about runs that wait no longer, and for each run that could not be judged why."""
    found: dict[str, Event] = {}
    troubles: list[str] = []
    for each in holdings.awaited:
        try:
            case = court(each.release, each.workload).case(each.subjects)
        except DmzError as error:
            troubles.append(f"{each.run_id}: {error}")
            continue
        verdicts = judge_all(case)
        if not verdicts or any(verdict.decision != "allow" for verdict in verdicts):
            continue
        made = Verdicts(manifest=digest, case=blobs.put(case.canonical()), verdicts=verdicts)
        stored = blobs.put(made.canonical())
        for verdict in verdicts:
            data = VerdictChanged(
                purl=verdict.package.purl,
                before="hold",
                after="allow",
                reason=f"for the workload {each.workload}: {printable(verdict.reason, 1900)}",
                verdicts=stored,
            )
            published = derive(event, "verdict-changed", data, stage="scanner", now=now)
            found[published.id] = published
    return tuple(found.values()), tuple(troubles)


def admitted(event: Event, data: VerdictChanged, store: Store, blobs: Blobs, now: float) -> Outcome:
    """What follows for the runs that waited for it."""
    if (data.before, data.after) != ("hold", "allow"):
        return Outcome()
    verdicts = Verdicts.read(blobs.get(data.verdicts), f"The verdicts {data.verdicts}")
    case = Case.read(blobs.get(verdicts.case), f"The case {verdicts.case}")
    holdings = Holdings.read(blobs.get(verdicts.manifest), f"The holdings {verdicts.manifest}")
    may = {verdict.package.purl for verdict in verdicts.verdicts if verdict.decision == "allow"}
    writes: list[Write] = []
    events: list[Event] = []
    for each in holdings.awaited:
        purls = {subject.package.purl for subject in each.subjects}
        run = store.get("runs", each.run_id) or {}
        if each.workload != case.workload or not purls <= may or not run or run.get("again"):
            continue
        said = f"What was held may be had now: {', '.join(sorted(purls)[:20])}."
        request = _request(event, each, run, store, blobs)
        new = run_id_of(request.id) if request else ""
        fields = {"may": True, "at": now, "reason": printable(said, 1000), "run_id": new}
        writes.append(Put("runs", each.run_id, {"again": fields}, merge=True))
        about = {"about": data.verdicts, "waited": each.run_id, "run": new}
        writes += [
            decision_log.entry("admission", purl, said, event, now, stage="sync", **about)
            for purl in sorted(purls)
        ]
        events += [request] if request else []
    return Outcome(tuple(writes), tuple(events))


def _request(event: Event, each: Awaited, run: Document, store: Store, blobs: Blobs) -> Event | None:
    """The run anew, if it may be requested by itself (3)."""
    waits: Sequence[Document] = run["held"]["packages"]
    alone = run.get("state") == "failed" and not run["held"]["blocked"] and all(one["until"] for one in waits)
    if not alone or store.find("runs", "again.run_id", each.run_id):
        return None
    workload = Workload.read(blobs.get(str(run["workload_digest"])), "The stored workload")
    made = derive(event, "run-requested", RunRequested(workload=workload), stage="sync", now=0)
    return replace(made, id=sha256(f"again {each.run_id}".encode())[7:39], time=event.time)
