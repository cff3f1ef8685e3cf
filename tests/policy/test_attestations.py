"""Packages whose files must be attested: which are meant, and who is good enough."""

from __future__ import annotations

from typing import Any

import pytest

from shared.errors import Permanent
from shared.model.case import Subject
from shared.model.policy import AttestedRule, Policy, WorkloadRules
from shared.model.publisher import Publisher
from shared.policy.attestations import asked, refusal
from tests.advisories.build import pypi
from tests.policy.build import DEFAULT, answers, judged, reason

NUMPY = Publisher(kind="GitHub", repository="numpy/numpy-release", workflow="wheels.yml")
OTHER = Publisher(kind="GitLab", repository="numpy/numpy-release", workflow="wheels.yml")


def rule(*publishers: str, purl: str = "pkg:pypi/numpy") -> AttestedRule:
    return AttestedRule(purl=purl, publishers=publishers or ("*",))


@pytest.mark.parametrize(
    ("patterns", "publishers", "words"),
    [
        ((), (), "the index names no attestation of it"),
        ((), (OTHER,), ""),
        (("GitHub numpy/numpy-release (wheels.yml)",), (NUMPY,), ""),
        (("GitHub numpy/*",), (NUMPY,), ""),
        (("GitHub numpy/*",), (OTHER, NUMPY), ""),
        (("GitLab x/y", "GitHub numpy/*"), (NUMPY,), ""),
        (("GitHub numpy/*",), (), "the index names no attestation of it"),
        (
            ("GitHub numpy/*",),
            (OTHER,),
            "published by GitLab numpy/numpy-release (wheels.yml), and not by GitHub numpy/*",
        ),
        (("GitHub numpy/numpy-release (release.yml)",), (NUMPY,), "and not by"),
        (("GitHub numpy/numpy-release",), (NUMPY,), "and not by"),
    ],
)
def test_who_is_good_enough(patterns: Any, publishers: tuple[Publisher, ...], words: str) -> None:
    found = refusal(rule(*patterns), publishers)
    assert words in found
    assert bool(words) == bool(found)


def test_the_first_that_matches_counts() -> None:
    first, second = rule("GitHub a/*", purl="pkg:pypi/acme-*"), rule(purl="pkg:pypi/acme-tool@2.*")
    assert asked("pkg:pypi/acme-tool@2.1", (first, second)) == first
    assert asked("pkg:pypi/acme-tool@2.1", (second, first)) == second
    assert asked("pkg:pypi/acme-tool@1.0", (second, first)) == first
    assert asked("pkg:pypi/tool@1.0", (second, first)) is None


@pytest.mark.parametrize(
    "entry",
    [
        {"purl": "pkg:deb/debian/openssl"},
        {"purl": "numpy"},
        {"purl": "pkg:pypi/numpy", "publishers": []},
        {"purl": "pkg:pypi/numpy", "publishers": ["numpy/*"]},
        {"purl": "pkg:pypi/numpy", "publishers": ["*/*"]},
        {"purl": "pkg:pypi/numpy", "publishers": ["Github numpy/*"]},
        {"purl": "pkg:pypi/numpy", "publishers": ["GitHub "]},
        {"publishers": ["*"]},
    ],
)
def test_what_is_no_rule(entry: dict[str, Any]) -> None:
    """A pattern that could never fit would refuse everything, or be thought to protect something."""
    with pytest.raises(Permanent, match=r"attestations"):
        Policy.check(DEFAULT.model_dump(mode="json") | {"attestations": [entry]}, "The policy")


def test_a_verdict_says_that_it_will_be_asked() -> None:
    thing = Subject(package=pypi("numpy", "2.0"))
    wanting = DEFAULT.model_copy(update={"attestations": (rule("GitHub numpy/*"),)})
    found = judged(thing, policy=wanting)
    assert found.decision == "allow"
    assert "must be attested, by GitHub numpy/* (pkg:pypi/numpy)" in reason(found, "attestations")
    assert "attestations" not in answers(judged(thing))
    assert "attestations" not in answers(judged(Subject(package=pypi("other", "2.0")), policy=wanting))


def test_a_workload_may_have_its_own() -> None:
    own = WorkloadRules(attestations=(rule(purl="pkg:pypi/other"),))
    policy = DEFAULT.model_copy(update={"attestations": (rule(),), "workloads": {"mine": own}})
    assert policy.rules("mine").attestations == own.attestations
    assert policy.rules("yours").attestations == (rule(),)
    none = DEFAULT.model_copy(
        update={"attestations": (rule(),), "workloads": {"mine": WorkloadRules(attestations=())}}
    )
    assert none.rules("mine").attestations == ()
