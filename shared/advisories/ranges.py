"""Whether a version lies in the ranges of an advisory: OSV's evaluation, with a third answer.

https://ossf.github.io/osv-schema/#evaluation
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cmp_to_key
from typing import Literal

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


def evaluate(scheme: Scheme, version: str, entry: Affected) -> Answer:
    """Ranges and `versions`, each on its own; one yes is a yes, and an undecided part is no no."""
    # 1. A version that the record lists as written needs no understanding.
    if version in entry.versions:
        return YES
    # 2. A version that cannot be read can be in any range.
    point = scheme.parse(version)
    if point is None or point.loose:
        return Answer(
            "undecided", f"the version {printable(version, 60)} is not one that {scheme.name} can order"
        )
    answers = [_range(scheme, form, found) for form in scheme.forms(point) for found in entry.ranges]
    # 3. One range that holds it is enough.
    if YES in answers:
        return YES
    # 4. `versions` by equality of versions, not of strings: 1.0 is 1.0.0.
    if any(_equal(scheme, form, listed) for listed in entry.versions for form in scheme.forms(point)):
        return YES
    # 5. What could not be read is not clean.
    if entry.problem:
        return Answer("undecided", entry.problem)
    for answer in answers:
        if answer.affected == "undecided":
            return answer
    # 6. Nor is an entry that says nothing.
    return NO if entry.ranges or entry.versions else SILENT


def fixes(scheme: Scheme, version: str, entry: Affected) -> frozenset[str]:
    """Fixed versions above `version`, as written. A fix below it belongs to another line of releases."""
    point = scheme.parse(version)
    return frozenset(
        event.version
        for found in entry.ranges
        for event in found.events
        if event.kind == "fixed"
        and ((fix := scheme.parse(event.version)) is None or point is None or scheme.compare(fix, point) > 0)
    )


def _equal(scheme: Scheme, point: Point, listed: str) -> bool:
    if not scheme.may_equal(point, listed):
        return False
    other = scheme.parse(listed)
    return other is not None and not other.loose and scheme.compare(point, other) == 0


@dataclass(frozen=True)
class _At:
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


def _range(scheme: Scheme, version: Point, found: Range) -> Answer:
    if found.problem:
        return Answer("undecided", found.problem)
    events: list[_At] = []
    for event in found.events:
        place = _place(scheme, event)
        if place is None:
            return Answer("undecided", f"its version {printable(event.version, 60)} cannot be ordered")
        events.append(place)
    limits = [event.point for event in events if event.kind == "limit"]
    if limits and not any(limit is None or _before(scheme, version, limit) for limit in limits):
        return NO

    def order(left: _At, right: _At) -> int:
        if left.point is None or right.point is None:
            return (left.point is not None) - (right.point is not None)
        return scheme.compare(left.point, right.point)

    # sorted() is stable: events at one version stay in the order in which the record has them.
    return _walk(scheme, version, sorted((e for e in events if e.kind != "limit"), key=cmp_to_key(order)))


def _before(scheme: Scheme, version: Point, limit: Point) -> bool:
    side = scheme.compare(version, limit)
    return side < 0 or (side == 0 and limit.loose)


def _walk(scheme: Scheme, version: Point, events: list[_At]) -> Answer:
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
