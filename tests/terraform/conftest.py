"""Fixtures: one copy of terraform/ for the session with the stand-ins at work, and the plans that tests look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.terraform import harness, inner_variables, variables


@pytest.fixture(scope="session")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[harness.Workspace]:
    """A copy of terraform/; who changes it changes it back. Without Terraform: skipped, in CI a failure."""
    if why := harness.lacking():
        if os.environ.get("CI"):
            pytest.fail(why, pytrace=False)
        pytest.skip(why)
    with harness.workspace(tmp_path_factory.mktemp("terraform")) as made:
        yield made


@pytest.fixture(scope="session")
def outer(terraform: harness.Workspace) -> harness.Workspace:
    terraform.init("outer")
    return terraform


@pytest.fixture(scope="session")
def outer_plan(outer: harness.Workspace) -> dict[str, Any]:
    """Everything on."""
    done, plan = outer.plan("outer", variables.OUTER)
    assert plan, done.output
    return plan


@pytest.fixture(scope="session")
def first_plan(outer: harness.Workspace) -> dict[str, Any]:
    """The first apply: no image, no inner project."""
    done, plan = outer.plan("outer", variables.FIRST)
    assert plan, done.output
    return plan


@pytest.fixture(scope="session")
def inner(terraform: harness.Workspace) -> harness.Workspace:
    terraform.init("inner")
    return terraform


@pytest.fixture(scope="session")
def inner_plan(inner: harness.Workspace) -> dict[str, Any]:
    """Everything on."""
    done, plan = inner.plan("inner", inner_variables.INNER)
    assert plan, done.output
    return plan
