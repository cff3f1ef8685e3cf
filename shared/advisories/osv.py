"""Reads OSV records (https://ossf.github.io/osv-schema/): leniently, but what cannot be read is never dropped.

What is wrong with a part of a record becomes its `problem`, a sentence part that ends up in an undecided finding.
Only a record that does not even say which packages it is about is Permanent: nobody can tell whom it touches.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from packaging.utils import canonicalize_name

from shared.advisories.severity import UNRATED, Rating, rate, word
from shared.errors import Permanent
from shared.model.value import printable

_EVENTS = ("introduced", "fixed", "last_affected", "limit")
_SUMMARY = 200
_MAX_ID = 100
"""Characters of a record's id; real ones have some 20."""
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T", re.ASCII)
"""How an RFC 3339 date begins."""


class Event(NamedTuple):
    """One end of a range: `introduced`, `fixed`, `last_affected` or `limit`, at a version as written."""

    kind: str
    version: str


@dataclass(frozen=True)
class Range:
    """Events in the order in which the record has them."""

    events: tuple[Event, ...]
    problem: str = ""


@dataclass(frozen=True)
class Affected:
    """What a record says about one package. GIT ranges are left out: they are about commits, not versions."""

    ecosystem: str
    name: str
    ranges: tuple[Range, ...]
    versions: tuple[str, ...]
    ratings: tuple[Rating, ...]
    problem: str = ""


@dataclass(frozen=True)
class Record:
    """One advisory, reduced to what judgement needs."""

    id: str
    aliases: frozenset[str]
    """Ids of the same flaw, without its own."""
    withdrawn: bool
    summary: str
    ratings: tuple[Rating, ...]
    """By each of its scores, and by GitHub's textual severity."""
    affected: tuple[Affected, ...]
    problem: str = ""

    @property
    def malicious(self) -> bool:
        """https://github.com/ossf/malicious-packages gives its reports ids that begin with MAL-."""
        return self.id.startswith("MAL-")


def normal_name(ecosystem: str, name: str) -> str:
    """PyPI's names are equal after normalization (PEP 503); Debian's and Ubuntu's are as they are.

    PyPI has ASCII names only: lower case would turn the sign for kelvin into the letter k, which is another name.
    """
    return canonicalize_name(name) if ecosystem == "PyPI" and name.isascii() else name


@dataclass(frozen=True)
class About:
    """Whom a record of an ecosystem's zip touches, as far as that can be read."""

    names: frozenset[str]
    """Normalized names of the packages of that ecosystem."""
    problem: str = ""
    """Why nothing else of it can be used, as a sentence part; empty for a record."""
    anybody: bool = False
    """It may be about any package of the ecosystem."""


def about(record: Any, ecosystem: str) -> About:
    """Whom a parsed JSON record touches. It never raises: what cannot be read may touch whom it does not exclude."""
    if not isinstance(record, dict):
        return About(frozenset(), "it is no JSON object", anybody=True)
    id = record.get("id")
    problem = "" if isinstance(id, str) and 0 < len(id) <= _MAX_ID else "it has no id that anybody would give"
    affected = record.get("affected")
    if affected is None:
        return About(frozenset(), problem, anybody=bool(problem))
    if not isinstance(affected, list):
        return About(frozenset(), "its 'affected' is not a list", anybody=True)
    names: set[str] = set()
    anybody = False
    for entry in affected:
        package = entry.get("package") if isinstance(entry, dict) else entry
        if package is None and isinstance(entry, dict):
            continue  # about commits of a repository
        found, name = (
            (package.get("ecosystem"), package.get("name")) if isinstance(package, dict) else (None, None)
        )
        if isinstance(found, str) and found.partition(":")[0] != ecosystem:
            continue
        if not isinstance(found, str) or not isinstance(name, str):
            problem = "a package of it has no readable name"
        if isinstance(name, str):
            names.add(normal_name(ecosystem, name))
        else:
            anybody = True
    return About(frozenset(names), problem, anybody)


def named(record: Any, where: str) -> Iterator[tuple[str, str]]:
    """(ecosystem, normalized name) of every package that a parsed JSON record is about; Permanent if unreadable.

    An `affected` entry without `package` is about commits of a repository and names nothing.
    """
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        raise Permanent(f"{where} is not an OSV record: it has no id. Fetch the advisories again.")
    if not isinstance(affected := record.get("affected") or [], list):
        raise Permanent(f"{where}: 'affected' is not a list, so whom it touches is unknown. Fetch it again.")
    for entry in affected:
        package = entry.get("package") if isinstance(entry, dict) else entry
        if package is None and isinstance(entry, dict):
            continue
        ecosystem, name = (
            (package.get("ecosystem"), package.get("name")) if isinstance(package, dict) else (None, None)
        )
        if not isinstance(ecosystem, str) or not isinstance(name, str):
            raise Permanent(f"{where}: a package has no readable name. Fetch the advisories again.")
        yield ecosystem, normal_name(ecosystem, name)


def read(record: Any, where: str, wanted: Callable[[str, str], bool]) -> Record:
    """The record, with those `affected` entries only whose (ecosystem, name) is wanted."""
    names = list(named(record, where))
    entries = [entry for entry in record.get("affected") or [] if entry.get("package") is not None]
    problem = ""
    version = record.get("schema_version", "1.0.0")
    if not isinstance(version, str) or version.split(".")[0] != "1":
        problem = f"its schema version {printable(str(version), 20)} is not one that is understood"
    withdrawn = record.get("withdrawn")
    if withdrawn and not (isinstance(withdrawn, str) and _MOMENT.match(withdrawn)):
        withdrawn, problem = None, "whether it is withdrawn cannot be read"
    specific = record.get("database_specific")
    textual = specific.get("severity") if isinstance(specific, dict) else None
    said = ((word(textual), None),) if isinstance(textual, str) and textual else ()
    return Record(
        id=record["id"],
        aliases=_aliases(record),
        withdrawn=bool(withdrawn),
        summary=_summary(record),
        ratings=(*_ratings(record.get("severity")), *said),
        affected=tuple(
            _affected(entry, ecosystem, name)
            for entry, (ecosystem, name) in zip(entries, names, strict=True)
            if wanted(ecosystem, name)
        ),
        problem=problem,
    )


def _aliases(record: dict[str, Any]) -> frozenset[str]:
    """`aliases`, and the CVE that a distribution's own record of one CVE is named after.

    `upstream` is no alias: one Debian advisory may have twenty.
    """
    found = record.get("aliases")
    ids = (
        {alias for alias in found if isinstance(alias, str) and len(alias) <= _MAX_ID}
        if isinstance(found, list)
        else set()
    )
    for prefix in ("DEBIAN-", "UBUNTU-"):
        if record["id"].startswith(prefix + "CVE-"):
            ids.add(record["id"].removeprefix(prefix))
    return frozenset(ids - {record["id"]})


def _summary(record: dict[str, Any]) -> str:
    for field in ("summary", "details"):
        text = record.get(field)
        if isinstance(text, str) and text.strip():
            return printable(" ".join(text[: 4 * _SUMMARY].split()), _SUMMARY)
    return ""


def _ratings(found: Any) -> tuple[Rating, ...]:
    """What the (type, score) pairs come to; what is not such a pair counts as one that nobody can rate."""
    if found is None:
        return ()
    if not isinstance(found, list):
        return (UNRATED,)
    rated = (
        rate(entry["type"], entry["score"])
        if isinstance(entry, dict)
        and isinstance(entry.get("type"), str)
        and isinstance(entry.get("score"), str)
        else UNRATED
        for entry in found
    )
    return tuple(rating for rating in rated if rating is not None)


def _affected(entry: dict[str, Any], ecosystem: str, name: str) -> Affected:
    ranges, versions = entry.get("ranges") or [], entry.get("versions") or []
    problem = ""
    if not isinstance(ranges, list):
        ranges, problem = [], "its ranges are not a list"
    if not isinstance(versions, list) or not set(map(type, versions)) <= {str}:
        versions, problem = [], "its versions are not a list of strings"
    return Affected(
        ecosystem=ecosystem,
        name=name,
        ranges=tuple(read_range for found in ranges if (read_range := _range(found)) is not None),
        versions=tuple(versions),
        ratings=_ratings(entry.get("severity")),
        problem=problem,
    )


def _range(found: Any) -> Range | None:
    """None for a GIT range."""
    kind = found.get("type") if isinstance(found, dict) else None
    if kind == "GIT":
        return None
    if kind not in ("ECOSYSTEM", "SEMVER"):
        return Range((), f"a range of type {printable(str(kind), 40)} is not understood")
    written = found.get("events")
    if not isinstance(written, list) or not written:
        return Range((), "a range has no events")
    events: list[Event] = []
    for event in written:
        if isinstance(event, dict) and len(event) == 1:  # as nearly all are
            ((name, version),) = event.items()
            if name in _EVENTS and isinstance(version, str):
                events.append(Event(name, version))
                continue
        if not isinstance(event, dict) or not event or not all(isinstance(v, str) for v in event.values()):
            return Range((), "an event of a range is not readable")
        if unknown := sorted(set(event) - set(_EVENTS)):
            return Range((), f"an event '{printable(str(unknown[0]), 40)}' is not understood")
        events += [Event(kind, event[kind]) for kind in _EVENTS if kind in event]
    if not any(event.kind == "introduced" for event in events):
        return Range((), "a range does not say where it begins")
    return Range(tuple(events))
