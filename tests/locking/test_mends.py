"""What a replacement mends: the judge is told, so that a repair need not wait as long as any other novelty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from shared.judgement import Court
from shared.model.case import Case
from shared.model.package import Package, Release
from shared.model.verdict import Finding, Known
from tests.support.market import Market


def flaw(id: str, *aliases: str, malicious: bool = False, undecided: str = "") -> Finding:
    return Finding(
        id=id,
        aliases=aliases,
        severity="HIGH",
        score=None,
        fixed=(),
        malicious=malicious,
        summary="",
        undecided=undecided,
    )


def case(court: Court, *findings: Finding, name: str = "lib") -> Case:
    court.packages([Package(ecosystem="pypi", name="lib", version="1.1")], False, {name: findings})
    (found,) = court.docket.cases()
    return found


def test_the_case_names_what_the_replacement_mends(court: Court) -> None:
    (subject,) = case(court, flaw("GHSA-2"), flaw("GHSA-1")).subjects
    assert subject.mends == ("GHSA-1", "GHSA-2")


def test_another_package_mends_nothing(court: Court) -> None:
    (subject,) = case(court, flaw("GHSA-1"), name="other").subjects
    assert subject.mends == ()


@pytest.mark.parametrize("undecided", ["", "the version cannot be read"])
def test_a_flaw_that_is_still_there_under_another_name_is_not_mended(
    market: Market, court: Court, undecided: str
) -> None:
    market.flaws["pypi", "lib", "1.1"] = flaw("PYSEC-1", "CVE-1", undecided=undecided)
    (subject,) = case(court, flaw("GHSA-1", "CVE-1"), flaw("GHSA-2", "CVE-2")).subjects
    assert subject.mends == ("GHSA-2",)


def test_malware_is_not_mended_and_what_was_never_sure_neither(court: Court) -> None:
    (subject,) = case(court, flaw("MAL-1", malicious=True), flaw("GHSA-1", undecided="unclear")).subjects
    assert subject.mends == ()


def test_where_nobody_can_tell_what_is_known_nothing_is_mended(market: Market, court: Court) -> None:
    class Silent(Market):
        def known(self, packages: Iterable[Package], release: Release) -> Known:
            found, asked = super().known(packages, release), list(packages)
            return found.model_copy(update={"lacking": {each.purl: "no answer" for each in asked}})

    (subject,) = case(replace(court, advisories=Silent()), flaw("GHSA-1")).subjects
    assert subject.mends == ()
