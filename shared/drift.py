"""Upstream drift: what the package index serves today, against what the private repositories hold of it. An alarm.

1. The same file name with another hash: an index never does that by itself. Ours is what was judged and proved; the
   other one is not fetched.
2. A file that is not offered any more was taken back.
3. So was, less sternly, a yanked one.

Nothing is evicted for it: whether a yanked version may stay is the policy's to say, and a changed one a person's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared import alarms
from shared.errors import DmzError
from shared.model.holdings import Held, Holdings
from shared.model.value import printable
from shared.ports import IndexFile, PythonIndex, Store

_LOUD = 200


@dataclass(frozen=True)
class Drift:
    """One file about which the index has changed its mind."""

    kind: alarms.Kind
    subject: str
    message: str


def found(holdings: Holdings, index: PythonIndex) -> Iterator[Drift]:
    ours = [held for held in holdings.held if _from_index(held)]
    index.prefetch({held.subject.package.name for held in ours})
    for held in ours:
        offered = {file.filename: file for file in index.files(held.subject.package.name)}
        for file in held.files:
            subject = f"{file.repository} {file.name}"
            there = offered.get(file.name)
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
    try:
        drifts = list(found(holdings, index))
    except DmzError as error:
        words = f"What is held could not be compared with the index: {error}"
        alarms.sound(store, "no-data", "index", words, now, "sync")
        return
    for drift in drifts[:_LOUD]:
        alarms.sound(store, drift.kind, drift.subject, drift.message, now, "sync")
    kinds: tuple[alarms.Kind, ...] = ("drift", "yanked")
    for kind in kinds:
        alarms.still(store, kind, {drift.subject for drift in drifts if drift.kind == kind}, now)
    alarms.over(store, "no-data", "index", now)


def _from_index(held: Held) -> bool:
    return held.subject.package.ecosystem == "pypi" and not held.subject.own_wheel and not held.stray


def _yanked(name: str, there: IndexFile) -> str:
    why = printable(there.yank_reason, 300) or "they gave no reason"
    return f"{name}, which is held, was withdrawn by its authors (yanked): {why}."
