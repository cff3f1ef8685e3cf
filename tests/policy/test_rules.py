"""Each rule of a policy by itself: what it asks, what it answers where nothing is known, and in which words."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from shared.events import timestamp
from shared.model.case import FactKind, Subject
from shared.model.package import Package
from shared.model.policy import EPSS, KEV
from shared.policy.wants import asks_for
from tests.advisories.build import deb
from tests.policy.build import (
    ALL,
    CATALOGUES,
    DEFAULT,
    NOW,
    OFFLINE,
    SOURCE,
    answers,
    finding,
    judged,
    package,
    reason,
    with_rules,
)

DAY = 86400.0
DEB = Subject(package=deb("thing", "1.0"))
TOOL = Subject(package=Package(ecosystem="generic", name="tool", version="sha256:" + "0" * 64))


@pytest.mark.parametrize(
    ("severity", "answer"),
    [("NONE", "allow"), ("LOW", "allow"), ("MEDIUM", "hold"), ("HIGH", "block"), ("CRITICAL", "block")],
)
def test_severity_holds_from_one_threshold_and_blocks_from_another(severity: str, answer: str) -> None:
    policy = with_rules(pypi={"severity": {"hold": "MEDIUM", "block": "HIGH"}})
    result = judged(package(), finding(severity=severity), policy=policy)
    assert (result.decision, answers(result)["severity"]) == (answer, answer)


def test_the_worst_findings_are_named_where_some_hold_and_some_block() -> None:
    policy = with_rules(pypi={"severity": {"hold": "MEDIUM", "block": "HIGH"}})
    result = judged(
        package(), finding("GHSA-m", severity="MEDIUM", score=5.0), finding("GHSA-h"), policy=policy
    )
    assert "GHSA-h" in result.reason
    assert "GHSA-m" not in result.reason


def test_a_threshold_that_is_never_reached() -> None:
    never = with_rules(pypi={"severity": {"hold": "never", "block": "never"}})
    assert judged(package(), finding(severity="CRITICAL"), policy=never).decision == "allow"
    only_held = with_rules(pypi={"severity": {"hold": "LOW", "block": "never"}})
    assert judged(package(), finding(severity="CRITICAL"), policy=only_held).decision == "hold"


@pytest.mark.parametrize("subject", [package(), DEB], ids=["pypi", "debian"])
@pytest.mark.parametrize("exploited", [False, True])
def test_what_is_exploited(subject: Subject, exploited: bool) -> None:
    mild = finding(severity="LOW", fixed=(), exploited=exploited)
    for answer in ("allow", "hold", "block"):
        policy = with_rules(pypi={"known_exploited": answer}, debian={"known_exploited": answer})
        result = judged(subject, mild, policy=policy)
        assert result.decision == (answer if exploited else "allow")


@pytest.mark.parametrize("subject", [package(), DEB], ids=["pypi", "debian"])
@pytest.mark.parametrize(
    ("probability", "decision"), [(None, "allow"), (0.29, "allow"), (0.3, "block"), (1.0, "block")]
)
def test_what_is_likely_to_be_exploited(subject: Subject, probability: float | None, decision: str) -> None:
    rule = {"exploit_probability": {"at_least": 0.3, "answer": "block"}}
    found = finding(severity="LOW", fixed=(), exploit_probability=probability)
    assert judged(subject, found, policy=with_rules(pypi=rule, debian=rule)).decision == decision


@pytest.mark.parametrize(
    ("rule", "value", "name"),
    [
        ("known_exploited", "block", KEV),
        ("exploit_probability", {"at_least": 0.5, "answer": "block"}, EPSS),
    ],
    ids=["KEV", "EPSS"],
)
@pytest.mark.parametrize("subject", [package(), DEB], ids=["pypi", "debian"])
@pytest.mark.parametrize("date", ["", "2026-11-01T00:00:00Z", "2026-12-24T00:00:00Z", "soon"])
def test_without_a_catalogue_that_serves_what_has_findings_is_held(
    rule: str, value: Any, name: str, subject: Subject, date: str
) -> None:
    """An empty date: the catalogue was not at hand."""
    policy = with_rules(pypi={rule: value}, debian={rule: value})
    also = [each for each in CATALOGUES if each.name != name]
    also += [each.model_copy(update={"date": date}) for each in CATALOGUES if each.name == name and date]
    source = SOURCE.model_copy(update={"also": tuple(also)})
    mild = finding(severity="LOW", fixed=())
    result = judged(subject, mild, policy=policy, source=source)
    assert (result.decision, answers(result)[rule]) == ("hold", "hold")
    assert name in reason(result, rule)
    assert judged(subject, policy=policy, source=source).decision == "allow"  # nothing to exploit
    assert judged(subject, mild, source=source).decision == "allow"  # nobody asks
    assert judged(subject, mild, policy=policy).decision == "allow"  # at hand
    sure = finding(severity="LOW", fixed=(), exploited=True, exploit_probability=1.0)
    assert judged(subject, sure, policy=policy, source=source).decision == "block"


def test_the_catalogue_of_exploited_flaws_may_be_as_old_as_its_pauses() -> None:
    policy = with_rules(pypi={"known_exploited": "block"})
    for date, decision in (("2026-11-05T13:00:00Z", "allow"), ("2026-11-04T11:00:00Z", "hold")):
        also = tuple(each.model_copy(update={"date": date}) for each in CATALOGUES if each.name == KEV)
        source = SOURCE.model_copy(update={"also": also})
        assert judged(package(), finding(severity="LOW"), policy=policy, source=source).decision == decision


def test_a_policy_without_an_age_limit_takes_a_catalogue_of_any_age() -> None:
    policy = with_rules(OFFLINE, pypi={"known_exploited": "block"})
    old = tuple(each.model_copy(update={"date": "2020-01-01T00:00:00Z"}) for each in CATALOGUES)
    source = SOURCE.model_copy(update={"also": old})
    assert judged(package(), finding(severity="LOW"), policy=policy, source=source).decision == "allow"


@pytest.mark.parametrize(
    ("found", "decision"),
    [
        ({"severity": "MEDIUM"}, "allow"),
        ({"severity": "HIGH"}, "hold"),
        ({"severity": "CRITICAL"}, "block"),
        ({"severity": "UNKNOWN", "score": None}, "hold"),
        ({"severity": "CRITICAL", "fixed": ("2.0",)}, "allow"),
    ],
)
def test_unfixed_advisories_of_a_distribution(found: dict[str, Any], decision: str) -> None:
    policy = with_rules(
        debian={
            "fix_available": "allow",
            "unfixed": {"hold": "HIGH", "block": "CRITICAL", "unknown_severity": "hold"},
        }
    )
    assert judged(DEB, finding(**{"fixed": (), **found}), policy=policy).decision == decision


@pytest.mark.parametrize(
    ("facts", "asked", "decision", "words"),
    [
        ({}, ALL, "allow", "it is not yanked"),
        ({"yanked": "it breaks everything"}, ALL, "block", "it breaks everything"),
        ({"yanked": ""}, ALL, "block", "gave no reason"),
        ({"yanked": "x", "lacking": "y"}, ALL, "block", "x"),
        ({"lacking": "the index answered 500"}, ALL, "hold", "the index answered 500"),
        ({}, ("uploaded",), "hold", "nobody asked"),
        ({"uploaded": "2026-01-01T00:00:00Z", "lacking": "no licence"}, ALL, "allow", "it is not yanked"),
        ({"lacking": "no licence", "told": ("yanked",)}, ALL, "allow", "it is not yanked"),
        ({"lacking": "no page", "told": ("uploaded",)}, ALL, "hold", "no page"),
        ({"told": ("yanked",)}, ("licences",), "hold", "nobody asked the index"),
        ({"yanked": "x", "own_wheel": True}, ALL, "allow", "own wheel"),
    ],
)
def test_yanked(facts: dict[str, Any], asked: tuple[FactKind, ...], decision: str, words: str) -> None:
    result = judged(package(**facts), policy=with_rules(pypi={"yanked": "block"}), asked=asked)
    assert result.decision == decision
    assert words in reason(result, "yanked")
    assert judged(package(**facts), asked=asked).decision == "allow"  # nobody asks


def test_a_young_version_is_held_until_its_time_has_come() -> None:
    policy = with_rules(pypi={"cooldown": {"days": 7, "unknown_upload": "block"}})
    for age, decision in ((6.99, "hold"), (7.0, "allow"), (-1.0, "hold")):
        result = judged(package(uploaded=timestamp(NOW - age * DAY)), policy=policy)
        assert result.decision == decision
        if decision == "allow":
            assert result.until == ""
        else:
            assert datetime.fromisoformat(result.until).timestamp() == NOW + (7 - age) * DAY
            assert result.until.endswith("Z")
    assert judged(package(uploaded=timestamp(NOW)), policy=DEFAULT).decision == "allow"


@pytest.mark.parametrize("uploaded", ["", "yesterday", "2026-11-20T12:00:00", "9999-12-31T23:59:59Z"])
def test_a_version_of_unknown_age_has_an_answer_of_its_own_and_no_end(uploaded: str) -> None:
    for answer in ("allow", "hold", "block"):
        policy = with_rules(pypi={"cooldown": {"days": 7, "unknown_upload": answer}})
        result = judged(package(uploaded=uploaded, lacking="the page is gone"), policy=policy)
        assert (result.decision, result.until) == (answer, "")
        assert "the page is gone" in reason(result, "cooldown")


def test_a_version_that_mends_what_it_replaces_does_not_wait() -> None:
    policy = with_rules(pypi={"cooldown": {"days": 7, "unknown_upload": "hold"}})
    for uploaded in (timestamp(NOW), ""):
        result = judged(package(uploaded=uploaded, mends=("GHSA-x",)), policy=policy)
        assert (result.decision, result.until) == ("allow", "")
        assert "mends GHSA-x" in reason(result, "cooldown")


def test_a_hold_for_another_reason_as_well_has_no_end() -> None:
    policy = with_rules(pypi={"cooldown": {"days": 7, "unknown_upload": "hold"}, "yanked": "hold"})
    young = timestamp(NOW)
    assert judged(package(uploaded=young), policy=policy).until
    assert judged(package(uploaded=young, yanked=""), policy=policy).until == ""
    assert judged(package(uploaded=young), finding(), policy=policy).until == ""  # blocked


@pytest.mark.parametrize(
    ("stated", "decision"),
    [
        (("MIT",), "allow"),
        (("MIT OR GPL-3.0-only",), "allow"),
        (("MIT AND GPL-3.0-only",), "block"),
        (("GPL-3.0-only",), "block"),
        ((), "hold"),
        (("see the file LICENSE",), "hold"),
    ],
)
def test_licences(stated: tuple[str, ...], decision: str) -> None:
    rule = {"allow": ["MIT", "Apache-2.0"], "deny": [], "refused": "block", "unknown": "hold"}
    policy = with_rules(pypi={"licences": rule})
    result = judged(package(licences=stated), policy=policy)
    assert result.decision == decision
    assert all(text in reason(result, "licences") for text in stated)
    assert judged(package(licences=stated, own_wheel=True), policy=policy).decision == "allow"
    assert judged(package(licences=stated), policy=policy, asked=("uploaded",)).decision == "hold"
    assert judged(package(licences=stated)).decision == "allow"


@pytest.mark.parametrize(
    ("name", "blocked"),
    [
        ("acme-tools", True),
        ("acmelib", True),
        ("lib-acme-old", True),
        ("acme", False),
        ("acmelib2", False),
        ("thing", False),
    ],
)
def test_a_name_of_our_own_from_an_index_is_somebody_elses(name: str, blocked: bool) -> None:
    policy = with_rules(private_names=["acme-*", "acmelib", "*-acme-*"])
    result = judged(package(name), policy=policy)
    assert (result.decision == "block") == blocked
    assert ("dependency confusion" in result.reason) == blocked
    assert judged(package(name, own_wheel=True), policy=policy).decision == "allow"
    elsewhere = judged(package(name, direct_url="https://x/y.whl"), policy=policy)
    assert answers(elsewhere)["private_name"] == ("block" if blocked else "allow")


def test_a_name_that_imitates_another() -> None:
    policy = with_rules(pypi={"name_confusion": "hold"}, private_names=["acmelib"])
    for name, words in (("requestss", "requests"), ("acmelibs", "acmelib")):
        result = judged(package(name), policy=policy)
        assert result.decision == "hold"
        assert words in result.reason
        assert judged(package(name, own_wheel=True), policy=policy).decision == "allow"
    assert judged(package("requests"), policy=policy).decision == "allow"
    assert judged(package("requestss")).decision == "allow"


def test_the_first_pattern_that_matches_counts() -> None:
    rules = [
        {"purl": "pkg:pypi/thing@1.0", "answer": "allow", "reason": "looked at"},
        {"purl": "pkg:pypi/thing", "answer": "block", "reason": "not of ours"},
    ]
    policy = with_rules(packages=rules)
    assert judged(package(version="1.0"), policy=policy).decision == "allow"
    blocked = judged(package(version="1.1"), policy=policy)
    assert blocked.reason == "the policy names pkg:pypi/thing: not of ours"
    assert judged(package(version="1.0"), policy=with_rules(packages=rules[::-1])).decision == "block"
    held = with_rules(packages=[{"purl": "pkg:generic/*", "answer": "hold", "reason": "new"}])
    assert judged(TOOL, policy=held).decision == "hold"


def test_what_is_allowed_by_name_passes_other_rules_and_says_so() -> None:
    policy = with_rules(packages=[{"purl": "pkg:pypi/thing", "answer": "allow", "reason": "looked at"}])
    result = judged(package(direct_url="https://x/y"), finding(), policy=policy)
    assert result.decision == "allow"
    assert reason(result, "severity").endswith("; the policy allows pkg:pypi/thing: looked at")
    assert judged(package(), finding(malicious=True), policy=policy).decision == "block"
    assert judged(package(), policy=policy, lacking={package().package.purl: "broken"}).decision == "hold"
    old = SOURCE.model_copy(update={"date": "2026-01-01T00:00:00Z"})
    assert judged(package(), policy=policy, source=old).decision == "hold"


def test_a_file_that_an_advisory_names_after_all() -> None:
    assert judged(TOOL, finding(malicious=True)).decision == "block"
    assert judged(TOOL, finding(severity="LOW")).decision == "hold"
    assert judged(TOOL, finding(undecided="no version")).decision == "hold"


def test_a_workload_has_its_own_rules() -> None:
    policy = with_rules(workloads={"lab": {"pypi": {"direct_url": "allow"}}})
    subject = package(direct_url="https://x/y")
    assert judged(subject, policy=policy).decision == "block"
    assert judged(subject, policy=policy, workload="shop").decision == "block"
    assert judged(subject, policy=policy, workload="lab").decision == "allow"
    assert judged(subject, finding(), policy=policy, workload="lab").decision == "block"


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({}, set()),
        ({"yanked": "hold"}, {"yanked"}),
        ({"cooldown": {"days": 1, "unknown_upload": "allow"}}, {"uploaded"}),
        (
            {"licences": {"allow": ["*"], "deny": ["GPL-3.0-only"], "refused": "hold", "unknown": "allow"}},
            {"licences"},
        ),
        ({"licences": {"allow": ["MIT"], "deny": [], "refused": "allow", "unknown": "allow"}}, set()),
        (
            {"licences": {"allow": ["*"], "deny": [], "refused": "block", "unknown": "hold"}},
            {"licences"},
        ),
    ],
)
def test_only_facts_that_a_rule_asks_for_are_wanted(rules: dict[str, Any], wanted: set[FactKind]) -> None:
    assert asks_for(with_rules(pypi=rules), "") == wanted
    if rules:
        override = with_rules(workloads={"lab": {"pypi": rules}})
        assert (asks_for(override, "lab"), asks_for(override, "")) == (wanted, set())
