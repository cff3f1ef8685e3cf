"""The outer project's plan holds what it must; and what Terraform itself says of the files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared.advisories.joined import EPSS_URL, KEV_URL
from shared.settings import Settings
from tests.terraform import inner_variables, variables
from tests.terraform.builder_checks import BUILDERS
from tests.terraform.checks import EVERYWHERE, Check
from tests.terraform.console_checks import CONSOLE
from tests.terraform.harness import CHECKOUT, TERRAFORM, Workspace
from tests.terraform.keeping_checks import KEEPING
from tests.terraform.outer_checks import OUTER
from tests.terraform.plans import grants, resources
from tests.terraform.watch_checks import WATCH


@pytest.mark.parametrize(
    "check", EVERYWHERE + OUTER + BUILDERS + CONSOLE + WATCH + KEEPING, ids=lambda check: check.__name__
)
def test_the_plan_holds(check: Check, outer_plan: dict[str, Any]) -> None:
    assert list(check(outer_plan)) == []


@pytest.mark.parametrize("check", EVERYWHERE, ids=lambda check: check.__name__)
def test_the_first_apply_holds(check: Check, first_plan: dict[str, Any]) -> None:
    assert list(check(first_plan)) == []


def test_the_first_apply_makes_what_an_image_needs_and_grants_nothing_inwards(
    first_plan: dict[str, Any],
) -> None:
    made = {one.type for one in resources(first_plan)}
    assert {"google_artifact_registry_repository", "google_service_account", "google_pubsub_topic"} <= made
    assert "google_cloud_run_v2_service" not in made
    assert [grant for grant in grants(first_plan) if "inner" in grant.member] == []


def test_formatted(terraform: Workspace) -> None:
    done = terraform.run(".", "fmt", "-check", "-recursive", "-diff")
    assert done.code == 0, done.output


def test_valid(outer: Workspace) -> None:
    done = outer.run("outer", "validate", "-no-color")
    assert done.code == 0, done.output
    assert "Warning" not in done.output


@pytest.mark.parametrize("root", ["outer", "modules/function"])
def test_terraforms_own_tests(root: str, terraform: Workspace) -> None:
    terraform.init(root)
    done = terraform.run(root, "test", "-no-color")
    assert done.code == 0, done.output
    named = sum(
        file.read_text().count("\nrun ") for file in (terraform.root(root) / "tests").glob("*.tftest.hcl")
    )
    assert named > 0
    assert f"Success! {named} passed, 0 failed." in done.output


def test_a_plan_after_an_apply_is_empty_and_a_teardown_spares_the_keys(
    outer: Workspace, tmp_path: Path
) -> None:
    copy = outer.copied(tmp_path / "terraform")
    for variables_then in (variables.FIRST, variables.OUTER):
        (copy.root("outer") / "test.auto.tfvars.json").write_text(json.dumps(variables_then))
        done = copy.run("outer", "apply", "-auto-approve", "-no-color", "-input=false")
        assert done.code == 0, done.output
    done = copy.run("outer", "plan", "-detailed-exitcode", "-no-color", "-input=false")
    assert done.code == 0, done.output
    done = copy.run("outer", "plan", "-destroy", "-no-color", "-input=false")
    assert done.code == 1
    assert done.output.count("lifecycle.prevent_destroy set") == 3
    # As docs/operations.md says under "Take down".
    done = copy.run("outer", "state", "rm", "google_kms_crypto_key.signing", "google_kms_key_ring.dmz")
    assert done.code == 0, done.output
    done = copy.run("outer", "destroy", "-auto-approve", "-no-color", "-input=false")
    assert done.code == 0, done.output
    assert copy.run("outer", "state", "list").output == ""


def test_every_setting_has_its_place() -> None:
    """Made by Terraform, set by an operator, made by inner, or for one machine: each field in one group."""
    source = (TERRAFORM / "outer" / "settings.tf").read_text()
    groups = [_named(source, group) for group in ("made", "tunable", "secret", "of_inner", "of_one_machine")]
    fields = set(Settings.__dataclass_fields__) - {"project"}
    assert set().union(*groups) == fields
    assert sum(map(len, groups)) == len(fields)


@pytest.mark.parametrize("copied", [True, False])
def test_where_advisories_are_copied_the_stages_know_where_the_rest_is(
    outer: Workspace, copied: bool
) -> None:
    """OSV's bucket holds neither CISA's catalogue nor FIRST's estimates; an operator's own address counts before."""
    mine = "https://mirror.example/kev.json"
    for settings, expected in (({}, KEV_URL), ({"kev": mine}, mine)):
        changed = variables.OUTER | {"advisories_in_bucket": copied, "settings": settings}
        done, plan = outer.plan("outer", changed)
        assert plan, done.output
        text = json.dumps(plan["planned_values"])
        assert (f'"{expected}"' in text) == (copied or bool(settings))
        assert (f'"{EPSS_URL}"' in text) == copied


def test_what_the_inner_stage_reads_reaches_it(outer: Workspace) -> None:
    """Of the settings that an operator may tune: else one stage would wait for longer than the other one allows."""
    source = (TERRAFORM / "outer" / "settings.tf").read_text()
    files = (*(CHECKOUT / "functions/inner").glob("*.py"), CHECKOUT / "shared/vm_stages.py")
    read = {name for each in files for name in re.findall(r"\bsettings\.(\w+)", each.read_text())}
    assert _named(source, "shared") == read & _named(source, "tunable") != set()
    tuned = dict.fromkeys(_named(source, "shared"), "30") | {"shard_bytes": "1000"}
    done, plan = outer.plan("outer", variables.OUTER | {"settings": tuned})
    assert plan, done.output
    assert plan["planned_values"]["outputs"]["contract"]["value"]["settings"] == dict.fromkeys(
        _named(source, "shared"), "30"
    )
    assert inner_variables.CONTRACT["settings"].keys() == _named(source, "shared")


def _named(source: str, group: str) -> set[str]:
    body = source.partition(f"  {group} ")[2]
    if group == "made":
        return set(re.findall(r"^    (\w+) +=", body.partition("\n  }")[0], re.MULTILINE))
    return set(re.findall(r'"(\w+)"', body.partition("])")[0]))
