"""The hearing: everything that is held, judged for each workload that holds it.

1. Each package is judged for every workload that holds it, by its rules and waivers; for nobody's if no run is
   remembered.
2. That nobody can judge for one workload keeps no other back, and is no answer.
3. Advisories and facts are asked once, and about the very files that are held: workloads differ in rules alone.
4. A wheel of one's own is judged as what it is, also where the index has a package of the same name and version, and is
   held: each has a verdict of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from shared.errors import DmzError, Transient
from shared.judgement import Court
from shared.model.case import Case, Subject
from shared.model.holdings import Held, Holdings
from shared.model.package import Package, Release, key_of
from shared.model.verdict import Known, Verdict
from shared.policy import lacking as want
from shared.policy.bench import bench as bench_of
from shared.policy.judge import judge_all

MakeCourt = Callable[[Release, str], Court]
"""(release, name of a workload or nothing) to who judges it."""


@dataclass(frozen=True)
class Session:
    """What was judged at once, for one workload."""

    workload: str
    case: Case
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Unheard:
    """Nobody could judge for one workload."""

    workload: str
    keys: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Answer:
    """What one workload's rules say of one package."""

    verdict: Verdict
    session: Session


@dataclass
class Answers:
    """All that is said of one package, by workload."""

    given: dict[str, Answer] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)
    """Why there is no answer."""


@dataclass
class _Asked:
    """Advisories of all packages, asked once: the workloads differ in rules, not in what is known."""

    known_: Known

    def known(self, packages: Iterable[Package], release: Release) -> Known:  # noqa: ARG002 - the port's; it is one
        purls = {package.purl for package in packages}
        findings = {purl: found for purl, found in self.known_.findings.items() if purl in purls}
        lacking = {purl: why for purl, why in self.known_.lacking.items() if purl in purls}
        return Known(findings=findings, lacking=lacking, source=self.known_.source)


def sessions(holdings: Holdings, make: MakeCourt) -> list[Session | Unheard]:
    """What is said of all that is held."""
    return [each for shelf in _shelves(holdings) for each in _sessions(shelf, make)]


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


def _sessions(shelf: tuple[Release, list[Held]], make: MakeCourt) -> Iterator[Session | Unheard]:  # 1
    """One for each workload; that nobody can judge for one of them keeps no other back."""
    release, all_held = shelf
    packages = [held.subject.package for held in all_held]
    first: Court | None = None
    dark = ""
    for workload in sorted({name for held in all_held for name in held.workloads or ("",)}):
        held_here = [held for held in all_held if workload in (held.workloads or ("",))]
        try:
            court = make(release, workload)
            # Neither advisories nor facts are asked for twice: workloads differ in rules alone.
            if first is None and not dark:
                try:
                    first = replace(court, advisories=_Asked(court.advisories.known(packages, release)))
                except DmzError as error:
                    dark = str(error)
            if first is None:
                raise Transient(dark)
            court = replace(court, advisories=first.advisories, facts=first.facts)
            cases = [court.case([_very(held) for held in some]) for some in _apart(held_here)]
        except DmzError as error:  # 2
            yield Unheard(workload, tuple(held.key for held in held_here), str(error).rstrip("."))
        else:
            yield from (Session(workload, case, judge_all(case)) for case in cases)


def _apart(several: Sequence[Held]) -> Iterator[list[Held]]:  # 4
    """Parts in which no purl stands twice."""
    indexed = {held.purl for held in several if not held.subject.own_wheel}
    twice = {held.key for held in several if held.subject.own_wheel and held.purl in indexed}
    yield [held for held in several if held.key not in twice]
    if twice:
        yield [held for held in several if held.key in twice]


def _very(held: Held) -> Subject:
    """The package as the very files that are held; what a stray's name says that it is may be none of the index's."""
    indexed = held.subject.package.ecosystem == "pypi" and not (held.stray or held.subject.own_wheel)
    files = {file.sha256 for file in held.files if indexed}
    return held.subject.model_copy(update={"files": tuple(sorted(files))})


def answers(sessions: Sequence[Session | Unheard]) -> dict[str, Answers]:
    """By key."""
    answers: dict[str, Answers] = {}
    for session in sessions:
        if isinstance(session, Unheard):
            for key in session.keys:
                answers.setdefault(key, Answers()).lacking[session.workload] = session.why
            continue
        subjects = {subject.package.purl: subject for subject in session.case.subjects}
        catalogues = bench_of(session.case).catalogues
        for verdict in session.verdicts:
            about = subjects[verdict.package.purl]
            found = answers.setdefault(key_of(verdict.package.purl, about.own_wheel), Answers())
            if lacks := want.why(verdict, about, catalogues):
                found.lacking[session.workload] = lacks
            else:
                found.given[session.workload] = Answer(verdict, session)
    return answers
