"""What a replacement mends: the judge is told, so that a repair need not wait as long as any other novelty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest

from shared.judgement import Court
from shared.model.case import Case, Facts
from shared.model.package import Package, Release
from shared.model.policy import Cooldown
from shared.model.verdict import Finding, Known, Severity
from shared.model.waiver import Waiver
from tests.support.market import Market


def flaw(
    id: str,
    *aliases: str,
    malicious: bool = False,
    undecided: str = "",
    severity: Severity = "HIGH",
    fixed: tuple[str, ...] = ("1.1",),
) -> Finding:
    return Finding(
        id=id,
        aliases=aliases,
        severity=severity,
        score=None,
        fixed=fixed,
        malicious=malicious,
        summary="",
        undecided=undecided,
    )


def case(court: Court, *findings: Finding, name: str = "lib", version: str = "1.1") -> Case:
    court.packages([Package(ecosystem="pypi", name="lib", version=version)], False, {name: findings})
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


@pytest.mark.parametrize(
    ("version", "fixed", "mended"),
    [
        ("1.1", (), False),
        ("1.1", ("1.1.1",), False),
        ("1.1", ("1.1.1", "2.0"), False),
        ("1.1", ("0.9", "2.0"), False),
        ("1.1", ("0.9", "1.1"), True),
        ("1.1.0", ("1.1",), True),
        ("1.1rc1", ("1.1",), False),
        ("1.1+cpu", ("1.1",), True),
        ("1.10", ("1.9",), False),
        ("1.1.post1", ("1.1",), False),
        ("99.0", ("1.1",), False),
        ("1.9", ("1.10",), False),
        ("1.1", ("soon",), False),
        ("1.1", ("1.0-NA",), False),
        ("soon", ("1.0",), False),
        ("1.1-NA", ("1.0",), False),
    ],
)
def test_only_the_version_that_is_named_as_the_fix_mends(
    court: Court, version: str, fixed: tuple[str, ...], mended: bool
) -> None:
    (subject,) = case(court, flaw("GHSA-1", fixed=fixed), version=version).subjects
    assert subject.mends == (("GHSA-1",) if mended else ())


@pytest.mark.parametrize(
    ("version", "fixed", "mended"),
    [
        ("2.36-9+deb13u2", "2.36-9+deb13u2", True),
        ("2.36-9", "2.36-9+deb13u2", False),
        ("2.36-9+deb13u3", "2.36-9+deb13u2", False),
        ("1.0~rc1", "1.0", False),
    ],
)
def test_debians_fixes_are_of_the_source_and_in_dpkgs_order(
    court: Court, version: str, fixed: str, mended: bool
) -> None:
    package = Package(
        ecosystem="debian",
        name="lib",
        version="9:9",
        architecture="amd64",
        distro="debian-13",
        source_name="source",
        source_version=version,
    )
    court.packages([package], False, {"lib": [flaw("CVE-1", fixed=(fixed,))]})
    (found,) = court.docket.cases()
    assert bool(found.subjects[0].mends) == mended


@pytest.mark.parametrize(
    ("severity", "mended"), [("LOW", False), ("MEDIUM", True), ("HIGH", True), ("UNKNOWN", True)]
)
def test_only_what_the_policy_refuses_is_mended(court: Court, severity: Severity, mended: bool) -> None:
    policy = court.policy
    levels = policy.pypi.severity.model_copy(update={"hold": "MEDIUM", "block": "HIGH"})
    rules = policy.pypi.model_copy(update={"severity": levels, "unknown_severity": "block"})
    court = replace(court, policy=policy.model_copy(update={"pypi": rules}))
    (subject,) = case(court, flaw("GHSA-1", severity=severity)).subjects
    assert subject.mends == (("GHSA-1",) if mended else ())


def test_a_flaw_that_is_accepted_is_no_reason_to_hurry(court: Court) -> None:
    waiver = Waiver(
        advisory="GHSA-1",
        package="pkg:pypi/lib",
        reason="not reachable",
        approver="a@example.org",
        granted="2026-11-01T00:00:00Z",
        expires="2027-01-01T00:00:00Z",
    )
    (subject,) = case(replace(court, waivers=(waiver,)), flaw("GHSA-1"), flaw("GHSA-2")).subjects
    assert subject.mends == ("GHSA-2",)


def test_an_upload_of_a_minute_ago_waits_although_nobody_has_reported_it_yet(
    market: Market, court: Court
) -> None:
    rules = court.policy.pypi.model_copy(update={"cooldown": Cooldown(days=7, unknown_upload="hold")})
    court = replace(court, policy=court.policy.model_copy(update={"pypi": rules}))
    market.wheel("lib", "1.1")
    market.said["lib", "1.1"] = Facts(uploaded="2026-11-21T20:59:00Z")
    lib = Package(ecosystem="pypi", name="lib", version="1.1")
    (hostile,) = court.packages(
        [lib], False, {"lib": [flaw("GHSA-1", fixed=()), flaw("LOW-1", severity="LOW")]}
    )
    assert (hostile.decision, "waits for 7 days" in hostile.reason) == ("hold", True)
    (repair,) = court.packages([lib], False, {"lib": [flaw("GHSA-1")]})
    assert repair.decision == "allow"


def test_what_is_numbered_above_the_fix_waits_like_any_novelty(market: Market, court: Court) -> None:
    """A stolen account uploads 99.0 right after the real fix, 1.1."""
    rules = court.policy.pypi.model_copy(update={"cooldown": Cooldown(days=7, unknown_upload="hold")})
    court = replace(court, policy=court.policy.model_copy(update={"pypi": rules}))
    packages = [Package(ecosystem="pypi", name="lib", version=version) for version in ("1.1", "99.0")]
    for each in packages:
        market.wheel("lib", each.version)
        market.said["lib", each.version] = Facts(uploaded="2026-11-21T20:59:00Z")
    fix, later = court.packages(packages, False, {"lib": [flaw("GHSA-1")]})
    assert (fix.decision, later.decision) == ("allow", "hold")
