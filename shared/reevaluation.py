"""Judging again what is held: the scanner's part of re-evaluation.

`standing/<id>` holds what stands about a package, `decision` and that of each workload. What no document speaks of is
allowed: it was when it came in. A package may stay while one workload that holds it may have it.

1. Each package is judged for every workload that holds it, by its rules and waivers; for nobody's if no run is
   remembered.
2. A hold for want of data (old or lacking advisories, facts that the index did not tell) is no answer: what stood
   stands, and an alarm says so. Else a day without data would empty the repositories.
3. What differs from what stood is published, each package once, and stands from now on, in one batch.
4. A refused package that is there all the same is published again: it came back, or nobody could evict it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shared import alarms, awaiting, decision_log
from shared.delivery import Outcome
from shared.errors import Transient
from shared.events import Event, HoldingsListed, VerdictChanged, derive
from shared.judgement import Court
from shared.model.case import Case, Subject
from shared.model.holdings import Held, Holdings
from shared.model.package import Package, Release
from shared.model.policy import EPSS, KEV
from shared.model.value import printable, sha256
from shared.model.verdict import Decision, Known, RuleAnswer, Verdict, Verdicts
from shared.policy.bench import BADNESS
from shared.policy.bench import bench as bench_of
from shared.policy.judge import judge_all
from shared.ports import Blobs, Document, Put, Store, Write

STANDING = "standing"
_DATA = ("advisory_age", "advisory_data")
"""Rules that say nothing but that data lacks."""
_CATALOGUES = {"known_exploited": KEV, "exploit_probability": EPSS}
"""Rules that hold where their catalogue does not serve."""
_FACTS = ("cooldown", "yanked", "licences")
"""Rules that lean on what the index says."""
_AGAIN, _AGAIN_KEPT = 3600.0, 86_400.0
"""Seconds after which a refused package that is still there is published again; where nobody may delete it."""
_MAX_REASON = 2000

MakeCourt = Callable[[Release, str], Court]
"""(release, name of a workload or nothing) to who judges it."""


@dataclass(frozen=True)
class Bench:
    """What judging again needs from the world."""

    store: Store
    blobs: Blobs
    court: MakeCourt
    clock: Callable[[], float]


@dataclass(frozen=True)
class _Session:
    """What was judged at once, for one workload."""

    workload: str
    case: Case
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class _Answer:
    """What one workload's rules say of one package."""

    verdict: Verdict
    session: _Session
    lacks: str
    """Why this is no answer; empty if it is one."""


@dataclass
class _Asked:
    """Advisories of all packages, asked once: the workloads differ in rules, not in what is known."""

    known_: Known

    def known(self, packages: Iterable[Package], release: Release) -> Known:  # noqa: ARG002 - the port's; it is one
        purls = {package.purl for package in packages}
        findings = {purl: found for purl, found in self.known_.findings.items() if purl in purls}
        lacking = {purl: why for purl, why in self.known_.lacking.items() if purl in purls}
        return Known(findings=findings, lacking=lacking, source=self.known_.source)


# --- judging ---


def judged_again(event: Event, data: HoldingsListed, bench: Bench) -> Outcome:
    """Everything that is held, judged by what is known now; what has changed is published."""
    holdings = Holdings.read(bench.blobs.get(data.holdings), f"The holdings {data.holdings}")
    now = bench.clock()
    try:
        sessions = [session for shelf in _shelves(holdings) for session in _sessions(shelf, bench)]
        admitted = awaiting.judged(event, holdings, data.holdings, bench.court, bench.blobs, now)
    except Transient as error:
        _alarm(bench, f"Nothing could be judged again: {error}", now)
        return Outcome((_told(data, now, len(holdings.held), 0, len(holdings.held), str(error)),))
    answers = _answers(sessions)
    standing = _standing(bench.store)
    store = _Stored(data.holdings, bench.blobs)
    writes: list[Write] = []
    events: list[Event] = []
    for held in holdings.held:
        found = _compared(held, answers[held.purl], standing.get(held.purl, {}), now)
        if found is None:
            continue
        verdicts = store.verdicts(found.told.session)
        published = VerdictChanged(
            purl=held.purl, before=found.before, after=found.after, reason=found.reason, verdicts=verdicts
        )
        writes.append(Put(STANDING, standing_id(held.purl), found.document(verdicts, now)))
        writes.append(
            decision_log.entry(
                "verdict-changed",
                held.purl,
                found.reason,
                event,
                now,
                stage="scanner",
                about=verdicts,
                before=found.before,
                after=found.after,
            )
        )
        events.append(derive(event, "verdict-changed", published, stage="scanner", now=now))
    lacking = [each.lacks for found in answers.values() for each in found.values() if each.lacks]
    unanswered = sum(any(each.lacks for each in found.values()) for found in answers.values())
    if unanswered:
        words = f"{unanswered} of {len(holdings.held)} packages stay as they were judged last: {lacking[0]}."
        _alarm(bench, words, now)
    else:
        alarms.over(bench.store, "no-data", "advisories", now)
    writes.append(
        _told(data, now, len(holdings.held), len(events) + len(admitted), unanswered, (lacking or [""])[0])
    )
    return Outcome(tuple(writes), (*events, *admitted))


def _shelves(holdings: Holdings) -> Iterator[tuple[Release, list[Held]]]:
    """Packages that can be judged together: those of a distribution by its release, all others with any."""
    by_release: dict[bytes, tuple[Release, list[Held]]] = {}
    for held in holdings.held:
        if held.subject.package.ecosystem == "debian":
            by_release.setdefault(held.release.canonical(), (held.release, []))[1].append(held)
    others = [held for held in holdings.held if held.subject.package.ecosystem != "debian"]
    if others:
        first = by_release.setdefault(others[0].release.canonical(), (others[0].release, []))
        first[1].extend(others)
    yield from (by_release[key] for key in sorted(by_release))


def _sessions(shelf: tuple[Release, list[Held]], bench: Bench) -> Iterator[_Session]:  # 1
    release, all_held = shelf
    packages = [held.subject.package for held in all_held]
    first: Court | None = None
    for workload in sorted({name for held in all_held for name in held.workloads or ("",)}):
        court = bench.court(release, workload)
        # Neither advisories nor facts are asked for twice: workloads differ in rules alone.
        first = first or replace(court, advisories=_Asked(court.advisories.known(packages, release)))
        subjects = [held.subject for held in all_held if workload in (held.workloads or ("",))]
        case = replace(court, advisories=first.advisories, facts=first.facts).case(subjects)
        yield _Session(workload, case, judge_all(case))


def _answers(sessions: Sequence[_Session]) -> dict[str, dict[str, _Answer]]:
    """By purl and workload."""
    answers: dict[str, dict[str, _Answer]] = {}
    for session in sessions:
        subjects = {subject.package.purl: subject for subject in session.case.subjects}
        catalogues = bench_of(session.case).catalogues
        for verdict in session.verdicts:
            purl = verdict.package.purl
            lacks = _lacks(verdict, subjects[purl], catalogues)
            answers.setdefault(purl, {})[session.workload] = _Answer(verdict, session, lacks)
    return answers


def _lacks(verdict: Verdict, subject: Subject, catalogues: Mapping[str, str]) -> str:  # 2
    """Why this is no answer: nothing but a want of data speaks against the package. Empty for every other verdict."""
    against = [rule for rule in verdict.rules if rule.answer != "allow"]
    if not all(_wants_data(rule, subject, catalogues) for rule in against):
        return ""
    return "; ".join(rule.reason for rule in against)


def _wants_data(rule: RuleAnswer, subject: Subject, catalogues: Mapping[str, str]) -> bool:
    if rule.rule in _DATA:
        return rule.answer == "hold"
    if catalogue := _CATALOGUES.get(rule.rule):
        return rule.answer == "hold" and bool(catalogues[catalogue])
    return bool(subject.facts.lacking) and rule.rule in _FACTS


# --- comparing ---


@dataclass(frozen=True)
class _Change:
    """One package of which something else is decided than stood."""

    held: Held
    before: Decision
    after: Decision
    decision: Decision
    by_workload: Mapping[str, Decision]
    told: _Answer
    reason: str = field(default="")

    def document(self, verdicts: str, now: float) -> Document:
        """What stands from now on."""
        return {
            "purl": self.held.purl,
            "decision": self.decision,
            "before": self.before,
            "reason": self.reason,
            "until": self.told.verdict.until,
            "by_workload": [
                {"workload": name, "decision": decision}
                for name, decision in sorted(self.by_workload.items())
            ],
            "verdicts": verdicts,
            "since": now,
            "evicted": None,
            "kept": None,
        }


def _compared(
    held: Held, answers: Mapping[str, _Answer], stood: Mapping[str, Any], now: float
) -> _Change | None:
    """What has changed about a package; None if nothing has."""
    before: Decision = stood.get("decision", "allow")
    earlier: dict[str, Decision] = {
        str(each["workload"]): each["decision"] for each in stood.get("by_workload", ())
    }
    decided = {
        workload: earlier.get(workload, before) if answer.lacks else answer.verdict.decision
        for workload, answer in answers.items()
    }
    after = min(decided.values(), key=BADNESS.__getitem__)
    moved = [name for name in sorted(decided) if decided[name] != earlier.get(name, before)]
    if after == before and not moved and not (after != "allow" and held.files and _came_back(stood, now)):
        return None
    if after != before or not moved:
        said = next(name for name in sorted(decided) if decided[name] == after)
        # What is here although it was refused was let in by somebody.
        was: Decision = before if after != before else "allow"
        reason = answers[said].verdict.reason
    else:
        said = moved[0]
        was, after_ = earlier.get(said, before), decided[said]
        reason = f"for the workload {said or 'of nobody'}: {answers[said].verdict.reason}"
        return _Change(held, was, after_, after, decided, answers[said], printable(reason, _MAX_REASON))
    return _Change(held, was, after, after, decided, answers[said], printable(reason, _MAX_REASON))


def _came_back(stood: Mapping[str, Any], now: float) -> bool:  # 4
    if stood.get("evicted"):
        return True
    pause = _AGAIN_KEPT if stood.get("kept") else _AGAIN
    return now - float(stood.get("since", now)) > pause


# --- the store ---


def standing_id(purl: str) -> str:
    return sha256(purl.encode())[7:39]


def _standing(store: Store) -> dict[str, Document]:
    """By purl."""
    decisions: tuple[Decision, ...] = ("allow", "hold", "block")
    return {
        str(fields["purl"]): fields
        for decision in decisions
        for _, fields in store.find(STANDING, "decision", decision)
    }


@dataclass
class _Stored:
    """Cases and verdicts of those sessions that changed something: an hour in which nothing did leaves nothing."""

    holdings: str
    blobs: Blobs
    _done: dict[int, str] = field(default_factory=dict)

    def verdicts(self, session: _Session) -> str:
        if id(session) not in self._done:
            case = self.blobs.put(session.case.canonical())
            made = Verdicts(manifest=self.holdings, case=case, verdicts=session.verdicts)
            self._done[id(session)] = self.blobs.put(made.canonical())
        return self._done[id(session)]


def _told(data: HoldingsListed, now: float, packages: int, changed: int, unanswered: int, why: str) -> Put:
    """What people see of the last time that all was judged again."""
    fields = {
        "at": now,
        "holdings": data.holdings,
        "packages": packages,
        "changed": changed,
        "unanswered": unanswered,
        "why": printable(why, 500),
    }
    return Put("reevaluations", "latest", fields)


def _alarm(bench: Bench, message: str, now: float) -> None:
    alarms.sound(bench.store, "no-data", "advisories", message, now, "scanner")
