"""Packages with all that they depend on, chosen from signed indexes the same way each time. Pure.

Depends and Pre-Depends, no Recommends, nothing that is only Essential. Of a package the newest version that fits is
taken. A dependency that something chosen fulfils brings nothing; else, when everything without a choice is settled,
its first alternative does: the package of that name, or of those that provide it the one with the highest priority
(policy 2.5), and of equal ones the one whose name sorts first.
Conflicts are left to whoever unpacks: two packages with one path do not go into one tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shared.errors import Permanent
from shared.model.value import printable
from shared.ports.upstream import Archive
from shared.upstream.depends import Present, Relation, alternatives, from_archive, offers_to, unmet
from shared.upstream.packages_file import Archives

_PRIORITIES = ("required", "important", "standard", "optional", "extra")


def closure(roots: Iterable[str], index: Archives, architecture: str) -> tuple[Archive, ...]:
    """`roots` and all that they need, sorted by name. Permanent with the reason if there is no such set."""
    chosen: dict[str, Archive] = {}
    for name in sorted(set(roots)):
        chosen[name] = newest(name, index, architecture)
    while True:
        open_ones = sorted(_unfulfilled(chosen.values(), architecture), key=lambda each: each[:2])
        if not open_ones:
            break
        settled = False
        for owner, clause, relations in open_ones:
            found = _candidates(relations, index, architecture)
            if not found:
                raise Permanent(
                    f"{owner} needs '{printable(clause, 200)}', which no package of the release fulfils."
                )
            if len({each.name for each in found}) == 1:
                _choose(chosen, found[0], owner, clause)
                settled = True
        if not settled:
            owner, clause, relations = open_ones[0]
            _choose(chosen, _candidates(relations, index, architecture)[0], owner, clause)
    archives = tuple(chosen[name] for name in sorted(chosen))
    if reason := unmet(archives, (), architecture):
        raise Permanent(reason)
    return archives


def newest(name: str, index: Archives, architecture: str) -> Archive:
    """The newest version of package `name`. Permanent if there is none."""
    versions = _versions(name, index, architecture)
    if not versions:
        raise Permanent(
            f"There is no package {printable(name, 100)} in the release's suites; correct the name."
        )
    return versions[0]


def _versions(name: str, index: Archives, architecture: str) -> list[Archive]:
    return [each for each in index.named(name) if each.architecture in (architecture, "all")]


def _unfulfilled(
    chosen: Iterable[Archive], architecture: str
) -> Iterator[tuple[str, str, tuple[Relation, ...]]]:
    """(package, clause, alternatives) of what nothing chosen fulfils yet."""
    machine = [from_archive(each) for each in chosen]
    by_name: dict[str, list[Present]] = {}
    for present in machine:
        names = [present.name, *(part.split("(")[0].strip() for part in present.provides.split(","))]
        for name in names:
            by_name.setdefault(name, []).append(present)
    for archive in chosen:
        for clause in filter(None, map(str.strip, archive.depends.split(","))):
            relations = alternatives(clause)
            if relations is None:
                raise Permanent(f"{archive.name} has the unreadable dependency '{printable(clause, 120)}'.")
            if not any(offers_to(each, by_name.get(each.name, ()), architecture) for each in relations):
                yield archive.name, clause, relations


def _candidates(relations: Iterable[Relation], index: Archives, architecture: str) -> list[Archive]:
    """What could fulfil one of the alternatives, best first, of each package the newest that does."""
    found = []
    for relation in relations:
        own = _newest(relation.name, relation, index, architecture)
        providers = (
            _newest(name, relation, index, architecture)
            for name in index.providing(relation.name) - {relation.name}
        )
        found += own + sorted(
            (archive for archives in providers for archive in archives),
            key=lambda archive: (_rank(archive.priority), archive.name),
        )
    return found


def _newest(name: str, relation: Relation, index: Archives, architecture: str) -> list[Archive]:
    """The newest version of package `name` that fulfils `relation`, if one does."""
    versions = _versions(name, index, architecture)
    return [each for each in versions if offers_to(relation, [from_archive(each)], architecture)][:1]


def _rank(priority: str) -> int:
    return _PRIORITIES.index(priority) if priority in _PRIORITIES else len(_PRIORITIES)


def _choose(chosen: dict[str, Archive], archive: Archive, owner: str, clause: str) -> None:
    before = chosen.setdefault(archive.name, archive)
    if before != archive:
        raise Permanent(
            f"{owner} needs '{printable(clause, 200)}', and {before.name} {before.version} was chosen already: the "
            "release's suites do not fit together at the moment; try again later."
        )
