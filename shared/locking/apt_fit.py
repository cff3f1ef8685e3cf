"""Whether archives that take the place of others fit a machine, and what has to move or to come with them. Pure.

https://www.debian.org/doc/debian-policy/ch-relationships.html, sections 7.1, 7.2 and 7.5, as `shared.upstream.depends`
reads them. Only what held before can be broken: a machine may live with a dependency that never held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.model.value import printable
from shared.ports.upstream import Archive
from shared.upstream.depends import Present, Relation, alternatives, from_archive, offers_to

Key = tuple[str, str]
"""(name, architecture)"""
Moved = Mapping[Key, Archive]


@dataclass(frozen=True)
class Broken:
    """A dependency that would not hold."""

    by: Key
    version: str
    clause: str

    @property
    def relations(self) -> tuple[Relation, ...]:
        return alternatives(self.clause) or ()

    def __str__(self) -> str:
        return f"{self.by[0]} {self.version} needs '{printable(self.clause, 200)}'"


@dataclass(frozen=True)
class Machine:
    """What is installed, with the stanzas that the release's indexes have of it."""

    installed: Mapping[Key, str]
    """To its version."""
    archives: Mapping[Key, tuple[Archive, ...]]

    @property
    def native(self) -> str:
        architectures = {architecture for _, architecture in self.installed} - {"all"}
        return "amd64" if "amd64" in architectures else min(architectures, default="amd64")

    def broken(self, moved: Moved) -> Broken | None:
        """The first dependency that would not hold with `moved` in place, first of what stays; None if all do."""
        before, after = list(self._present({})), list(self._present(moved))
        names = {name for name, _ in moved} | {
            name for key in moved for one in self.archives.get(key, ()) for name in _provided(one)
        }
        for key, version in sorted(self.installed.items()):
            archive = None if key in moved else self.stanza(key, version)
            for clause in _clauses(archive) if archive else ():
                relations = alternatives(clause) or ()
                own = self._own(key)
                if (
                    any(relation.name in names for relation in relations)
                    and not _holds(relations, after, own)
                    and _holds(relations, before, own)
                ):
                    return Broken(key, version, clause)
        for key, archive in sorted(moved.items()):
            for clause in _clauses(archive):
                if not _holds(alternatives(clause) or (), after, self._own(key)):
                    return Broken(key, archive.version, clause)
        return None

    def stanza(self, key: Key, version: str) -> Archive | None:
        """What the indexes say of this very version."""
        return next((one for one in self.archives.get(key, ()) if one.version == version), None)

    def offers(self, broken: Broken) -> Iterator[Archive]:
        """Archives of packages that are not there and would mend it, in the order of its alternatives, newest first."""
        own = self._own(broken.by)
        for relation in broken.relations:
            for architecture in (own, "all"):
                key = (relation.name, architecture)
                for archive in self.archives.get(key, ()) if key not in self.installed else ():
                    if offers_to(relation, [from_archive(archive)], own):
                        yield archive

    def _own(self, key: Key) -> str:
        return self.native if key[1] == "all" else key[1]

    def _present(self, moved: Moved) -> Iterator[Present]:
        for key, version in self.installed.items():
            if key not in moved:
                known = self.stanza(key, version) or next(iter(self.archives.get(key, ())), None)
                yield Present(*(key[0], version, key[1]), known.provides if known else "")
        yield from map(from_archive, moved.values())


def _clauses(archive: Archive) -> Iterator[str]:
    yield from filter(None, map(str.strip, archive.depends.split(",")))


def _provided(archive: Archive) -> Iterator[str]:
    for text in archive.provides.split(","):
        yield text.split("(")[0].strip()


def _holds(relations: tuple[Relation, ...], present: list[Present], own: str) -> bool:
    return any(offers_to(relation, present, own) for relation in relations)
