"""Each hostile token is refused by the check that is there for it, and its repaired twin accepted."""

from __future__ import annotations

import pytest

from shared.appraisal.appraise import CHECKS, DEFECT, appraise
from tests.appraisal.corpus import HOSTILE
from tests.appraisal.hostile import Hostile

NUMBERS = {question.name: number for number, question in enumerate(CHECKS, 1)}


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda each: f"{NUMBERS[each.check]}: {each.name}")
def test_refused(hostile: Hostile) -> None:
    inputs = hostile.bad()
    result = appraise(*inputs.all())
    assert result.decision == "refused"
    assert result.valid_until == 0
    assert tuple(check.name for check in result.failed) == (hostile.check, *hostile.also)
    assert result.failed[0].number == NUMBERS[hostile.check]
    assert DEFECT not in [check.sentence for check in result.failed]
    for check in result.checks:
        assert check.sentence.endswith("."), check
        assert check.input.isprintable(), check
        assert check.sentence.isprintable(), check


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda each: f"{NUMBERS[each.check]}: {each.name}")
def test_its_twin_is_accepted(hostile: Hostile) -> None:
    result = appraise(*hostile.twin().all())
    assert [(check.name, check.sentence) for check in result.failed] == []
    assert result.decision == "accepted"


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 150
    assert {hostile.check for hostile in HOSTILE} == {question.name for question in CHECKS}, (
        "a check without any"
    )
