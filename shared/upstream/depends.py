"""Whether what a set of archives depends on would be there. Pure.

https://www.debian.org/doc/debian-policy/ch-relationships.html, sections 7.1, 7.2 and 7.5. Depends and Pre-Depends with
versions, alternatives, virtual packages and architecture qualifiers; conflicts are left to apt.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.model import debian_version
from shared.model.value import printable
from shared.ports.upstream import Archive
from shared.upstream.packages_file import Archives

_RELATION = re.compile(
    r"([a-z0-9][a-z0-9+.-]+)(?::([a-z0-9-]+))?(?:\s*\(\s*(<<|<=|=|>=|>>)\s*([^\s()]+)\s*\))?", re.ASCII
)


@dataclass(frozen=True)
class Present:
    """One package that would be on the machine."""

    name: str
    version: str
    architecture: str
    provides: str = ""


@dataclass(frozen=True)
class Relation:
    """One alternative of a dependency."""

    name: str
    qualifier: str
    operator: str
    version: str


def from_archive(archive: Archive) -> Present:
    return Present(archive.name, archive.version, archive.architecture, archive.provides)


def installed(packages: Mapping[tuple[str, str], str], indexes: Iterable[Archives]) -> list[Present]:
    """(name, architecture) to version of what is installed; what it provides is taken from the indexes.

    Where they no longer have the installed version, the newest one stands in: what a package provides rarely changes
    within a release.
    """
    known = list(indexes)
    present = []
    for (name, architecture), version in packages.items():
        same = [one for index in known for one in index.named(name) if one.architecture == architecture]
        exact = [one for one in same if one.version == version] or same[:1]
        present.append(Present(name, version, architecture, exact[0].provides if exact else ""))
    return present


def unmet(archives: Sequence[Archive], present: Iterable[Present], native: str) -> str:
    """The first dependency of `archives` that would not be there, as a sentence; empty if all hold.

    `present`: everything else on the machine; an archive takes the place of the package of its name and architecture.
    `native`: the machine's architecture, like amd64.
    """
    machine = {(one.name, one.architecture): one for one in present}
    machine |= {(one.name, one.architecture): from_archive(one) for one in archives}
    offers = _offers(machine.values())
    for archive in archives:
        own = native if archive.architecture == "all" else archive.architecture
        for clause in filter(None, map(str.strip, archive.depends.split(","))):
            relations = alternatives(clause)
            if relations is None:
                return f"{archive.name} {archive.version} has the unreadable dependency '{printable(clause, 120)}'."
            if not any(_holds(relation, offers, own) for relation in relations):
                there = ", ".join(
                    f"{name} {version or '(virtual)'}"
                    for relation in relations
                    for name, version, _ in sorted(offers.get(relation.name, ()))
                )
                return (
                    f"{archive.name} {archive.version} ({archive.architecture}) needs '{printable(clause, 200)}', and "
                    f"{'there would be only ' + there if there else 'nothing of that name would be there'}."
                )
    return ""


def alternatives(clause: str) -> tuple[Relation, ...] | None:
    """The alternatives of one dependency, as they stand; None if one of them is unreadable."""
    matches = [_RELATION.fullmatch(text.strip()) for text in clause.split("|")]
    relations = tuple(Relation(*(part or "" for part in match.groups())) for match in matches if match)
    return relations if len(relations) == len(matches) else None


def offers_to(relation: Relation, machine: Iterable[Present], own: str) -> bool:
    """Whether one of `machine` is what `relation`, of a package for the architecture `own`, asks for."""
    return _holds(relation, _offers(machine), own)


_Offer = tuple[str, str, str]
"""Name of the package that offers it, version (empty if the offer has none), architecture."""


def _offers(machine: Iterable[Present]) -> dict[str, list[_Offer]]:
    offers: dict[str, list[_Offer]] = {}
    for one in machine:
        offers.setdefault(one.name, []).append((one.name, one.version, one.architecture))
        for text in one.provides.split(","):
            match = _RELATION.fullmatch(text.strip())
            # Only an exact version may be provided (policy 7.5); anything else offers nothing.
            if match and match[3] in (None, "="):
                offers.setdefault(match[1], []).append((one.name, match[4] or "", one.architecture))
    return offers


def _holds(relation: Relation, offers: dict[str, list[_Offer]], own: str) -> bool:
    for _, version, architecture in offers.get(relation.name, ()):
        wanted = relation.qualifier or own
        if wanted != "any" and architecture not in (wanted, "all"):
            continue
        if not relation.operator or (version and _compares(version, relation.operator, relation.version)):
            return True
    return False


def _compares(version: str, operator: str, wanted: str) -> bool:
    try:
        order = debian_version.compare(version, wanted)
    except ValueError:
        return False
    return {"<<": order < 0, "<=": order <= 0, "=": order == 0, ">=": order >= 0, ">>": order > 0}[operator]
