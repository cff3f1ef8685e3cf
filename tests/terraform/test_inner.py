"""The plan of terraform/inner: sealed as it is, and every seeded fault is seen by the check that is there for it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.events import SUBSCRIBERS
from shared.model.package import CODENAMES
from shared.settings import Settings, read
from tests.terraform import inner_checks, inner_variables
from tests.terraform.harness import TERRAFORM, Workspace, workspace
from tests.terraform.inner_mutations import FAULTS, REFUSED, Fault
from tests.terraform.resources import of, planned


@pytest.fixture(scope="module")
def inner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with workspace(tmp_path_factory.mktemp("inner")) as made:
        made.init("inner")
        yield made


@pytest.fixture(scope="module")
def plan(inner: Workspace) -> dict[str, Any]:
    done, found = inner.plan("inner", inner_variables.INNER)
    assert done.code == 0, done.output
    return found


def test_the_plan_is_sealed(plan: dict[str, Any]) -> None:
    assert inner_checks.objections(plan, planned(plan)) == {}
    assert plan["planned_values"]["outputs"]["sealed_by"]["value"] == "sealed by route and perimeter"


def test_the_first_apply_is_sealed_too(inner: Workspace) -> None:
    done, first = inner.plan("inner", inner_variables.FIRST)
    assert done.code == 0, done.output
    resources = planned(first)
    assert inner_checks.objections(first, resources) == {}
    assert not of(resources, "google_cloud_run_v2_service", "google_compute_instance", "google_kms_crypto_key")
    assert first["planned_values"]["outputs"]["sealed_by"]["value"] == "sealed by route only"
    assert set(first["planned_values"]["outputs"]["identities"]["value"]) == {
        "data_services", "deployer", "function", "pubsub_agent", "run_agent", "vm"
    }  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_seeded_fault_is_seen(fault: Fault, inner: Workspace) -> None:
    path = inner.directory / fault.file
    right = path.read_text()
    assert fault.old in right, f"{fault.file} no longer holds what '{fault.name}' replaces"
    path.write_text(right.replace(fault.old, fault.new))
    try:
        done, found = inner.plan("inner", inner_variables.INNER)
    finally:
        path.write_text(right)
    if fault.check == REFUSED:
        assert done.code != 0
        return
    assert done.code == 0, done.output
    assert fault.check in inner_checks.objections(found, planned(found))


@pytest.mark.parametrize(
    "kind",
    ["google_compute_router_nat", "google_compute_network_peering", "google_vpc_access_connector"],
)
def test_a_way_out_is_seen(kind: str, plan: dict[str, Any]) -> None:
    assert "no_default_route" in _with(plan, {"address": f"{kind}.x", "type": kind, "values": {}})


def test_a_key_file_is_seen(plan: dict[str, Any]) -> None:
    kind = "google_service_account_key"
    assert "roles" in _with(plan, {"address": f"{kind}.x", "type": kind, "values": {}})


def test_an_authoritative_policy_cannot_hide(plan: dict[str, Any]) -> None:
    kind = "google_kms_crypto_key_iam_policy"
    with pytest.raises(AssertionError, match="are not read"):
        _with(plan, {"address": f"{kind}.x", "type": kind, "values": {"policy_data": "{}"}})


def _with(plan: dict[str, Any], resource: dict[str, Any]) -> dict[str, list[str]]:
    changed = copy.deepcopy(plan)
    changed["planned_values"]["root_module"]["resources"].append({"mode": "managed", **resource})
    return inner_checks.objections(changed, planned(changed))


def test_the_function_gets_settings_that_it_reads(plan: dict[str, Any]) -> None:
    (service,) = of(planned(plan), "google_cloud_run_v2_service")
    given = {each["name"]: each["value"] for each in service.block("template")["containers"][0]["env"]}
    settings = read(given)
    known = set(Settings("p").environment()) | {"FUNCTION_SOURCE", "FUNCTION_TARGET"}
    assert set(given) <= known
    assert settings.project == inner_variables.CONTRACT["project"]
    assert settings.inner_project == inner_variables.PROJECT
    assert settings.account("inner") == f"inner-vm@{inner_variables.PROJECT}.iam.gserviceaccount.com"


def test_names_are_those_of_the_code(plan: dict[str, Any]) -> None:
    resources, settings = planned(plan), Settings("p")
    repositories = {each["repository_id"] for each in of(resources, "google_artifact_registry_repository")}
    own = {settings.python_repository, settings.generic_repository, settings.image_repository}
    assert repositories == own | set(CODENAMES.values())
    assert {each["name"] for each in of(resources, "google_compute_network")} == {settings.inner_network}
    subscriptions = {each["name"] for each in of(resources, "google_pubsub_subscription")}
    assert subscriptions == {f"inner--{topic}" for topic in SUBSCRIBERS["inner"]}
    assert set(inner_variables.TOPICS) == set(SUBSCRIBERS["inner"])


def test_the_committed_export_is_what_the_code_exports() -> None:
    committed = json.loads((TERRAFORM / "inner" / inner_variables.EXPORT).read_text())
    assert committed == inner_variables.export(), "python -m tests.terraform.inner_variables writes it anew"


def test_the_plan_holds_the_condition_of_the_policy(plan: dict[str, Any]) -> None:
    (provider,) = of(planned(plan), "google_iam_workload_identity_pool_provider")
    assert provider["attribute_condition"] == inner_variables.export()["provider"]["attribute_condition"]


def test_formatted_and_valid(inner: Workspace) -> None:
    assert inner.run("inner", "validate", "-no-color").code == 0
    for folder in ("inner", "modules/confidential_space"):
        done = inner.run(folder, "fmt", "-check", "-recursive", "-no-color")
        # backend_override.tf is the harness's own.
        assert [line for line in done.output.splitlines() if line.endswith((".tf", ".hcl"))] == []


def test_terraforms_own_tests(inner: Workspace) -> None:
    done = inner.run("inner", "test", "-no-color")
    assert done.code == 0, done.output
    assert "Success!" in done.output
    assert " 0 passed" not in done.output


def test_every_variable_is_described() -> None:
    for path in (*Path(TERRAFORM / "inner").glob("*.tf"), *(TERRAFORM / "modules/confidential_space").glob("*.tf")):
        for block in path.read_text().split('\nvariable "')[1:]:
            name, body = block.split('"', 1)
            assert "description =" in body, f"{path.name}: {name}"
            assert "type        =" in body or "type =" in body, f"{path.name}: {name}"
