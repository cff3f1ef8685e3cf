"""What holds whatever the policy, the packages, the findings and the waivers are."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.model.case import Case, Subject
from shared.model.policy import Policy
from shared.model.verdict import Finding, Verdict
from shared.model.waiver import Waiver
from shared.policy.judge import judge_all
from tests.advisories.build import deb
from tests.policy.build import SOURCE, case, finding, package, waiver, with_rules

BADNESS = {"allow": 0, "hold": 1, "block": 2}
_decision = st.sampled_from(["allow", "hold", "block"])
_hold = st.sampled_from(["hold", "block"])
_threshold = st.sampled_from(
    [
        {"hold": "never", "block": "never"},
        {"hold": "LOW", "block": "CRITICAL"},
        {"hold": "never", "block": "HIGH"},
        {"hold": "MEDIUM", "block": "never"},
    ]
)
_probability = st.fixed_dictionaries({"at_least": st.sampled_from([0.0, 0.5]), "answer": _decision})
_NAMES = ("thing", "other", "acme-x")
_IDS = ("GHSA-a", "GHSA-b", "CVE-2026-1", "MAL-2026-1")


def _pattern() -> st.SearchStrategy[str]:
    return st.sampled_from(["pkg:pypi/thing", "pkg:pypi/other@1.*", "pkg:pypi/*", "pkg:deb/debian/*"])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    pypi = st.fixed_dictionaries(
        {
            "malicious": _hold,
            "severity": _threshold,
            "unknown_severity": _decision,
            "undecided": _hold,
            "known_exploited": _decision,
            "exploit_probability": _probability,
            "direct_url": _decision,
            "source_distribution": _decision,
            "yanked": _decision,
            "cooldown": st.fixed_dictionaries({"days": st.sampled_from([0, 7]), "unknown_upload": _decision}),
            "licences": st.fixed_dictionaries(
                {
                    "allow": st.sampled_from([["*"], ["MIT"]]),
                    "deny": st.sampled_from([[], ["GPL-3.0-only"]]),
                    "refused": _decision,
                    "unknown": _decision,
                }
            ),
        }
    )
    unfixed = _threshold.flatmap(
        lambda each: _decision.map(lambda answer: {**each, "unknown_severity": answer})
    )
    debian = st.fixed_dictionaries(
        {
            "malicious": _hold,
            "fix_available": _decision,
            "unfixed": unfixed,
            "undecided": _hold,
            "known_exploited": _decision,
            "exploit_probability": _probability,
        }
    )
    rule = st.fixed_dictionaries({"purl": _pattern(), "answer": _decision, "reason": st.just("so")})
    return with_rules(
        max_advisory_age_hours=draw(st.sampled_from([1, 72])),
        pypi=draw(pypi),
        debian=draw(debian),
        private_names=draw(st.sampled_from([[], ["acme-*"]])),
        packages=draw(st.lists(rule, max_size=2)),
    )


_findings = st.builds(
    finding,
    id=st.sampled_from(_IDS),
    aliases=st.sampled_from([(), ("CVE-2026-1",), ("CVE-2026-9",)]),
    severity=st.sampled_from(["UNKNOWN", "NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL"]),
    malicious=st.booleans(),
    fixed=st.sampled_from([(), ("2.0",)]),
    undecided=st.sampled_from(["", "no versions"]),
    exploited=st.booleans(),
    exploit_probability=st.sampled_from([None, 0.1, 0.9]),
)


@st.composite
def subjects(draw: st.DrawFn) -> tuple[Subject, ...]:
    python = [
        package(
            name,
            yanked=draw(st.sampled_from([None, "", "bad"])),
            uploaded=draw(st.sampled_from(["", "2026-11-20T00:00:00Z", "2026-01-01T00:00:00Z"])),
            licences=draw(st.sampled_from([(), ("MIT",), ("GPL-3.0-only",), ("?",)])),
            lacking=draw(st.sampled_from(["", "gone"])),
            direct_url=draw(st.sampled_from(["", "https://x/y"])),
            is_sdist=draw(st.booleans()),
            own_wheel=draw(st.booleans()),
            in_base=draw(st.booleans()),
            mends=draw(st.sampled_from([(), ("GHSA-z",)])),
        )
        for name in _NAMES
    ]
    return (*python, Subject(package=deb("thing", "1.0")))


def waivers(advisories: bool = True, expires: str = "") -> st.SearchStrategy[Waiver]:
    return st.builds(
        lambda scope, until_fixed, ends: waiver(**scope, until_fixed=until_fixed, expires=expires or ends),
        st.one_of(
            st.fixed_dictionaries({"package": _pattern()}),
            st.fixed_dictionaries(
                {
                    "advisory": st.sampled_from(_IDS),
                    "package": st.sampled_from(["", "pkg:pypi/thing"]),
                }
            )
            if advisories
            else st.nothing(),
        ),
        st.booleans(),
        st.sampled_from(["2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z"]),
    )


@st.composite
def cases(draw: st.DrawFn, given: st.SearchStrategy[list[Waiver]] | None = None) -> Case:
    some = draw(subjects())
    lists = st.lists(_findings, max_size=3, unique_by=lambda each: each.id)
    found: dict[str, list[Finding]] = {each.package.purl: draw(lists) for each in some}
    return case(
        *some,
        findings=found,
        policy=draw(policies()),
        source=SOURCE.model_copy(update={"also": draw(st.sampled_from([(), SOURCE.also]))}),
        waivers=draw(given if given is not None else st.lists(waivers(), max_size=3)),
        lacking={each.package.purl: "broken" for each in some if draw(st.integers(0, 9)) == 0},
    )


def by_purl(judged: Case) -> dict[str, Verdict]:
    return {verdict.package.purl: verdict for verdict in judge_all(judged)}


def changed(judged: Case, **changes: Any) -> Case:
    return judged.model_copy(update=changes)


_FEW = settings(max_examples=60, deadline=None)


@_FEW
@given(cases())
def test_the_worst_answer_wins_and_no_rule_is_skipped(judged: Case) -> None:
    asked: dict[str, set[tuple[str, ...]]] = {}
    for verdict in judge_all(judged):
        assert BADNESS[verdict.decision] == max(BADNESS[rule.answer] for rule in verdict.rules)
        assert all(rule.reason.strip() and rule.reason.isprintable() for rule in verdict.rules)
        asked.setdefault(verdict.package.ecosystem, set()).add(tuple(rule.rule for rule in verdict.rules))
        assert bool(verdict.until) <= (verdict.decision == "hold")
    # The same rules for every package of an ecosystem, whatever is known of it: all that the policy has, and ours.
    (python,), (debian,) = asked["pypi"], asked["debian"]
    both = {"advisory_age", "advisory_data", "packages"}
    assert set(python) == {*type(judged.policy.pypi).model_fields, *both, "private_name"}
    assert set(debian) == {*type(judged.policy.debian).model_fields, *both}
    assert len(python) == len(set(python))


@_FEW
@given(cases())
def test_nothing_but_a_waiver_that_names_it_beats_malice(judged: Case) -> None:
    for purl, verdict in by_purl(judged).items():
        named = {waiver.advisory for waiver in judged.waivers}
        for found in judged.findings[purl]:
            if found.malicious and not named & {found.id, *found.aliases}:
                assert verdict.decision != "allow"


@_FEW
@given(cases())
def test_nothing_beats_data_that_is_lacking(judged: Case) -> None:
    for purl, verdict in by_purl(judged).items():
        assert purl not in judged.lacking or verdict.decision != "allow"


@_FEW
@given(cases(), waivers())
def test_a_waiver_makes_no_package_worse_and_no_other_package_better(judged: Case, more: Waiver) -> None:
    before = by_purl(judged)
    after = by_purl(changed(judged, waivers=(*judged.waivers, more)))
    for purl, verdict in after.items():
        assert BADNESS[verdict.decision] <= BADNESS[before[purl].decision]
        meant = {
            "": True,
            "pkg:pypi/thing": purl == "pkg:pypi/thing@1.0",
            "pkg:pypi/other@1.*": purl == "pkg:pypi/other@1.0",
            "pkg:pypi/*": purl.startswith("pkg:pypi/"),
            "pkg:deb/debian/*": purl.startswith("pkg:deb/"),
        }[more.package]
        touched = not more.advisory or any(
            more.advisory in (found.id, *found.aliases) for found in judged.findings[purl]
        )
        if not (meant and touched):
            assert verdict == before[purl]


@_FEW
@given(cases(), st.lists(waivers(expires="2026-11-21T12:00:00Z"), max_size=3))
def test_expired_waivers_change_nothing(judged: Case, expired: list[Waiver]) -> None:
    both = changed(judged, waivers=(*expired, *judged.waivers))
    assert [each.canonical() for each in judge_all(judged)] == [each.canonical() for each in judge_all(both)]


@_FEW
@given(cases())
def test_the_waivers_of_a_verdict_are_those_that_it_needs(judged: Case) -> None:
    for purl, verdict in by_purl(judged).items():
        needed = tuple(waiver for waiver in judged.waivers if waiver.id in verdict.waivers)
        assert by_purl(changed(judged, waivers=needed))[purl].decision == verdict.decision
        for one in needed:
            fewer = tuple(each for each in needed if each.id != one.id)
            assert BADNESS[by_purl(changed(judged, waivers=fewer))[purl].decision] > BADNESS[verdict.decision]


@_FEW
@given(cases(), st.randoms(use_true_random=False))
def test_order_makes_no_difference(judged: Case, random: Any) -> None:
    mixed = list(judged.subjects), list(judged.waivers)
    for each in mixed:
        random.shuffle(each)
    again = Case.read(
        changed(judged, subjects=tuple(mixed[0]), waivers=tuple(mixed[1])).canonical(), "The case"
    )
    assert [each.canonical() for each in judge_all(judged)] == [each.canonical() for each in judge_all(again)]
