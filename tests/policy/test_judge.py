"""Findings to verdicts: each rule, the worst answer, reasons that name what they are about, the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import timestamp
from shared.model.case import Case, Subject
from shared.model.policy import Policy
from shared.model.value import sha256
from shared.model.verdict import AdvisorySource, Decision, Finding, Verdict
from shared.policy.judge import judge, judge_all
from shared.policy.read import find
from tests.advisories.build import deb, pypi
from tests.policy.build import DEFAULT, NOW, OFFLINE, finding

SOURCE = AdvisorySource(source="test", date="2026-11-20T12:00:00Z", digest=sha256(b"data"))


def verdict(subject: Subject, *findings: Finding, policy: Policy = DEFAULT, now: float = NOW) -> Verdict:
    return judge(subject, case(subject, findings=findings, policy=policy, now=now))


def case(
    *subjects: Subject,
    findings: Sequence[Finding] | Mapping[str, Sequence[Finding]] = (),
    policy: Policy = DEFAULT,
    source: AdvisorySource = SOURCE,
    now: float = NOW,
) -> Case:
    """`findings` by purl, or those about every subject."""
    if not isinstance(findings, Mapping):
        findings = {subject.package.purl: findings for subject in subjects}
    return Case(
        at=timestamp(now),
        workload="",
        policy=policy,
        source=source,
        subjects=subjects,
        findings={purl: tuple(found) for purl, found in findings.items()},
    )


def answers(verdict: Verdict) -> dict[str, Decision]:
    return {rule.rule: rule.answer for rule in verdict.rules}


PYPI, DEB = Subject(package=pypi()), Subject(package=deb("thing", "1.0"))


@pytest.mark.parametrize(
    ("findings", "decision", "rule"),
    [
        ([], "allow", ""),
        ([{}], "block", "severity"),
        ([{"severity": "CRITICAL", "score": 9.8}], "block", "severity"),
        ([{"severity": "MEDIUM", "score": 6.9}], "allow", ""),
        ([{"severity": "LOW"}, {"severity": "HIGH"}], "block", "severity"),
        ([{"severity": "UNKNOWN", "score": None}], "block", "unknown_severity"),
        ([{"severity": "LOW", "malicious": True}], "block", "malicious"),
        ([{"undecided": "PYSEC-1: it names no versions"}], "hold", "undecided"),
        ([{"undecided": "PYSEC-1: it names no versions", "malicious": True}], "block", "malicious"),
        ([{"undecided": "x"}, {"severity": "HIGH"}], "block", "severity"),
    ],
)
def test_python_packages(findings: list[dict[str, Any]], decision: str, rule: str) -> None:
    found = [finding(f"GHSA-{i}", **more) for i, more in enumerate(findings)]
    result = verdict(PYPI, *found)
    assert result.decision == decision
    assert [name for name, answer in answers(result).items() if answer == decision != "allow"] == (
        [rule] if rule else []
    )
    assert result.findings == tuple(found)
    assert list(answers(result)) == [
        "advisory_age",
        "advisory_data",
        "malicious",
        "severity",
        "unknown_severity",
        "undecided",
        "known_exploited",
        "exploit_probability",
        "direct_url",
        "source_distribution",
        "yanked",
        "cooldown",
        "licences",
        "private_name",
        "name_confusion",
        "packages",
    ]


@pytest.mark.parametrize(
    ("findings", "decision"),
    [
        ([], "allow"),
        ([{}], "block"),
        ([{"severity": "UNKNOWN", "score": None}], "block"),
        ([{"severity": "NONE", "score": 0.0}], "block"),
        ([{"fixed": ()}], "allow"),
        ([{"severity": "CRITICAL", "fixed": ()}], "allow"),
        ([{"fixed": ()}, {}], "block"),
        ([{"fixed": (), "undecided": "x"}], "hold"),
        ([{"fixed": (), "malicious": True}], "block"),
    ],
)
def test_debian_packages_are_judged_by_whether_there_is_a_fix(
    findings: list[dict[str, Any]], decision: str
) -> None:
    found = [finding(f"CVE-2026-{i}", **more) for i, more in enumerate(findings)]
    result = verdict(DEB, *found)
    assert result.decision == decision
    assert result.findings == tuple(found)  # an unfixed one is shown, too
    assert list(answers(result)) == [
        "advisory_age",
        "advisory_data",
        "malicious",
        "fix_available",
        "unfixed",
        "undecided",
        "known_exploited",
        "exploit_probability",
        "packages",
    ]


def test_a_reason_names_advisory_severity_and_fix() -> None:
    blocked = verdict(PYPI, finding(fixed=("2.0", "3.1")))
    assert blocked.reason == "GHSA-aaaa-bbbb-cccc (CVE-2026-1) - severity HIGH 7.5; fixed in 2.0 or 3.1"
    unfixed = verdict(DEB, finding("CVE-2026-1", aliases=(), severity="UNKNOWN", score=None, fixed=()))
    (rule,) = [rule for rule in unfixed.rules if rule.rule == "unfixed"]
    assert (rule.answer, rule.reason) == ("allow", "CVE-2026-1 - severity UNKNOWN; no fix known")
    many = verdict(PYPI, *(finding(f"GHSA-{i}", score=7.0 + i / 10) for i in range(8)))
    assert many.reason.startswith("GHSA-7 (CVE-2026-1) - severity HIGH 7.7")
    assert many.reason.endswith(" and 3 more")


def test_every_answer_has_a_reason() -> None:
    for subject in (PYPI, DEB, Subject(package=_generic(), fetched_by_url="https://example.org/tool")):
        for findings in ((), (finding(),)):
            assert all(rule.reason for rule in verdict(subject, *findings).rules)


def _generic() -> Any:
    from shared.model.package import Package

    return Package(ecosystem="generic", name="tool", version="sha256:" + "0" * 64)


def test_where_a_python_package_came_from() -> None:
    direct = Subject(package=pypi(), direct_url="git+https://example.org/x")
    assert verdict(direct).decision == "block"
    assert "git+https://example.org/x" in verdict(direct).reason
    own = Subject(package=pypi(), direct_url="file:///w/own.whl", own_wheel=True)
    assert verdict(own).decision == "allow"
    assert verdict(own, finding()).decision == "block"
    source = Subject(package=pypi(), is_sdist=True)
    assert verdict(source).decision == "allow"
    strict = DEFAULT.model_copy(
        update={"pypi": DEFAULT.pypi.model_copy(update={"source_distribution": "hold"})}
    )
    assert verdict(source, policy=strict).decision == "hold"
    assert verdict(PYPI, policy=strict).decision == "allow"


def test_a_url_from_a_hostile_machine_is_printable() -> None:
    reason = verdict(Subject(package=pypi(), direct_url="https://x/\x1b[2J\n" + "y" * 3000)).reason
    assert reason.isprintable()
    assert len(reason) < 300


def test_a_file_fetched_by_url() -> None:
    subject = Subject(package=_generic(), fetched_by_url="https://example.org/tool")
    assert verdict(subject).decision == "allow"
    held = DEFAULT.model_copy(
        update={"generic": DEFAULT.generic.model_copy(update={"fetched_by_url": "hold"})}
    )
    assert "https://example.org/tool" in verdict(subject, policy=held).reason


def test_a_file_that_the_workload_pins() -> None:
    subject = Subject(package=_generic(), fetched_by_url="https://example.org/tool", pinned=True)
    (rule,) = [rule for rule in verdict(subject).rules if rule.rule == "fetched_by_url"]
    assert rule.reason.endswith("; the workload pins its sha256")
    assert verdict(subject).reason == "every rule allows it"


@pytest.mark.parametrize("answer", ["allow", "hold", "block"])
def test_of_an_interpreter_nobody_knows_the_flaws(answer: str) -> None:
    subject = Subject(
        package=_generic(), fetched_by_url="https://example.org/p", pinned=True, interpreter="3.12.11\x1b"
    )
    policy = DEFAULT.model_copy(
        update={"generic": DEFAULT.generic.model_copy(update={"interpreter": answer})}
    )
    found = verdict(subject, policy=policy)
    assert found.decision == answer
    for words in ("it is Python 3.12.11", "undecided", "nothing about CPython itself"):
        assert words in found.reason
    assert found.reason.isprintable()


def test_what_came_with_an_interpreter_says_so() -> None:
    carried = Subject(package=pypi(), in_base=True, in_interpreter=True)
    assert verdict(carried).reason == "every rule allows it"
    assert verdict(carried, finding()).reason.endswith("; it came with the workload's own interpreter")


def test_packages_of_the_base_image_are_judged_alike_and_say_so() -> None:
    base = Subject(package=deb("thing", "1.0"), in_base=True)
    assert verdict(base).decision == "allow"
    assert verdict(base, finding()).decision == "block"
    assert verdict(base, finding()).reason.endswith("; it is part of the base image")


@pytest.mark.parametrize(
    ("date", "decision", "word"),
    [
        ("2026-11-18T12:00:01Z", "allow", ""),
        ("2026-11-18T11:59:59Z", "hold", "older than the policy's 72 hours"),
        ("2026-11-22T11:00:00Z", "allow", ""),
        ("2026-11-23T12:00:00Z", "hold", "in the future"),
        ("2026-11-20T12:00:00.123456Z", "allow", ""),
        ("", "hold", "no readable date"),
        ("yesterday", "hold", "no readable date"),
        ("2026-11-20T12:00:00", "hold", "no readable date"),  # without a zone it is no instant
    ],
)
def test_old_data_holds_every_package(date: str, decision: str, word: str) -> None:
    source = SOURCE.model_copy(update={"date": date})
    for subject in (PYPI, DEB, Subject(package=_generic())):
        result = judge(subject, case(subject, source=source))
        assert result.decision == decision
        assert word in result.reason
        assert judge(subject, case(subject, policy=OFFLINE, source=source)).decision == "allow"
    assert judge(PYPI, case(PYPI, findings=[finding()], source=source)).decision == "block"


_decisions = st.sampled_from(["allow", "hold", "block"])


@given(st.lists(_decisions, min_size=5, max_size=5), st.booleans(), st.booleans())
def test_the_worst_answer_wins(choice: list[Decision], is_sdist: bool, direct: bool) -> None:
    rules = DEFAULT.pypi.model_copy(
        update={
            "unknown_severity": choice[0],
            "malicious": choice[1],
            "undecided": choice[2] if choice[2] != "allow" else "hold",
            "direct_url": choice[3],
            "source_distribution": choice[4],
        }
    )
    subject = Subject(package=pypi(), is_sdist=is_sdist, direct_url="https://x/y" if direct else "")
    found = [finding("A", severity="UNKNOWN"), finding("B", severity="LOW", malicious=True)]
    result = verdict(subject, *found, policy=DEFAULT.model_copy(update={"pypi": rules}))
    asked = set(answers(result).values())
    assert result.decision == ("block" if "block" in asked else "hold" if "hold" in asked else "allow")


def test_a_verdict_is_the_same_bytes_for_the_same_inputs() -> None:
    subjects = [
        Subject(package=pypi("b")),
        Subject(package=pypi("a")),
        Subject(package=deb("c", "1.0"), in_base=True),
    ]
    findings = {pypi("a").purl: (finding(),), deb("c", "1.0").purl: (finding("CVE-2026-1", aliases=()),)}
    first = judge_all(case(*subjects, findings=findings))
    again = judge_all(
        case(
            *subjects[::-1], findings=dict(reversed(findings.items())), policy=find("default"), now=NOW + 3600
        )
    )
    assert [one.canonical() for one in first] == [one.canonical() for one in again]
    assert [one.package.name for one in first] == ["c", "a", "b"]
    assert {one.policy for one in first} == {DEFAULT.digest}
    assert Verdict.read(first[0].canonical(), "a verdict") == first[0]


def test_a_package_that_is_there_twice_gets_the_worse_verdict() -> None:
    twice = [Subject(package=pypi()), Subject(package=pypi(), direct_url="https://x/y")]
    for order in (twice, twice[::-1]):
        (result,) = judge_all(case(*order, findings={}))
        assert result.decision == "block"
