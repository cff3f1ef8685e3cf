"""What both the scanner and the sync stage need to judge: the policy, the advisories, and where verdicts are kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from shared import logs
from shared.advisories import joined
from shared.advisories.api import OsvApi
from shared.advisories.match import query
from shared.advisories.zips import ZipAdvisories
from shared.events import timestamp
from shared.model.apt_source import AptPin
from shared.model.case import Case, FactKind, Subject
from shared.model.case import Facts as Said
from shared.model.package import Ecosystem, Package, Release
from shared.model.policy import Policy
from shared.model.value import sha256
from shared.model.verdict import Finding, Verdict
from shared.model.waiver import Waiver
from shared.policy.blame import blames
from shared.policy.docket import Docket
from shared.policy.judge import judge_all
from shared.policy.need import Way
from shared.policy.read import find
from shared.policy.wants import asks_for
from shared.ports.judgement import Advisories, Facts
from shared.ports.store import Document
from shared.settings import Settings

_SHOWN = 100
"""Findings that a verdict's document shows."""
_ROOM = 256 * 1024
"""Bytes that they may have together."""
Replaced = Mapping[str, Sequence[Finding]]
"""Name of a package to what was found in the version that is to be replaced."""


def advisories(settings: Settings, stage: str = "") -> Advisories:
    """The advisory source that the settings name, joined with what is exploited; nothing is read before the first
    question. `stage` stands in what is logged where the data about exploitation is not at hand."""

    def tell(message: str, warning: bool) -> None:
        logs.line("data-lacking", "WARNING" if warning else "INFO", message, stage)

    if settings.advisories.startswith(("https://", "http://")):
        return joined.Joined(OsvApi(settings.advisories), *joined.official(settings.kev, settings.epss), tell)
    directory = Path(settings.advisories)
    zips = ZipAdvisories(directory, source=settings.advisories_name or settings.advisories)
    return joined.Joined(zips, *joined.beside(directory, settings.kev, settings.epss), tell)


def policy(settings: Settings) -> Callable[[], Policy]:
    """Reads the policy anew for every event: a mistake in it fails that run with a sentence, not the service."""
    return lambda: find(settings.policy)


@dataclass(frozen=True)
class Court:
    """Judges packages of one machine: advisories and facts make a case, the policy decides it."""

    advisories: Advisories
    policy: Policy
    release: Release
    now: float
    workload: str = ""
    """Name of the workload whose rules and waivers count."""
    waivers: tuple[Waiver, ...] = ()
    docket: Docket = field(default_factory=Docket)
    """Every case that `judge` has judged, for whoever stores them."""
    facts: Facts | None = None
    """What the index says of versions; without it all that the policy asks of it is lacking."""
    needed: Mapping[tuple[Ecosystem, str], Way] = field(default_factory=dict)
    """Ecosystem and name of a package to the way by which the workload needs it; what replaces it has the same."""
    apt_pins: Mapping[str, AptPin] = field(default_factory=dict)
    """Name of a Debian package to the repository that it comes from, if that is not the distribution's."""

    def case(self, subjects: Sequence[Subject], replaces: Replaced | None = None) -> Case:
        """All that is known of the packages; `replaces` as in `packages`."""
        # What nobody can read has a name that nobody has: nobody is asked about it.
        packages = [subject.package for subject in subjects if not subject.unreadable]
        known = self.advisories.known(packages, self.release)
        wanted = asks_for(self.policy, self.workload)
        said = self._said(subjects, wanted)
        case = Case(
            at=timestamp(self.now),
            workload=self.workload,
            policy=self.policy,
            source=known.source,
            subjects=tuple(said),
            findings=dict(known.findings),
            lacking=dict(known.lacking),
            waivers=self.waivers,
            asked=tuple(sorted(wanted)),
        )
        return _mending(case, self.release, replaces) if replaces else case

    def _said(self, subjects: Sequence[Subject], wanted: Collection[FactKind]) -> list[Subject]:
        """The subjects with what the index says of them.

        1. It is asked only for what came from it: of a wheel of one's own it must not even hear the name, and what it
        has under the name of something from elsewhere is something else. 2. Nobody there to ask is lacking, not good.
        3. Of what is held it is asked for the very files: a wheel that is added to a version of years ago is none of
        them, and what was admitted is not as young as that.
        """
        indexed = [each for each in subjects if wanted and _from_index(each)]  # 1
        asked = [each.package for each in indexed]
        files = {each.package.purl: each.files for each in indexed if each.files}  # 3
        found = self.facts.of(asked, wanted, files) if self.facts and asked else {}

        def about(subject: Subject) -> Said:
            if _from_index(subject) and wanted:
                return found.get(subject.package.purl, Said(lacking="nobody asked the index about it"))  # 2
            return Said(lacking="it did not come from the index" if subject.direct_url and wanted else "")

        return [subject.model_copy(update={"facts": about(subject)}) for subject in subjects]

    def judge(self, subjects: Sequence[Subject], replaces: Replaced | None = None) -> tuple[Verdict, ...]:
        case = self.case(subjects, replaces)
        self.docket.add(case)
        return judge_all(case)

    def packages(
        self, packages: Sequence[Package], is_source: bool, replaces: Replaced | None = None
    ) -> tuple[Verdict, ...]:
        """Verdicts about packages, in the order of the packages.

        `replaces`: by name, what was found in the version whose place they are to take.
        """
        verdicts = self.judge(
            [
                Subject(
                    package=each,
                    is_sdist=is_source,
                    needed_by=self.needed.get((each.ecosystem, each.name), ()),
                    apt_source=self.apt_pins.get(each.name) if each.ecosystem == "debian" else None,
                )
                for each in packages
            ],
            replaces,
        )
        found = {verdict.package.purl: verdict for verdict in verdicts}
        return tuple(found[package.purl] for package in packages)


def _from_index(subject: Subject) -> bool:
    elsewhere = subject.own_wheel or subject.direct_url or subject.unreadable
    return subject.package.ecosystem == "pypi" and not elsewhere


def _mending(case: Case, release: Release, replaces: Replaced) -> Case:
    """With the advisories that what is replaced has, and whose fix the package in its place is by their own words.

    1. Nothing is mended by a package of which nobody can tell what is known. 2. A flaw that is found, or cannot be
    ruled out, under any of its names is not mended. 3. Malware is not: what its author uploads next is no mending.
    4. Nor is a flaw by any version but the one that its advisory names as the fix: whatever is numbered above it, an
    upload of a minute ago, has been named by nobody.
    5. Nor is one for which the policy does not refuse what is replaced: then there is no hurry.
    """
    blamed = blames(case)

    def mends(subject: Subject) -> tuple[str, ...]:
        package = subject.package
        has = {name for f in case.findings.get(package.purl, ()) for name in (f.id, *f.aliases)}  # 2
        ids = {
            finding.id
            for finding in replaces[package.name]
            if not (finding.malicious or finding.undecided or has & {finding.id, *finding.aliases})  # 3
            and _is_fix(finding, package, release)  # 4
            and blamed(package, finding)  # 5
        }
        return tuple(sorted(ids))

    subjects = [
        subject.model_copy(update={"mends": mends(subject)})
        if subject.package.name in replaces and subject.package.purl not in case.lacking  # 1
        else subject
        for subject in case.subjects
    ]
    return case.model_copy(update={"subjects": tuple(subjects)})


def _is_fix(finding: Finding, package: Package, release: Release) -> bool:
    """Whether the version is one of the finding's fixes; what cannot be ordered for sure is none.

    `1.1+cpu` is a build of 1.1, whose fix it has: no index of the public takes a local label.
    """
    if not finding.fixed or (asked := query(package, release)) is None:
        return False
    scheme = asked.scheme
    here = scheme.parse(asked.version)
    if here is None or here.loose:
        return False
    fixes = [point for fixed in finding.fixed if (point := scheme.parse(fixed)) and not point.loose]
    return any(scheme.compare(fix, form) == 0 for fix in fixes for form in scheme.forms(here))


def documents(run_id: str, verdicts: Iterable[Verdict]) -> dict[str, Document]:
    """One document per verdict under a content-derived name: a redelivery writes the same ones again."""
    result: dict[str, Document] = {}
    for verdict in verdicts:
        name, shown = sha256(f"{run_id} {verdict.package.purl}".encode())[7:39], _shown(verdict)
        result[name] = {
            "run_id": run_id,
            "purl": verdict.package.purl,
            "ecosystem": verdict.package.ecosystem,
            "decision": verdict.decision,
            "reason": verdict.reason,
            "advisories": [finding.id for finding in shown],
            "findings": len(verdict.findings),
            "verdict": verdict.model_copy(update={"findings": shown}).model_dump(mode="json"),
        }
    return result


def _shown(verdict: Verdict) -> tuple[Finding, ...]:
    """The first findings, as many as there is room for.

    A kernel has thousands, and one record may list as many fixes; a document ends at 1 MiB. The stored verdicts hold
    them all.
    """
    first = verdict.findings[:_SHOWN]
    sizes = accumulate(len(finding.canonical()) for finding in first)
    return tuple(finding for finding, size in zip(first, sizes, strict=True) if size <= _ROOM)
