"""Packages from repositories that are not the distribution's: only from those that the policy lists."""

from __future__ import annotations

from shared.model.case import Subject
from shared.model.policy import WorkloadRules
from tests.advisories.build import deb
from tests.policy.build import DEFAULT, answers, judged, reason, waiver
from tests.support.apt_key import SOURCE

THING = Subject(package=deb("fuse-tool", "1.0"), apt_source=SOURCE.pin)
LISTED = DEFAULT.model_copy(update={"apt_sources": (SOURCE.pin,)})


def test_a_repository_that_the_policy_lists() -> None:
    result = judged(THING, policy=LISTED)
    assert result.decision == "allow"
    assert "which the policy lists" in reason(result, "apt_sources")


def test_one_that_it_does_not_list() -> None:
    other = DEFAULT.model_copy(update={"apt_sources": (SOURCE.pin.model_copy(update={"suite": "old"}),)})
    for policy in (DEFAULT, other):
        result = judged(THING, policy=policy)
        assert result.decision == "block"
        assert f"under the key {SOURCE.pin.key}, which the policy does not list" in result.reason


def test_the_distributions_own_are_not_asked() -> None:
    own = THING.model_copy(update={"apt_source": None})
    assert "apt_sources" not in answers(judged(own))


def test_neither_a_waiver_of_the_package_nor_its_name_makes_up_for_the_key() -> None:
    assert judged(THING, waivers=[waiver(package="pkg:deb/debian/fuse-tool@*")]).decision == "block"
    named = {"purl": "pkg:deb/debian/fuse-tool@*", "answer": "allow", "reason": "known"}
    policy = type(DEFAULT).check(DEFAULT.model_dump(mode="json") | {"packages": [named]}, "The policy")
    assert judged(THING, policy=policy).decision == "block"


def test_a_workload_may_have_repositories_of_its_own() -> None:
    own = DEFAULT.model_copy(update={"workloads": {"mine": WorkloadRules(apt_sources=(SOURCE.pin,))}})
    assert judged(THING, policy=own, workload="mine").decision == "allow"
    assert judged(THING, policy=own, workload="yours").decision == "block"
    none = LISTED.model_copy(update={"workloads": {"mine": WorkloadRules(apt_sources=())}})
    assert judged(THING, policy=none, workload="mine").decision == "block"
