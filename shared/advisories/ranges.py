"""Whether a version lies in the ranges of an advisory: OSV's evaluation, with a third answer.

https://ossf.github.io/osv-schema/#evaluation
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import cmp_to_key
from itertools import pairwise
from typing import Literal, NamedTuple

from shared.advisories.osv import Affected, Event, Range
from shared.advisories.versions import Point, Scheme
from shared.model.value import printable


@dataclass(frozen=True)
class Answer:
    """Whether a version is affected, and why that could not be said if it could not."""

    affected: Literal["yes", "no", "undecided", "silent"]
    """`silent`: the entry names no versions at all."""
    reason: str = ""


YES = Answer("yes")
NO = Answer("no")
SILENT = Answer("silent", "it names no versions")


_SHOWN = 100
"""Characters of a version in a finding; nobody publishes longer ones."""
_MANY = 8
"""Versions asked about from which on it pays to read all that an entry lists."""


class Given:
    """A version that entries are asked about, read once."""

    def __init__(self, scheme: Scheme, version: str) -> None:
        self.version = version
        self.point = scheme.parse(version)
        self.forms = () if self.point is None or self.point.loose else scheme.forms(self.point)
        """Empty if it cannot be ordered."""


class Entry:
    """One `affected` entry, made ready to be asked about any number of versions: some are about thousands."""

    def __init__(self, scheme: Scheme, entry: Affected, count: int = 1) -> None:
        """`count`: about how many versions it will be asked."""
        self._scheme, self._entry, self._many = scheme, entry, count >= _MANY
        self._listed = frozenset(entry.versions) if self._many else entry.versions
        self._keys: frozenset[Hashable] | None = None
        self._ranges: tuple[_Ready, ...] | None = None
        self._fixes: tuple[tuple[str, Point | None], ...] | None = None

    def answer(self, given: Given) -> Answer:
        """Ranges and `versions`, each on its own; one yes is a yes, and an undecided part is no no."""
        # 1. A version that the record lists as written needs no understanding.
        if given.version in self._listed:
            return YES
        # 2. A version that cannot be read can be in any range.
        if not given.forms:
            said = f"the version {printable(given.version, 60)} is not one that {self._scheme.name} can order"
            return Answer("undecided", said)
        # 3. One range that holds it is enough.
        if self._ranges is None:
            self._ranges = tuple(_ready(self._scheme, found) for found in self._entry.ranges)
        doubt = None
        for form in given.forms:
            for found in self._ranges:
                answer = _within(self._scheme, form, found)
                if answer is YES:
                    return YES
                if answer is not NO and doubt is None:
                    doubt = answer
        # 4. `versions` by equality of versions, not of strings: 1.0 is 1.0.0.
        if self._entry.versions and any(self._lists(form) for form in given.forms):
            return YES
        # 5. What could not be read is not clean.
        if self._entry.problem:
            return Answer("undecided", self._entry.problem)
        if doubt is not None:
            return doubt
        # 6. Nor is an entry that says nothing.
        return NO if self._entry.ranges or self._entry.versions else SILENT

    def fixes(self, given: Given) -> frozenset[str]:
        """Fixed versions above that one, as written. A fix below it belongs to another line of releases."""
        if self._fixes is None:
            self._fixes = tuple(
                (printable(event.version, _SHOWN), self._scheme.parse(event.version))
                for found in self._entry.ranges
                for event in found.events
                if event.kind == "fixed"
            )
        return frozenset(
            text
            for text, fix in self._fixes
            if fix is None or given.point is None or self._scheme.compare(fix, given.point) > 0
        )

    def _lists(self, form: Point) -> bool:
        if not self._many:
            return any(_equal(self._scheme, form, listed) for listed in self._entry.versions)
        if self._keys is None:
            read = (self._scheme.parse(listed) for listed in self._entry.versions)
            self._keys = frozenset(point.key for point in read if point is not None and not point.loose)
        return form.key in self._keys


def evaluate(scheme: Scheme, version: str, entry: Affected) -> Answer:
    """As `Entry.answer`, for one version."""
    return Entry(scheme, entry).answer(Given(scheme, version))


def _equal(scheme: Scheme, point: Point, listed: str) -> bool:
    if not scheme.may_equal(point, listed):
        return False
    other = scheme.parse(listed)
    return other is not None and not other.loose and scheme.compare(point, other) == 0


class _At(NamedTuple):
    kind: str
    point: Point | None
    """None for the beginning of time, which OSV writes as 0, and for `limit: *`."""


def _place(scheme: Scheme, event: Event) -> _At | None:
    """None if the event's version cannot be read."""
    # `fixed: 0` is how Debian's records say "never affected"; 0~git sorts before 0 and is no exception.
    if (event.kind, event.version) in (("introduced", "0"), ("fixed", "0"), ("limit", "*")):
        return _At(event.kind, None)
    point = scheme.parse(event.version)
    return None if point is None else _At(event.kind, point)


@dataclass(frozen=True)
class _Ready:
    """A range whose events are in order."""

    events: tuple[_At, ...] = ()
    limits: tuple[Point | None, ...] = ()
    problem: Answer | None = None


def _ready(scheme: Scheme, found: Range) -> _Ready:
    if found.problem:
        return _Ready(problem=Answer("undecided", found.problem))
    events: list[_At] = []
    for event in found.events:
        place = _place(scheme, event)
        if place is None:
            said = f"its version {printable(event.version, 60)} cannot be ordered"
            return _Ready(problem=Answer("undecided", said))
        events.append(place)

    def order(left: _At, right: _At) -> int:
        if left.point is None or right.point is None:
            return (left.point is not None) - (right.point is not None)
        return scheme.compare(left.point, right.point)

    ends = [event for event in events if event.kind != "limit"]
    if any(order(before, after) > 0 for before, after in pairwise(ends)):
        # sort() is stable: events at one version stay in the order in which the record has them.
        ends.sort(key=cmp_to_key(order))
    limits = () if len(ends) == len(events) else tuple(e.point for e in events if e.kind == "limit")
    return _Ready(tuple(ends), limits)


def _within(scheme: Scheme, version: Point, found: _Ready) -> Answer:
    if found.problem is not None:
        return found.problem
    if found.limits and not any(limit is None or _before(scheme, version, limit) for limit in found.limits):
        return NO
    return _walk(scheme, version, found.events)


def _before(scheme: Scheme, version: Point, limit: Point) -> bool:
    side = scheme.compare(version, limit)
    return side < 0 or (side == 0 and limit.loose)


def _walk(scheme: Scheme, version: Point, events: tuple[_At, ...]) -> Answer:
    inside, doubt = False, ""
    for event in events:
        side = 1 if event.point is None else scheme.compare(version, event.point)
        if event.kind == "introduced" and side >= 0:
            inside, doubt = True, ""
        elif event.kind == "fixed" and side >= 0:
            if event.point is not None and event.point.loose and side == 0:
                # `fixed: 0.2.0-n653` and version 0.2.0: only the leading release is comparable.
                doubt = "its fix has a version that can be compared by release only"
            else:
                inside, doubt = False, ""
        elif event.kind == "last_affected" and side > 0:
            inside, doubt = False, ""
    if inside and doubt:
        return Answer("undecided", doubt)
    return YES if inside else NO
