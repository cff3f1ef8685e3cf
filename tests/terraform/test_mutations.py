"""Faults are seeded one by one into a copy of the files; the check that guards against each must say so.

The clean baseline is `test_outer.test_the_plan_holds`; here it is asked for again in each copy after its last fault, so
that a copy that was not restored cannot look like a success.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from queue import Queue
from typing import Any

import pytest

from tests.terraform import faults_builders, faults_console, faults_keeping, variables
from tests.terraform.builder_checks import BUILDERS
from tests.terraform.checks import EVERYWHERE
from tests.terraform.console_checks import CONSOLE
from tests.terraform.fault import Fault
from tests.terraform.faults_access import ACCESS
from tests.terraform.faults_flow import FLOW
from tests.terraform.faults_things import MADE
from tests.terraform.harness import Done, Workspace
from tests.terraform.keeping_checks import KEEPING
from tests.terraform.outer_checks import OUTER
from tests.terraform.watch_checks import WATCH

FAULTS = ACCESS + FLOW + MADE + faults_builders.BUILDERS + faults_console.CONSOLE + faults_keeping.KEEPING
CHECKS = EVERYWHERE + OUTER + BUILDERS + CONSOLE + WATCH + KEEPING
_AT_A_TIME = 2
Outcome = tuple[Done, dict[str, Any]]


@pytest.fixture(scope="module")
def copies(outer: Workspace, tmp_path_factory: pytest.TempPathFactory) -> list[Workspace]:
    directory = tmp_path_factory.mktemp("mutations")
    return [outer.copied(directory / str(number)) for number in range(_AT_A_TIME)]


@pytest.fixture(scope="module")
def outcomes(
    copies: list[Workspace], request: pytest.FixtureRequest
) -> Iterator[Mapping[str, Future[Outcome]]]:
    """The plan with each fault that this session asks for, by its name: Terraform leaves a core idle."""
    free: Queue[Workspace] = Queue()
    for each in copies:
        free.put(each)

    def planned(fault: Fault) -> Outcome:
        workspace = free.get()
        try:
            with _seeded(workspace, fault):
                return workspace.plan("outer", variables.OUTER)
        finally:
            free.put(workspace)

    asked = [getattr(item, "callspec", None) for item in request.session.items if item.path == request.path]
    faults = [one.params["fault"] for one in asked if one and "fault" in one.params]
    pool = ThreadPoolExecutor(_AT_A_TIME)
    yield {fault.name: pool.submit(planned, fault) for fault in faults}
    pool.shutdown(cancel_futures=True)


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
def test_a_fault_is_caught(fault: Fault, outcomes: Mapping[str, Future[Outcome]]) -> None:
    done, plan = outcomes[fault.name].result()
    if fault.caught_by == "terraform":
        assert not plan, "Terraform planned it."
        return
    assert plan, done.output
    caught = {check.__name__ for check in CHECKS if list(check(plan))}
    assert fault.caught_by in caught


def test_without_a_fault_nothing_is_caught(copies: list[Workspace]) -> None:
    for copy in copies:
        done, plan = copy.plan("outer", variables.OUTER)
        assert plan, done.output
        assert [said for check in CHECKS for said in check(plan)] == []


def test_every_check_is_guarded_by_a_fault() -> None:
    assert {check.__name__ for check in CHECKS} <= {fault.caught_by for fault in FAULTS}


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
