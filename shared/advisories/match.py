"""Advisories to findings: which packages are touched, how badly, and what ends it. Pure.

1. A Python package is looked up by its normalized name, a Debian or Ubuntu package by its source package and source
   version in exactly its release.
2. Withdrawn records do not count.
3. Records of one flaw (aliases, also through a third id) are one finding.
4. A flaw counts as soon as one of its records says so; what cannot be decided is a finding too, never clean.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Any

from shared.advisories.osv import Affected, Record, normal_name
from shared.advisories.ranges import Answer, Entry, Given
from shared.advisories.severity import Rating, highest
from shared.advisories.versions import DEBIAN, PEP440, Scheme
from shared.model.package import Package, Release
from shared.model.verdict import Finding

_KNOWN_FIRST = ("GHSA-", "PYSEC-", "CVE-")


@dataclass(frozen=True)
class Query:
    """A package under the name, version and ecosystem that advisories use for it."""

    ecosystem: str
    """`PyPI`, or release-scoped as in `Debian:13`."""
    name: str
    version: str

    @property
    def scheme(self) -> Scheme:
        return PEP440 if self.ecosystem == "PyPI" else DEBIAN


def query(package: Package, release: Release) -> Query | None:
    """What to look up for `package`; None for a file fetched by URL, of which no advisory knows."""
    if package.ecosystem == "pypi":
        return Query("PyPI", normal_name("PyPI", package.name), package.version)
    if package.ecosystem == "debian":
        # Debian policy 5.6.1: without a Source field, the source has the binary's name and version.
        return Query(
            release.osv_ecosystem,
            package.source_name or package.name,
            package.source_version or package.version,
        )
    return None


def scope(ecosystem: str) -> str:
    """OSV's name of a release without the `:LTS` that some records have; `Ubuntu:Pro:…` stays apart by its name."""
    return ecosystem.removesuffix(":LTS")


def concerns(ecosystem: str, wanted: str) -> bool:
    """True if an entry of `ecosystem` is about `wanted`, or names a distribution without saying which release."""
    return scope(ecosystem) == wanted or (ecosystem == wanted.split(":")[0])


def match(
    packages: Iterable[Package], release: Release, records: Iterable[Record]
) -> Mapping[str, tuple[Finding, ...]]:
    """Findings by purl, sorted by id; a purl that nothing is known against is absent."""
    packages = tuple(packages)
    asked = {package.purl: query(package, release) for package in packages}
    said = _said({wanted for wanted in asked.values() if wanted is not None}, records)
    known = {wanted: _findings(wanted, found) for wanted, found in said.items()}
    answers = ((purl, known.get(wanted, ()) if wanted else ()) for purl, wanted in asked.items())
    return {purl: findings for purl, findings in answers if findings}


@dataclass(frozen=True)
class _Entry:
    """What one `affected` entry of a record comes to."""

    answer: Answer
    fixes: frozenset[str]
    ratings: tuple[Rating, ...]


@dataclass(frozen=True)
class _Said:
    """What one record says about a package, without what it was read from: some records list 10,000 versions."""

    record: Record
    """Without its entries."""
    entries: tuple[_Entry, ...]


@dataclass(frozen=True)
class Records:
    """Ids of the records about one package, as the database writes them."""

    affected: tuple[str, ...]
    undecided: tuple[str, ...]
    """Those of flaws of which none of their records could be decided to touch the package."""


def records_about(wanted: Collection[Query], records: Iterable[Record]) -> Mapping[Query, Records]:
    """As `match`, but record by record: what a finding sums up under its best-known name."""
    said = _said(wanted, records, with_fixes=False)
    return {one: _records(said.get(one, [])) for one in wanted}


def _records(said: list[_Said]) -> Records:
    if all(entry.answer.affected in ("yes", "no") for one in said for entry in one.entries):
        # Twins matter to what could not be decided only, and that is rare.
        touching = [one.record.id for one in said if any(e.answer.affected == "yes" for e in one.entries)]
        return Records(tuple(sorted(touching)), ())
    affected: list[str] = []
    undecided: list[str] = []
    for group in _groups(said):
        kinds = {one.record.id: {entry.answer.affected for entry in one.entries} for one in group}
        touching = [id for id, found in kinds.items() if "yes" in found]
        affected += touching
        if touching:
            continue
        silent = not any("no" in found for found in kinds.values())  # as in `_finding`
        undecided += [
            id for id, found in kinds.items() if "undecided" in found or ("silent" in found and silent)
        ]
    return Records(tuple(sorted(affected)), tuple(sorted(undecided)))


def _findings(wanted: Query, said: list[_Said]) -> tuple[Finding, ...]:
    findings = (_finding(wanted, group) for group in _groups(said))
    return tuple(sorted((found for found in findings if found is not None), key=lambda found: found.id))


def _said(
    queries: Collection[Query], records: Iterable[Record], with_fixes: bool = True
) -> dict[Query, list[_Said]]:
    """What the records say about each package, by id of record; each record is let go once it was asked."""
    by_name: dict[str, list[tuple[Query, Given]]] = defaultdict(list)
    for wanted in queries:
        by_name[wanted.name].append((wanted, Given(wanted.scheme, wanted.version)))
    said: dict[Query, list[_Said]] = defaultdict(list)
    for record in records:
        if record.withdrawn:
            continue
        found: dict[Query, tuple[_Entry, ...]] = {}
        # Thousands of versions get one of few answers: equal ones are one object.
        same: dict[object, Any] = {}
        for affected in record.affected:
            asked = by_name.get(affected.name, ())
            entry: Entry | None = None
            for wanted, given in asked:
                if not concerns(affected.ecosystem, wanted.ecosystem):
                    continue
                if entry is None:
                    entry = Entry(wanted.scheme, affected, len(asked))
                answer = _answer(wanted, record, affected, entry.answer(given))
                fixes = entry.fixes(given) if with_fixes else frozenset()
                one = _Entry(answer, fixes, affected.ratings)
                if len(asked) > 1:
                    one = same.setdefault(one, one)
                found[wanted] = (*found.get(wanted, ()), one)
        bare = _bare(record) if found else record
        for wanted, entries in found.items():
            said[wanted].append(same.setdefault(entries, _Said(bare, entries)))
    return {wanted: sorted(all_of, key=lambda one: one.record.id) for wanted, all_of in said.items()}


def _bare(record: Record) -> Record:
    # Field by field: dataclasses.replace takes five times as long, and there are thousands.
    return Record(
        record.id, record.aliases, record.withdrawn, record.summary, record.ratings, (), record.problem
    )


def _answer(wanted: Query, record: Record, affected: Affected, answer: Answer) -> Answer:
    if answer.affected != "yes" and record.problem:
        return Answer("undecided", record.problem)
    if scope(affected.ecosystem) != wanted.ecosystem:
        return Answer("undecided", f"it names {affected.ecosystem} without a release")
    return answer


def _groups(said: list[_Said]) -> list[list[_Said]]:
    """Records that share an id, directly or through each other, in order of first appearance."""
    if len(said) == 1:
        return [said]
    leader: dict[str, str] = {}

    def find(id: str) -> str:
        while (above := leader.setdefault(id, id)) != id:
            leader[id] = leader[above]  # halves the way: a chain of aliases may be long
            id = above
        return id

    for one in said:
        for alias in one.record.aliases:
            leader[find(alias)] = find(one.record.id)
    groups: dict[str, list[_Said]] = defaultdict(list)
    for one in said:
        groups[find(one.record.id)].append(one)
    return list(groups.values())


def _finding(wanted: Query, group: list[_Said]) -> Finding | None:
    """The group's finding; None if the package is not affected."""
    kinds = {entry.answer.affected for one in group for entry in one.entries}
    if "yes" not in kinds and "undecided" not in kinds and "no" in kinds:
        return None  # a record without any versions adds nothing to a twin that has them
    undecided = ""
    if "yes" not in kinds:
        undecided = next(
            f"{one.record.id}: {entry.answer.reason}"
            for one in group
            for entry in one.entries
            if entry.answer.affected == "undecided" or "undecided" not in kinds
        )
    touching = [(one, entry) for one in group for entry in one.entries if entry.answer.affected != "no"]
    names = sorted({name for one in group for name in (one.record.id, *one.record.aliases)}, key=_fame)
    severity, score = highest(
        rating
        for one in group
        for rated in (one.record.ratings, *(entry.ratings for entry in one.entries))
        for rating in rated
    )
    summaries = sorted((_fame(one.record.id), one.record.summary) for one in group if one.record.summary)
    return Finding(
        id=names[0],
        aliases=tuple(sorted(names[1:])),
        severity=severity,
        score=score,
        fixed=_sorted(wanted.scheme, {fix for _, entry in touching for fix in entry.fixes}),
        malicious=any(one.record.malicious for one, _ in touching),
        summary=summaries[0][1] if summaries else "",
        undecided=undecided,
    )


def _fame(id: str) -> tuple[int, str]:
    place = next((i for i, prefix in enumerate(_KNOWN_FIRST) if id.startswith(prefix)), len(_KNOWN_FIRST))
    return place, id


def _sorted(scheme: Scheme, versions: set[str]) -> tuple[str, ...]:
    """In the ecosystem's order; what cannot be ordered comes last."""
    if len(versions) < 2:
        return tuple(versions)

    def order(left: str, right: str) -> int:
        a, b = scheme.parse(left), scheme.parse(right)
        if a is None or b is None:
            return (a is None) - (b is None)
        return scheme.compare(a, b)

    return tuple(sorted(sorted(versions), key=cmp_to_key(order)))
