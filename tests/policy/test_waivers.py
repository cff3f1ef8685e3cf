"""Waivers: which count, what they overrule, what they never do, and which ones a verdict names."""

from __future__ import annotations

from typing import Any

import pytest

from shared.model.case import Subject
from shared.policy.waive import NEVER_WAIVED
from tests.advisories.build import deb
from tests.policy.build import (
    DEFAULT,
    SOURCE,
    answers,
    finding,
    judged,
    package,
    reason,
    waiver,
    with_rules,
)

THING = package()


def test_a_waived_finding_answers_allow_and_says_who_when_and_why() -> None:
    mine = waiver(advisory="GHSA-aaaa-bbbb-cccc")
    result = judged(THING, finding(), waivers=[mine])
    assert (result.decision, result.waivers) == ("allow", (mine.id,))
    assert result.findings == (finding(),)
    assert reason(result, "severity") == (
        f"GHSA-aaaa-bbbb-cccc (CVE-2026-1) is waived by {mine.id} (Ada, until 2026-12-01T00:00:00Z): "
        "the function is never called"
    )
    assert mine.id in result.reason


@pytest.mark.parametrize("subject", [THING, Subject(package=deb("thing", "1.0"))], ids=["pypi", "debian"])
def test_every_name_of_the_flaw_will_do(subject: Subject) -> None:
    for id in ("GHSA-aaaa-bbbb-cccc", "CVE-2026-1", "cve-2026-1"):
        assert judged(subject, finding(), waivers=[waiver(advisory=id)]).decision == "allow"
    assert judged(subject, finding(), waivers=[waiver(advisory="CVE-2026-10")]).decision == "block"


def test_a_waiver_of_one_flaw_leaves_the_others() -> None:
    other = finding("GHSA-other", aliases=())
    result = judged(THING, finding(), other, waivers=[waiver(advisory="CVE-2026-1")])
    assert (result.decision, result.waivers) == ("block", ())
    assert reason(result, "severity").startswith("GHSA-other - severity HIGH 7.5; fixed in 2.0; GHSA-aaaa")
    assert "waived by waiver-" in result.reason


@pytest.mark.parametrize(
    "changes",
    [
        {"granted": "2026-11-21T12:00:01Z"},
        {"expires": "2026-11-21T12:00:00Z"},
        {"workload": "lab"},
        {"package": "pkg:pypi/other"},
        {"package": "pkg:deb/debian/thing"},
        {"until_fixed": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
@pytest.mark.parametrize("scope", [{"advisory": "CVE-2026-1"}, {}], ids=["advisory", "package"])
def test_a_waiver_that_does_not_count_changes_nothing(scope: dict[str, str], changes: dict[str, Any]) -> None:
    assert judged(THING, finding(), waivers=[waiver(**scope)]).decision == "allow"
    idle = waiver(**{**scope, **changes})
    assert judged(THING, finding(), waivers=[idle]) == judged(THING, finding())


def test_the_limits_of_time_and_workload_are_met_exactly() -> None:
    just = waiver(
        advisory="CVE-2026-1",
        granted="2026-11-21T12:00:00Z",
        expires="2026-11-21T12:00:00.001Z",
        workload="lab",
    )
    assert judged(THING, finding(), waivers=[just], workload="lab").decision == "allow"


def test_until_fixed_lasts_while_there_is_no_fix() -> None:
    for scope in ({"advisory": "CVE-2026-1"}, {}):
        mine = waiver(until_fixed=True, **scope)
        result = judged(THING, finding(fixed=()), waivers=[mine])
        assert (result.decision, result.waivers) == ("allow", (mine.id,))
        assert "or a fix" in reason(result, "severity")
    # Of a package as a whole: any fix ends it.
    both = (finding(fixed=()), finding("GHSA-b", severity="LOW"))
    assert judged(THING, *both, waivers=[waiver(until_fixed=True)]).decision == "block"


def test_a_package_is_waived_whatever_the_rules_say() -> None:
    policy = with_rules(pypi={"yanked": "block"}, private_names=["thing"])
    subject = package(yanked="", direct_url="https://x/y")
    result = judged(subject, finding(), finding("GHSA-u", undecided="x"), policy=policy, waivers=[waiver()])
    assert (result.decision, result.waivers) == ("allow", (waiver().id,))
    for rule in ("severity", "undecided", "direct_url", "yanked", "private_name"):
        assert f"waived by {waiver().id}" in reason(result, rule)


def test_what_no_waiver_of_a_package_overrules() -> None:
    held = judged(THING, waivers=[waiver()], lacking={THING.package.purl: "the zip is broken"})
    assert (held.decision, held.waivers) == ("hold", ())
    old = SOURCE.model_copy(update={"date": "2026-01-01T00:00:00Z"})
    assert judged(THING, waivers=[waiver()], source=old).decision == "hold"
    assert judged(THING, finding(malicious=True), waivers=[waiver()]).decision == "block"
    assert {"malicious", "advisory_age", "advisory_data", "apt_sources", "readable"} == NEVER_WAIVED


def test_what_nobody_can_read_is_held_whatever_a_waiver_or_the_policy_says() -> None:
    strange = package("unreadable-0", "0", unreadable="its name is none", uploaded="2020-01-01T00:00:00Z")
    rule = {"purl": "pkg:pypi/unreadable-*", "answer": "allow", "reason": "we know it"}
    policy = with_rules(packages=[rule])
    result = judged(strange, policy=policy, waivers=[waiver(package="pkg:pypi/unreadable-0@*")])
    assert (result.decision, result.reason, result.until) == ("hold", "its name is none", "")
    assert (result.waivers, [each.rule for each in result.rules]) == ((), ["readable"])
    plain = strange.model_copy(update={"unreadable": ""})
    assert judged(plain, policy=policy).decision == "allow"


def test_a_report_of_malice_is_waived_by_its_name_alone() -> None:
    report = finding("MAL-2026-1", aliases=(), malicious=True)
    mine = waiver(advisory="MAL-2026-1", package="pkg:pypi/thing@1.0")
    result = judged(THING, report, waivers=[mine])
    assert (result.decision, result.waivers) == ("allow", (mine.id,))
    assert judged(THING, report, finding("MAL-2026-2", malicious=True), waivers=[mine]).decision == "block"


def test_a_flaw_of_the_same_group_does_not_waive_a_report_of_malice() -> None:
    both = finding(aliases=("CVE-2026-1", "MAL-2026-9"), malicious=True)
    for id in ("CVE-2026-1", "GHSA-aaaa-bbbb-cccc"):
        result = judged(THING, both, waivers=[waiver(advisory=id)])
        assert (result.decision, result.waivers) == ("block", ())
    for id in ("MAL-2026-9", "mal-2026-9"):
        assert judged(THING, both, waivers=[waiver(advisory=id)]).decision == "allow"


def test_a_verdict_names_exactly_the_waivers_that_it_needs() -> None:
    other = finding("GHSA-other", aliases=())
    one, two = waiver(advisory="CVE-2026-1"), waiver(advisory="GHSA-other")
    idle = waiver(advisory="GHSA-mild")
    mild = finding("GHSA-mild", aliases=(), severity="LOW")
    result = judged(THING, finding(), other, mild, waivers=[two, idle, one])
    assert (result.decision, result.waivers) == ("allow", tuple(sorted((one.id, two.id))))
    # Blocked all the same: no waiver makes a difference, and what is waived is still shown.
    blocked = judged(package(direct_url="https://x/y"), finding(), waivers=[one])
    assert (blocked.decision, blocked.waivers) == ("block", ())
    assert answers(blocked)["severity"] == "allow"


def test_of_two_waivers_that_do_the_same_the_longer_one_is_named() -> None:
    short = waiver(advisory="CVE-2026-1", expires="2026-11-25T00:00:00Z")
    long = waiver(advisory="CVE-2026-1", expires="2026-12-25T00:00:00Z")
    whole = waiver(expires="2026-12-31T00:00:00Z")
    for waivers in ([short, long], [long, short]):
        result = judged(THING, finding(), waivers=waivers)
        assert result.waivers == (long.id,)
        assert long.id in reason(result, "severity")
        assert short.id not in reason(result, "severity")
    # What is waived by name needs no waiver of the whole package.
    assert judged(THING, finding(), waivers=[short, long, whole]).waivers == (long.id,)
    source = with_rules(pypi={"source_distribution": "block"})
    assert judged(package(is_sdist=True), finding(), policy=source, waivers=[long, whole]).waivers == (
        whole.id,
    )


def test_a_waiver_that_makes_a_block_a_hold_is_named() -> None:
    policy = with_rules(pypi={"source_distribution": "hold"})
    mine = waiver(advisory="CVE-2026-1")
    result = judged(package(is_sdist=True), finding(), policy=policy, waivers=[mine])
    assert (result.decision, result.waivers) == ("hold", (mine.id,))


def test_a_held_package_that_is_waived_has_no_end_of_a_hold() -> None:
    policy = with_rules(DEFAULT, pypi={"cooldown": {"days": 7, "unknown_upload": "hold"}})
    young = package(uploaded="2026-11-21T00:00:00Z")
    assert judged(young, policy=policy).until == "2026-11-28T00:00:00Z"
    assert judged(young, policy=policy, waivers=[waiver()]).until == ""
    assert judged(young, policy=policy, waivers=[waiver()]).decision == "allow"
    partly = judged(young, finding(), policy=policy, waivers=[waiver(advisory="CVE-2026-1")])
    assert (partly.decision, partly.until) == ("hold", "2026-11-28T00:00:00Z")
