"""Scores of three CVSS versions, GitHub's words, and what nobody can rate."""

from __future__ import annotations

from typing import Any

import pytest

from shared.advisories.severity import rate
from tests.advisories.build import HIGH, LOW, affected, deb, events, one, pypi, record

V2 = {"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:C/I:C/A:C"}
V4 = {"type": "CVSS_V4", "score": "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:H/SI:H/SA:H"}
BROKEN = {"type": "CVSS_V3", "score": "CVSS:3.1/AV:N"}


def severity(*scores: Any, word: str = "") -> tuple[str, float | None]:
    more: dict[str, Any] = {"database_specific": {"severity": word}} if word else {}
    finding = one(pypi(), record("PYSEC-2026-1", severity=list(scores), **more))
    assert finding is not None
    return finding.severity, finding.score


@pytest.mark.parametrize(
    ("scores", "word", "expected"),
    [
        ([], "", ("UNKNOWN", None)),
        ([HIGH], "", ("HIGH", 7.5)),
        ([LOW], "", ("LOW", 1.8)),
        ([V2], "", ("HIGH", 10.0)),
        ([V4], "", ("CRITICAL", 10.0)),
        ([LOW, V4], "", ("CRITICAL", 10.0)),
        ([HIGH, LOW], "LOW", ("HIGH", 7.5)),
        ([LOW], "HIGH", ("HIGH", 1.8)),
        ([], "MODERATE", ("MEDIUM", None)),
        ([], "critical", ("CRITICAL", None)),
        ([], "whatever", ("UNKNOWN", None)),
        ([{"type": "Ubuntu", "score": "high"}], "", ("UNKNOWN", None)),
        ([{"type": "Ubuntu", "score": "high"}, LOW], "", ("LOW", 1.8)),
        # what cannot be rated may be anything: above the mild, below the bad
        ([BROKEN], "", ("UNKNOWN", None)),
        ([BROKEN, LOW], "", ("UNKNOWN", 1.8)),
        ([BROKEN, HIGH], "", ("HIGH", 7.5)),
        ([{"type": "CVSS_V9", "score": "CVSS:9/AV:N"}, LOW], "", ("UNKNOWN", 1.8)),
        ([7, LOW], "", ("UNKNOWN", 1.8)),
        ([{"type": "CVSS_V3", "score": 9.8}], "", ("UNKNOWN", None)),
    ],
)
def test_the_highest_counts(scores: list[Any], word: str, expected: tuple[str, float | None]) -> None:
    assert severity(*scores, word=word) == expected


def test_a_severity_of_one_package_counts_for_it() -> None:
    entry = affected(events(("introduced", "0")), severity=[HIGH])
    finding = one(pypi(), record("GHSA-aaaa-bbbb-cccc", entry))
    assert finding is not None
    assert finding.score == 7.5


def test_debian_urgency_is_not_a_severity() -> None:
    entry = affected(
        events(("introduced", "0")), ecosystem="Debian:13", ecosystem_specific={"urgency": "high"}
    )
    finding = one(deb("thing", "1.0"), record("DEBIAN-CVE-2026-1", entry))
    assert finding is not None
    assert (finding.severity, finding.score) == ("UNKNOWN", None)


def test_exploit_maturity_does_not_lower_a_base_score() -> None:
    base = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:N/VA:N/SC:N/SI:N/SA:N"
    assert rate("CVSS_V4", base + "/E:U") == rate("CVSS_V4", base) == ("HIGH", 8.7)
