"""Faults are seeded one by one into a copy of the files; the check that guards against each must say so.

The clean baseline is `test_outer.test_the_plan_holds`; here it is asked for again after the last fault, so that a copy
that was not restored cannot look like a success.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.terraform import variables
from tests.terraform.checks import EVERYWHERE
from tests.terraform.fault import Fault
from tests.terraform.faults_access import ACCESS
from tests.terraform.faults_flow import FLOW
from tests.terraform.faults_things import MADE
from tests.terraform.harness import Workspace
from tests.terraform.outer_checks import OUTER
from tests.terraform.watch_checks import WATCH

FAULTS = ACCESS + FLOW + MADE


@contextmanager
def _seeded(workspace: Workspace, fault: Fault) -> Iterator[None]:
    path = workspace.directory / fault.file
    before = path.read_text()
    assert fault.old in before, f"{fault.file} has no {fault.old!r} any more: mend the fault."
    path.write_text(before.replace(fault.old, fault.new, 1) if fault.old else before + fault.new)
    try:
        yield
    finally:
        path.write_text(before)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught(fault: Fault, outer: Workspace) -> None:
    with _seeded(outer, fault):
        done, plan = outer.plan("outer", variables.OUTER)
    if fault.caught_by == "terraform":
        assert not plan, "Terraform planned it."
        return
    assert plan, done.output
    caught = {check.__name__ for check in EVERYWHERE + OUTER + WATCH if list(check(plan))}
    assert fault.caught_by in caught


def test_without_a_fault_nothing_is_caught(outer: Workspace) -> None:
    done, plan = outer.plan("outer", variables.OUTER)
    assert plan, done.output
    assert [said for check in EVERYWHERE + OUTER + WATCH for said in check(plan)] == []


def test_every_check_is_guarded_by_a_fault() -> None:
    assert {check.__name__ for check in EVERYWHERE + OUTER + WATCH} <= {fault.caught_by for fault in FAULTS}
