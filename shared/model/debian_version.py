"""The order of Debian version numbers (Debian policy 5.6.12, deb-version(7)): the same answers as dpkg's.

A version becomes a tuple of integers once and is then compared by Python's own tuple order.
"""

from __future__ import annotations

import re
from functools import lru_cache

Key = tuple[int, tuple[int, ...], tuple[int, ...]]

_PARTS = re.compile(r"([^0-9]*)([0-9]*)", re.ASCII)
_UPSTREAM = re.compile(r"[A-Za-z0-9.+~:-]+", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9.+~]+", re.ASCII)
_MAX_EPOCH = 2**31 - 1
"""dpkg's own limit (lib/dpkg/parsehelp.c): an epoch is an int."""
_END = 0
"""Sorts after `~` (-1) and before every other character."""


def _weight(character: str) -> int:
    if character == "~":
        return -1
    return ord(character) if character.isalpha() else ord(character) + 256


def _sequence(text: str) -> tuple[int, ...]:
    """Non-digits and numbers in turn; an absent number is zero, and an absent revision is the revision 0."""
    weights: list[int] = []
    for letters, digits in _PARTS.findall(text or "0"):
        if letters or digits:
            weights.extend(map(_weight, letters))
            weights += (_END, int(digits or "0"))
    weights.append(_END)
    return tuple(weights)


@lru_cache(maxsize=200_000)
def key(version: str) -> Key:
    """A sort key. ValueError if `version` is not `[epoch:]upstream[-revision]` in the permitted characters."""
    epoch, colon, rest = version.partition(":")
    if not colon:
        epoch, rest = "0", version
    upstream, dash, revision = rest.rpartition("-")
    if not dash:
        upstream, revision = rest, ""
    well_formed = (
        re.fullmatch(r"[0-9]{1,10}", epoch, re.ASCII)
        and int(epoch) <= _MAX_EPOCH
        and _UPSTREAM.fullmatch(upstream)
        and (_REVISION.fullmatch(revision) if dash else True)
    )
    if not well_formed or len(version) > 512:
        raise ValueError(f"not a Debian version: {version[:80]!r}")
    return int(epoch), _sequence(upstream), _sequence(revision)


def compare(a: str, b: str) -> int:
    """-1, 0 or 1 as `a` is earlier than, equal to or later than `b`. ValueError if one is malformed."""
    left, right = key(a), key(b)
    return (left > right) - (left < right)
