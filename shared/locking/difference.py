"""The difference that a lock makes, for people: what changed, from what to what, why, and who needs it. Pure.

One form for the run's summary, its report, its document and `./dmz lock diff`. Of hundreds of changes the ones that
were refused come first, then what moved along, then what came and went; binaries of one Debian source are one row, and
so is a package that changes alike in several environments.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from shared.locking.changes import few
from shared.model.lock import Change, Lock, LockedPython
from shared.model.value import printable

Kind = Literal["replaced", "moved", "changed", "rebuilt", "added", "dropped"]
TITLES: dict[Kind, str] = {
    "replaced": "refused and replaced",
    "moved": "moved along",
    "changed": "in another version",
    "rebuilt": "in the same version from another file",
    "added": "added",
    "dropped": "dropped",
}
_ECOSYSTEMS = ("pypi", "debian", "generic")
_ROWS = 100
"""Rows that a run's document holds; the lock holds them all."""
_EACH = 20
"""Names of one kind in such a row."""
_REASON = 500
"""Characters of its reason."""


@dataclass(frozen=True)
class Row:
    """One change, of one package or of several that change alike."""

    kind: Kind
    ecosystem: str
    names: tuple[str, ...]
    before: str
    """Version; empty if there was none."""
    after: str
    """Version; empty if there is none."""
    advisories: tuple[str, ...] = ()
    required_by: tuple[str, ...] = ()
    reason: str = ""
    environments: tuple[str, ...] = ()
    """Python environments in which it changes."""
    yielded: tuple[str, ...] = ()
    """Constraints of the workload that could not be kept."""

    def document(self) -> dict[str, Any]:
        """As JSON; `from` and `to` instead of what Python has no room for."""
        made = asdict(self)
        made["from"], made["to"] = made.pop("before"), made.pop("after")
        return {key: list(value) if isinstance(value, tuple) else value for key, value in made.items()}


def rows(changes: Iterable[Change]) -> tuple[Row, ...]:
    """The changes between what an outer VM had and the lock."""
    merged: dict[tuple[object, ...], Row] = {}
    for change in changes:
        row = _row(change)
        source = change.before.source_name or row.names
        key = (row.kind, row.ecosystem, source, row.before, row.after, row.reason, row.yielded)
        merged[key] = _merged(merged[key], row) if key in merged else row
    return _ordered(merged.values())


def between(first: Lock, second: Lock) -> tuple[Row, ...]:
    """The changes from one lock to another, with the reasons that the second one gives for what it brings."""
    reasons: dict[tuple[str, ...], Row] = {
        (c.after.ecosystem, c.after.name, c.after.version): _row(c) for c in second.changes
    }
    here, there = _files(first), _files(second)
    found: dict[tuple[object, ...], Row] = {}
    for key in sorted(here.keys() | there.keys()):
        old, new = here.get(key, ("", "")), there.get(key, ("", ""))
        if old == new:
            continue
        ecosystem, name, where = key[0], key[1], key[2]
        kind: Kind = "rebuilt" if old[0] == new[0] else "changed"
        kind = "added" if not old[0] else "dropped" if not new[0] else kind
        why = reasons.get((ecosystem, name, new[0]))
        row = Row(
            kind=kind,
            ecosystem=ecosystem,
            names=(name,),
            before=old[0],
            after=new[0],
            advisories=why.advisories if why else (),
            required_by=why.required_by if why else (),
            reason=why.reason if why else "",
            environments=(where,) if where else (),
            yielded=why.yielded if why else (),
        )
        same = (kind, ecosystem, name, old, new, row.reason)
        found[same] = _merged(found[same], row) if same in found else row
    return _ordered(found.values())


def lines(found: Sequence[Row], limit: int = 0) -> Iterator[str]:
    """A heading for each kind, then its rows, of all of them `limit` at most (0: no limit)."""
    left = limit or len(found)
    for kind, title in TITLES.items():
        these = [row for row in found if row.kind == kind]
        if not these:
            continue
        yield f"{title}: {len(these)}"
        yield from (f"  {said(row)}" for row in these[:left])
        if len(these) > left:
            yield f"  and {len(these) - left} more"
        left = max(0, left - len(these))


def counts(found: Iterable[Row]) -> str:
    """How many of each kind, in words; empty if nothing changes."""
    counted = Counter(row.kind for row in found)
    return ", ".join(f"{counted[kind]} {title}" for kind, title in TITLES.items() if counted[kind])


def said(row: Row) -> str:
    """One row in one line."""
    step = " → ".join(filter(None, (row.before, row.after))) if row.before != row.after else row.before
    parts = [f"{few(row.names)} {step}"]
    if row.advisories:
        parts[0] += f" ({few(row.advisories)})"
    elif row.reason:
        parts.append(row.reason)
    if row.required_by:
        parts.append(f"needed by {few(row.required_by)}")
    if row.advisories and row.yielded:
        parts.append(f"the workload's constraint {' and '.join(row.yielded)} had to yield")
    if len(row.environments) > 1 or (row.environments and row.kind in ("changed", "rebuilt")):
        parts.append(f"in {few(row.environments, 3)}")
    return printable("; ".join(parts), 1000)


def document(found: Sequence[Row]) -> dict[str, Any]:
    """For the run's document: bounded, whatever the lock holds."""
    counted = Counter(row.kind for row in found)
    short = (
        replace(
            row,
            names=row.names[:_EACH],
            advisories=row.advisories[:_EACH],
            required_by=row.required_by[:_EACH],
            environments=row.environments[:_EACH],
            yielded=tuple(each[:_REASON] for each in row.yielded[:_EACH]),
            reason=row.reason[:_REASON],
        )
        for row in found[:_ROWS]
    )
    return {
        "total": len(found),
        "counts": {kind: counted[kind] for kind in TITLES if counted[kind]},
        "rows": [row.document() for row in short],
    }


def _row(change: Change) -> Row:
    return Row(
        kind=change.kind,
        ecosystem=change.after.ecosystem,
        names=(change.before.name,),
        before="" if change.kind == "added" else change.before.version,
        after="" if change.kind == "dropped" else change.after.version,
        advisories=change.advisories,
        required_by=change.required_by,
        reason=change.reason,
        environments=(change.environment,) if change.environment else (),
        yielded=change.yielded,
    )


def _merged(first: Row, second: Row) -> Row:
    def union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*one, *other)))

    return replace(
        first,
        names=union(first.names, second.names),
        advisories=union(first.advisories, second.advisories),
        required_by=union(first.required_by, second.required_by),
        environments=union(first.environments, second.environments),
    )


def _ordered(found: Iterable[Row]) -> tuple[Row, ...]:
    kinds = list(TITLES)
    return tuple(
        sorted(
            found,
            key=lambda row: (
                kinds.index(row.kind),
                _ECOSYSTEMS.index(row.ecosystem),
                row.names,
                row.before,
                row.after,
                row.environments,
            ),
        )
    )


def _files(lock: Lock) -> dict[tuple[str, str, str, str], tuple[str, str]]:
    """(ecosystem, name, where, architecture) to (version, sha256) of everything that a lock names."""
    found: dict[tuple[str, str, str, str], tuple[str, str]] = {}
    for environment in lock.environments:
        for file in environment.packages:
            found |= _python(file, environment.path)
            for needed in file.build:
                found |= _python(needed, f"{environment.path}, to build {file.name}")
    for archive in lock.debian:
        found["debian", archive.name, "", archive.architecture] = (archive.version, archive.sha256)
    for generic in lock.generic:
        found["generic", generic.url, "", ""] = (generic.sha256, generic.sha256)
    return found


def _python(file: LockedPython, where: str) -> dict[tuple[str, str, str, str], tuple[str, str]]:
    return {("pypi", file.name, where, ""): (file.version, file.sha256)}
