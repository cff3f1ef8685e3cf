"""The contract between the projects: the page is the plans', every right has its code, and the perimeter fits."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.terraform import table
from tests.terraform.harness import Workspace
from tests.terraform.plans import Plan, resources

Plans = tuple[Plan, Plan]


@pytest.fixture(scope="session")
def both(terraform: Workspace) -> Plans:
    return table.plans(terraform)


def test_the_page_is_the_plans(both: Plans) -> None:
    assert table.TABLE.read_text() == table.page(*both), (
        "Write it anew: .venv/bin/python -m tests.terraform.table --write"
    )


def test_every_right_has_code_that_needs_it(both: Plans) -> None:
    outer, inner = both
    assert table.unneeded((*table.inward(inner), *table.inside(inner), *table.outward(outer))) == []


def test_a_right_that_nothing_needs_is_seen(both: Plans) -> None:
    (first, *_) = table.inward(both[1])
    assert table.unneeded([dataclasses.replace(first, file="", word="")])
    assert table.unneeded([dataclasses.replace(first, word="def a_call_that_is_gone")])
    assert table._need("inner: inner-vm", "pubsub.publisher", "topic run-completed") == ("", "")


def test_inward_are_packages_and_images_alone(both: Plans) -> None:
    rights = {(row.identity, row.role) for row in table.inward(both[1])}
    assert rights == {
        ("outer: sync-stage", "artifactregistry.writer"),
        ("outer: builder", "artifactregistry.writer"),
    }
    assert all(row.on.startswith("repository ") for row in table.inward(both[1]))


def test_eviction_adds_deleting_and_nothing_else(terraform: Workspace, both: Plans) -> None:
    done, plan = terraform.plan("inner", table.INNER | {"eviction": True})
    assert plan, done.output
    more = set(table.inward(plan)) - set(table.inward(both[1]))
    assert {(row.identity, row.role) for row in more} == {("outer: sync-stage", "packageDmzEvictor")}
    (role,) = (
        one
        for one in resources(plan, "google_project_iam_custom_role")
        if one.values["role_id"] == "packageDmzEvictor"
    )
    assert role.values["permissions"] == ["artifactregistry.versions.delete"]


def test_the_perimeter_lets_through_what_the_contract_says(both: Plans) -> None:
    outer, inner = both
    (drawn,) = resources(inner, "google_access_context_manager_service_perimeter")
    status = drawn.block("status")
    assert _let(status, "egress") == {(row.identity, _interface(row.on)) for row in table.outward(outer)}
    people = [row for row in table.inside(inner) if row.identity in ("data owners", "operators")]
    assert {row.identity for row in people} == {"data owners", "operators"}
    # Identity-Aware Proxy is not among what the perimeter holds: its tunnel ends at port 22.
    assert _let(status, "ingress") - _deployment(status) == {
        (row.identity, _interface(row.on, row.role))
        for row in (*table.inward(inner), *people)
        if row.role != "iap.tunnelResourceAccessor"
    }


def _let(status: Any, way: str) -> set[tuple[str, str]]:
    return {
        (table._identity(member), str(each["service_name"]))
        for rule in status[f"{way}_policies"]
        for member in rule[f"{way}_from"][0]["identities"]
        for each in rule[f"{way}_to"][0]["operations"]
    }


def _deployment(status: Any) -> set[tuple[str, str]]:
    return {("who applies inner", str(each)) for each in status["restricted_services"]}


def _interface(on: str, role: str = "") -> str:
    kind = on.partition(" ")[0]
    if role == "packageDmzOperator":
        return "tpu.googleapis.com"
    names = {
        "key": "cloudkms",
        "repository": "artifactregistry",
        "topic": "pubsub",
        "subscription": "pubsub",
        "project": "firestore",
    }
    return f"{names[kind]}.googleapis.com"
