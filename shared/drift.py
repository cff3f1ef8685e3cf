"""Upstream drift: what the package index serves today, against what the private repositories hold of it. An alarm.

1. The same file name with another hash: an index never does that by itself. Ours is what was judged and proved; the
   other one is not fetched.
2. A file that is not offered any more was taken back.
3. So was, less sternly, a yanked one.

Nothing is evicted for it: whether a yanked version may stay is the policy's to say, and a changed one a person's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from shared import alarms
from shared.errors import DmzError, Transient
from shared.model.holdings import Held, HeldFile, Holdings
from shared.model.value import printable
from shared.ports.store import Store
from shared.ports.upstream import IndexFile, PythonIndex

_LOUD = 200
_DOWN = 5
"""Pages in a row that do not answer, after which the index counts as down."""
_NAMED = 10
"""Projects that an alarm names."""


@dataclass(frozen=True)
class Drift:
    """One file about which the index has changed its mind."""

    kind: alarms.Kind
    subject: str
    message: str


@dataclass(frozen=True)
class Compared:
    """What came of it."""

    drifts: tuple[Drift, ...]
    dark: dict[str, str]
    """Names of projects that could not be compared, and why."""
    unseen: frozenset[str]
    """Their files: what was so of them may still be."""


def compared(holdings: Holdings, index: PythonIndex) -> Compared:
    """Each project by itself: one broken page must not hide what has become of the others."""
    ours = [held for held in holdings.held if _from_index(held)]
    drifts: list[Drift] = []
    dark: dict[str, str] = {}
    unseen: set[str] = set()
    # Of the first page that fails, each page says by itself below; of an index that is down, not every one.
    with suppress(DmzError):
        index.prefetch({held.subject.package.name for held in ours})
    in_row, last = 0, ""
    for held in ours:
        name = held.subject.package.name
        try:
            if name not in dark and in_row < _DOWN:
                drifts += _of(held, index.files(name))
                in_row = 0
                continue
        except DmzError as error:
            dark[name] = last = str(error)
            in_row += isinstance(error, Transient)
        dark.setdefault(name, last)
        unseen |= {_subject(file) for file in held.files}
    return Compared(tuple(drifts), dark, frozenset(unseen))


def _of(held: Held, files: Iterable[IndexFile]) -> Iterator[Drift]:
    offered = {file.filename: file for file in files}
    for file in held.files:
        subject, there = _subject(file), offered.get(file.name)
        if there is None:  # 2
            words = f"The index does not offer {file.name} any more, which {file.repository} holds."
            yield Drift("drift", subject, f"{words} Find out why it was taken back.")
        elif there.sha256 != file.sha256:  # 1
            yield Drift(
                "drift",
                subject,
                f"The index offers {file.name} with {there.sha256}; judged and held is {file.sha256}. "
                "Somebody has replaced a published file: trust neither before you know why.",
            )
        elif there.yanked:  # 3
            yield Drift("yanked", subject, _yanked(file.name, there))


def watch(holdings: Holdings, index: PythonIndex, store: Store, now: float) -> None:
    """Sound an alarm for each, and end those that are over. That it could not be compared is an alarm too."""
    seen = compared(holdings, index)
    for drift in seen.drifts[:_LOUD]:
        alarms.sound(store, drift.kind, drift.subject, drift.message, now, "sync")
    kinds: tuple[alarms.Kind, ...] = ("drift", "yanked")
    for kind in kinds:
        so = {drift.subject for drift in seen.drifts if drift.kind == kind}
        alarms.still(store, kind, so | seen.unseen, now)
    if not seen.dark:
        alarms.over(store, "no-data", "index", now)
        return
    names = sorted(seen.dark)
    some = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    words = f"What is held of {some} could not be compared with the index: {seen.dark[names[0]]}"
    alarms.sound(store, "no-data", "index", words, now, "sync")


def _subject(file: HeldFile) -> str:
    return f"{file.repository} {file.name}"


def _from_index(held: Held) -> bool:
    return held.subject.package.ecosystem == "pypi" and not held.subject.own_wheel and not held.stray


def _yanked(name: str, there: IndexFile) -> str:
    why = printable(there.yank_reason, 300) or "they gave no reason"
    return f"{name}, which is held, was withdrawn by its authors (yanked): {why}."
