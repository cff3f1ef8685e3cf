"""The hearing: everything that is held, judged for each workload that holds it.

1. Each package is judged for every workload that holds it, by its rules and waivers; for nobody's if no run is
   remembered.
2. That nobody can judge for one workload keeps no other back, and is no answer.
3. Advisories and facts are asked once for all, what runs wait for included (`Once`): workloads differ in rules alone.
   Facts are asked of the very files that are held.
4. A wheel of one's own is judged as what it is, also where the index has a package of the same name and version, and is
   held: each has a verdict of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from shared.ports.judgement import Facts

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
    asked: frozenset[str]
    """Purls."""

    def known(self, packages: Iterable[Package], release: Release) -> Known:  # noqa: ARG002 - the port's; it is one
        purls = {package.purl for package in packages}
        findings = {purl: found for purl, found in self.known_.findings.items() if purl in purls}
        lacking = {purl: why for purl, why in self.known_.lacking.items() if purl in purls}
        lacking |= dict.fromkeys(purls - self.asked, "nobody asked what is known of it")
        return Known(findings=findings, lacking=lacking, source=self.known_.source)


@dataclass
class Once:
    """Courts that have asked together: one question about advisories for each release, and one who asks the index."""

    make: MakeCourt
    packages: Mapping[Release, Sequence[Package]]
    """All that will be judged in this refresh, what runs wait for included."""
    _asked: dict[Release, _Asked | str] = field(default_factory=dict)
    _facts: list[Facts] = field(default_factory=list)
    _made: dict[tuple[Release, str], Court] = field(default_factory=dict)

    @classmethod
    def of(cls, holdings: Holdings, make: MakeCourt) -> Once:
        found: dict[Release, dict[str, Package]] = {}
        for release, several in _shelves(holdings):
            found.setdefault(release, {}).update({each.purl: each.subject.package for each in several})
        for run in holdings.awaited:
            here = found.setdefault(run.release, {})
            here.update({each.package.purl: each.package for each in run.subjects})
        return cls(make, {release: tuple(each.values()) for release, each in found.items()})

    def court(self, release: Release, workload: str) -> Court:
        """Whatever keeps it from being made; Transient if nobody could say what is known of anything."""
        if (release, workload) not in self._made:
            court = self.make(release, workload)
            if court.facts and not self._facts:
                self._facts.append(court.facts)
            facts = self._facts[0] if self._facts else None
            advisories = self._known(court, release)
            self._made[release, workload] = replace(court, advisories=advisories, facts=facts)
        return self._made[release, workload]

    def _known(self, court: Court, release: Release) -> _Asked:
        if release not in self._asked:
            packages = self.packages.get(release, ())
            try:
                known = court.advisories.known(packages, release)
                self._asked[release] = _Asked(known, frozenset(each.purl for each in packages))
            except DmzError as error:
                self._asked[release] = str(error)
        found = self._asked[release]
        if isinstance(found, str):
            raise Transient(found)
        return found


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
    for workload in sorted({name for held in all_held for name in held.workloads or ("",)}):
        held_here = [held for held in all_held if workload in (held.workloads or ("",))]
        try:
            court = make(release, workload)
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
