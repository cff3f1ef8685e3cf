"""The inner project's plan is sealed, every seeded fault is seen by the check that is there for it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.events import SUBSCRIBERS
from shared.model.package import CODENAMES
from shared.model.value import sha256
from shared.settings import Settings, read
from tests.appraisal import forge
from tests.terraform import inner_variables as variables
from tests.terraform.checks import EVERYWHERE, Check, no_keys
from tests.terraform.fault import Fault
from tests.terraform.harness import TERRAFORM, Workspace
from tests.terraform.inner_checks import INNER, no_default_route
from tests.terraform.inner_faults_access import RIGHTS
from tests.terraform.inner_faults_network import SEALED
from tests.terraform.plans import resources
from tests.terraform.watch_checks import alerts

FAULTS = SEALED + RIGHTS
MODULE = "modules/confidential_space"


@pytest.fixture(scope="session")
def first_inner_plan(inner: Workspace) -> dict[str, Any]:
    """The first apply: no image, no data service, no perimeter."""
    return _planned(inner, variables.FIRST)


def _planned(inner: Workspace, given: dict[str, Any]) -> dict[str, Any]:
    done, plan = inner.plan("inner", given)
    assert plan, done.output
    return plan


def _output(plan: dict[str, Any], name: str) -> Any:
    return plan["planned_values"]["outputs"][name].get("value")


@pytest.mark.parametrize("check", EVERYWHERE + INNER, ids=lambda check: check.__name__)
def test_the_plan_holds(check: Check, inner_plan: dict[str, Any]) -> None:
    assert list(check(inner_plan)) == []


@pytest.mark.parametrize(
    "check",
    [each for each in EVERYWHERE + INNER if each is not alerts],  # nobody is named yet who could be told
    ids=lambda check: check.__name__,
)
def test_the_first_apply_holds(check: Check, first_inner_plan: dict[str, Any]) -> None:
    assert list(check(first_inner_plan)) == []


def test_the_first_apply_makes_what_the_outer_project_needs(first_inner_plan: dict[str, Any]) -> None:
    later = ("google_cloud_run_v2_service", "google_compute_instance", "google_kms_crypto_key")
    assert not list(resources(first_inner_plan, *later))
    assert _output(first_inner_plan, "identities") == variables.IDENTITIES


def test_it_says_what_seals_it(inner_plan: dict[str, Any], first_inner_plan: dict[str, Any]) -> None:
    assert _output(inner_plan, "sealed_by") == "sealed by route and perimeter"
    assert _output(first_inner_plan, "sealed_by") == "sealed by route only"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught(fault: Fault, inner: Workspace) -> None:
    path = inner.directory / fault.file
    before = path.read_text()
    assert fault.old in before, f"{fault.file} has no {fault.old!r} any more: mend the fault."
    path.write_text(before.replace(fault.old, fault.new))
    try:
        done, plan = inner.plan("inner", variables.INNER)
    finally:
        path.write_text(before)
    if fault.caught_by == "terraform":
        assert not plan, "Terraform planned it."
        return
    assert plan, done.output
    assert fault.caught_by in {check.__name__ for check in EVERYWHERE + INNER if list(check(plan))}


def test_without_a_fault_nothing_is_caught(inner: Workspace) -> None:
    plan = _planned(inner, variables.INNER)
    assert [said for check in EVERYWHERE + INNER for said in check(plan)] == []


def test_every_check_is_guarded_by_a_fault() -> None:
    assert {check.__name__ for check in INNER} <= {fault.caught_by for fault in FAULTS}
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("google_compute_router_nat", no_default_route),
        ("google_compute_network_peering", no_default_route),
        ("google_vpc_access_connector", no_default_route),
        ("google_service_account_key", no_keys),
    ],
)
def test_what_must_not_be_there_is_seen(kind: str, check: Check, inner_plan: dict[str, Any]) -> None:
    changed = copy.deepcopy(inner_plan)
    made = {"after": {}, "after_unknown": {}}
    changed["resource_changes"].append(
        {"mode": "managed", "type": kind, "address": f"{kind}.x", "change": made}
    )
    assert list(check(changed))


def test_the_function_gets_settings_that_it_reads(inner_plan: dict[str, Any]) -> None:
    (service,) = resources(inner_plan, "google_cloud_run_v2_service")
    given = {each["name"]: each["value"] for each in service.block("template")["containers"][0]["env"]}
    assert set(given) <= {*Settings("p").environment(), "FUNCTION_SOURCE", "FUNCTION_TARGET"}
    settings = read(given)
    assert settings.project == variables.CONTRACT["project"]
    assert settings.inner_project == variables.PROJECT
    assert settings.account("inner") == f"inner-vm@{variables.PROJECT}.iam.gserviceaccount.com"
    shared = variables.CONTRACT["settings"]
    assert {field: str(getattr(settings, field)) for field in shared} == shared
    assert settings.sealed_by == _output(inner_plan, "sealed_by")
    assert {settings.inner_subnetwork} == _named(inner_plan, "google_compute_subnetwork", "name")


def test_names_are_those_of_the_code(inner_plan: dict[str, Any]) -> None:
    settings = Settings("p")
    own = {settings.python_repository, settings.generic_repository, settings.image_repository}
    assert _named(inner_plan, "google_artifact_registry_repository", "repository_id") == own | set(
        CODENAMES.values()
    )
    assert _named(inner_plan, "google_compute_network", "name") == {settings.inner_network}
    assert _named(inner_plan, "google_pubsub_subscription", "name") == {
        f"inner--{topic}" for topic in SUBSCRIBERS["inner"]
    }


def _named(plan: dict[str, Any], kind: str, attribute: str) -> set[str]:
    return {one.values[attribute] for one in resources(plan, kind)}


def test_the_pool_asks_what_the_policy_exports(inner_plan: dict[str, Any]) -> None:
    (provider,) = resources(inner_plan, "google_iam_workload_identity_pool_provider")
    assert provider.values["attribute_condition"] == variables.export()["provider"]["attribute_condition"]


def test_images_of_one_expiry_share_a_binding(inner: Workspace, tmp_path: Path) -> None:
    """Two bindings of one role and condition would take away each other's members at every apply."""
    path = tmp_path / "export.json"
    references = [
        forge.reference(index=forge.INDEX),
        forge.reference(expires=forge.NOW + 7, manifest=sha256(b"2"), revision="2"),
    ]
    path.write_text(json.dumps(variables.export(*references)))
    service = {"image_digest": forge.MANIFEST, "export": str(path)}
    plan = _planned(inner, variables.INNER | {"data_services": {variables.SERVICE: service}})
    bound = [
        (one.block("condition")["expression"], len(one.values["members"]))
        for one in resources(plan, "google_kms_crypto_key_iam_binding")
        if one.values["role"] == "roles/cloudkms.cryptoKeyDecrypter"
    ]
    assert sorted(count for _, count in bound) == [1, 2]
    assert len({expression for expression, _ in bound}) == 2
    done, _ = inner.plan(
        "inner", variables.INNER | {"data_services": {variables.SERVICE: {"export": str(path)}}}
    )
    assert "or is left out where that admits several" in " ".join(done.output.split())


def test_applied_twice_nothing_is_left_and_a_new_image_is_a_new_machine(
    inner: Workspace, tmp_path: Path
) -> None:
    copy = inner.copied(tmp_path / "terraform")
    copy.init("inner")
    export = tmp_path / "export.json"
    newer = forge.reference(manifest=sha256(b"newer"), revision="newer")
    export.write_text(json.dumps(variables.export(forge.reference(), newer)))
    given = copy.root("inner") / "test.auto.tfvars.json"

    def service(digest: str) -> dict[str, Any]:
        return {"data_services": {variables.SERVICE: {"image_digest": digest, "export": str(export)}}}

    given.write_text(json.dumps(variables.INNER | service(forge.MANIFEST)))
    for arguments in (("apply", "-auto-approve"), ("plan", "-detailed-exitcode")):
        done = copy.run("inner", *arguments, "-no-color", "-input=false")
        assert done.code == 0, done.output
    _, plan = copy.plan("inner", variables.INNER | service(sha256(b"newer")))
    actions = {one["address"]: one["change"]["actions"] for one in plan["resource_changes"]}
    changed = {address: done for address, done in actions.items() if done not in (["no-op"], ["read"])}
    machine = f'module.data_service["{variables.SERVICE}"]'
    assert changed == {
        f"{machine}.google_compute_instance.service": ["delete", "create"],
        f"{machine}.terraform_data.launch": ["update"],
    }


def test_the_committed_export_is_what_the_code_exports() -> None:
    committed = json.loads((TERRAFORM / "inner" / variables.EXPORT).read_text())
    assert committed == variables.export(), "python -m tests.terraform.inner_variables writes it anew"


@pytest.mark.parametrize("folder", ["inner", MODULE])
def test_formatted(folder: str, terraform: Workspace) -> None:
    done = terraform.run(".", "fmt", "-check", "-recursive", "-diff", folder)
    assert done.code == 0, done.output


def test_valid(inner: Workspace) -> None:
    done = inner.run("inner", "validate", "-no-color")
    assert done.code == 0, done.output
    assert "Warning" not in done.output


@pytest.mark.parametrize("folder", ["inner", MODULE])
def test_terraforms_own_tests(folder: str, inner: Workspace) -> None:
    inner.init(folder)
    done = inner.run(folder, "test", "-no-color")
    assert done.code == 0, done.output
    assert re.search(r"Success! [1-9][0-9]* passed, 0 failed", done.output)


@pytest.mark.parametrize(
    "name", sorted(variables.INNER.keys() - {"deployer", "eviction", "outer", "project"})
)
def test_what_is_not_given_is_off(name: str, first_inner_plan: dict[str, Any]) -> None:
    assert not (first_inner_plan["variables"].get(name) or {}).get("value")


@pytest.mark.parametrize("folder", ["inner", MODULE])
def test_every_variable_is_typed_and_described(folder: str) -> None:
    source = (TERRAFORM / folder / "variables.tf").read_text()
    for name, body in _blocks(source):
        assert "\n  description = " in body, name
        assert re.search(r"\n  type +=", body), name
    assert [name for name, _ in _blocks(source)] == sorted(name for name, _ in _blocks(source))


def _blocks(source: str) -> Iterator[tuple[str, str]]:
    for block in source.split('variable "')[1:]:
        name, _, body = block.partition('"')
        yield name, body
