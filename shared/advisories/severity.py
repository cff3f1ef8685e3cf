"""How bad a flaw is: CVSS base scores of versions 2, 3 and 4, and GitHub's word for it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

from shared.model.verdict import Severity

Rating = tuple[Severity, float | None]
"""A word and a base score of 0 to 10; None where only the word is known."""
UNRATED: Rating = ("UNKNOWN", None)

# An unreadable score may be anything: it outranks what is known to be mild, and gives way to what is known to be bad.
_RANK: dict[Severity, int] = {"NONE": 0, "LOW": 1, "MEDIUM": 2, "UNKNOWN": 3, "HIGH": 4, "CRITICAL": 5}
# Base metrics of each version. The others (exploit maturity, environment) are opinions of a day or a place.
_BASE = {
    "CVSS_V2": ("AV", "AC", "Au", "C", "I", "A"),
    "CVSS_V3": ("CVSS", "AV", "AC", "PR", "UI", "S", "C", "I", "A"),
    "CVSS_V4": ("CVSS", "AV", "AC", "AT", "PR", "UI", "VC", "VI", "VA", "SC", "SI", "SA"),
}
_WORDS: dict[str, Severity] = {
    "NONE": "NONE",
    "LOW": "LOW",
    "MODERATE": "MEDIUM",
    "MEDIUM": "MEDIUM",
    "HIGH": "HIGH",
    "CRITICAL": "CRITICAL",
}
# Ubuntu's priority is an order of work, not a measure of harm, and no CVSS
# (https://ossf.github.io/osv-schema/#severitytype-field); Debian's urgency likewise, which OSV does not put here.
_PRIORITIES = frozenset({"Ubuntu"})


@lru_cache(maxsize=50_000)
def rate(kind: str, vector: str) -> Rating | None:
    """Rating and base score of one `severity` entry; None if its kind says nothing about severity.

    A vector that cannot be read, or of a kind not known here, is ("UNKNOWN", None).
    """
    if kind in _PRIORITIES:
        return None
    if kind not in _BASE:
        return UNRATED
    base = "/".join(part for part in vector.split("/") if part.split(":")[0] in _BASE[kind])
    try:
        parsed = _calculators()[kind](base)
        word, score = str(parsed.severities()[0]).upper(), float(parsed.scores()[0])
    except (_malformed(), ValueError, ArithmeticError, LookupError):
        return UNRATED
    return _WORDS.get(word, "UNKNOWN"), score


@cache
def _calculators() -> dict[str, Any]:
    # Where an index has every rating ready nobody needs them, and importing them takes longer than matching.
    from cvss.cvss2 import CVSS2
    from cvss.cvss3 import CVSS3
    from cvss.cvss4 import CVSS4

    return {"CVSS_V2": CVSS2, "CVSS_V3": CVSS3, "CVSS_V4": CVSS4}


def _malformed() -> type[Exception]:
    from cvss.exceptions import CVSSError

    return CVSSError


def word(text: str) -> Severity:
    """GitHub's `database_specific.severity`: LOW, MODERATE, HIGH or CRITICAL."""
    return _WORDS.get(text.strip().upper(), "UNKNOWN")


def highest(ratings: Iterable[Rating]) -> Rating:
    """The worst rating and the highest score; ("UNKNOWN", None) if there is nothing."""
    severity: Severity | None = None
    top: float | None = None
    for rating, score in ratings:
        if severity is None or _RANK[rating] > _RANK[severity]:
            severity = rating
        if score is not None and (top is None or score > top):
            top = score
    return severity or "UNKNOWN", top
