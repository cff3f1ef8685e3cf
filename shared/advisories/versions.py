"""Two orders of versions under one small interface: Debian's, as dpkg has it, and Python's, as PEP 440 has it.

It is called `Scheme`, so that the evaluation of a range does not know which one it works on.
A version that cannot be read is None, never an exception: the caller says "undecided".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from packaging.version import InvalidVersion, Version

from shared.model import debian_version

_MAX_LENGTH = 256
_FIRST_NUMBER = re.compile(r"([0-9]{1,18})[.abr]", re.ASCII)
"""Of a release without an epoch in front, as nearly all are."""
# A leading release of two numbers or more, then a suffix that starts with a letter: `2.6.0-cu124`, `4.6.0.stable11`.
# A date (`2024-12-04`) or a Debian revision (`7.2.0-12.1`) is no such thing: there the rest is a number that counts.
_LEADING_RELEASE = re.compile(r"v?((?:[0-9]{1,9}!)?[0-9]{1,9}(?:\.[0-9]{1,9})+)[-._+]?[A-Za-z].*", re.ASCII)


@dataclass(frozen=True)
class Point:
    """A place on the line of versions.

    `loose` is True if only the leading release could be read: then everything of that release compares as equal,
    and the caller knows that equality is not certain.
    """

    key: Any
    loose: bool = False


@dataclass(frozen=True)
class Scheme:
    """How one ecosystem reads and compares versions."""

    name: str
    parse: Callable[[str], Point | None]
    """None if the text is not a version."""
    compare: Callable[[Point, Point], int]
    """Below zero, zero or above zero, like dpkg's own comparison."""
    forms: Callable[[Point], tuple[Point, ...]]
    """The version itself and every other form under which an advisory may mean it."""
    may_equal: Callable[[Point, str], bool]
    """False only if the text is certainly another version than the point: a glance before it is parsed."""


def parse_debian(text: str) -> Point | None:
    """Read `[epoch:]upstream[-revision]`; never loose."""
    try:
        return Point(debian_version.key(text))
    except ValueError:
        return None


@lru_cache(maxsize=20_000)
def parse_pep440(text: str) -> Point | None:
    """Read a PEP 440 version, or leniently its leading release (`2.6.0-NA` is somewhere in 2.6.0)."""
    if len(text) > _MAX_LENGTH:
        return None
    try:
        return Point(Version(text))
    except InvalidVersion:
        leading = _LEADING_RELEASE.fullmatch(text)
        return Point(Version(leading[1]), loose=True) if leading else None


def _order(left: Any, right: Any) -> int:
    if left < right:
        return -1
    return int(left != right)


def compare_debian(left: Point, right: Point) -> int:
    """dpkg's order."""
    return _order(left.key, right.key)


def _release(version: Version) -> tuple[int, tuple[int, ...]]:
    numbers = list(version.release)
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    return version.epoch, tuple(numbers)


def compare_pep440(left: Point, right: Point) -> int:
    """PEP 440's order; where one side is loose, releases only."""
    if left.loose or right.loose:
        return _order(_release(left.key), _release(right.key))
    return _order(left.key, right.key)


def _pep440_forms(point: Point) -> tuple[Point, ...]:
    """`2.6.0+cpu` sorts after 2.6.0, but an advisory that says 2.6.0 means it too."""
    version: Version = point.key
    return (point,) if version.local is None else (point, Point(Version(version.public), point.loose))


def _pep440_may_equal(point: Point, text: str) -> bool:
    found = _FIRST_NUMBER.match(text)
    return found is None or int(found[1]) == point.key.release[0]


DEBIAN = Scheme("Debian", parse_debian, compare_debian, lambda point: (point,), lambda *_: True)
PEP440 = Scheme("PEP 440", parse_pep440, compare_pep440, _pep440_forms, _pep440_may_equal)
