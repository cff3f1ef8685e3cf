"""docs/policy.md: every rule of the model stands in its table, and nothing else; what it shows is what is read."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from shared.model.policy import DebianRules, GenericRules, Policy, PythonRules
from shared.policy.read import BUILT_IN, built_in
from tests.policy.build import with_rules

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policy.md").read_text()
SECTIONS = {"pypi": PythonRules, "debian": DebianRules, "generic": GenericRules}


def table() -> dict[str, str]:
    """Rule to what its line says of its answers."""
    rows: dict[str, str] = {}
    lines = PAGE.split("## The rules")[1].split("\n## ")[0].splitlines()
    for line in lines:
        if line.startswith("| `"):
            names, _, says = (cell.strip() for cell in line.strip("|").split(" | "))
            rows |= dict.fromkeys(re.findall(r"`([^`]+)`", names), says)
    return rows


def test_the_table_has_every_rule_and_no_other() -> None:
    top = set(Policy.model_fields) - {"format", "name", "description", *SECTIONS}
    rules = {f"{name}.{rule}" for name, kind in SECTIONS.items() for rule in kind.model_fields}
    assert set(table()) == top | rules


def test_the_values_that_the_table_shows_are_read() -> None:
    shown = {rule: re.findall(r"`(\{[^`]+\})`", says) for rule, says in table().items()}
    assert sum(map(len, shown.values())) == 6
    for rule, values in shown.items():
        for value in values:
            section, _, name = rule.partition(".")
            with_rules(**{section: {name: yaml.safe_load(value)}})


def test_every_policy_that_comes_with_the_project_is_named() -> None:
    linked = re.findall(r"\]\(\.\./shared/data/policies/([a-z]+)\.yaml\)", PAGE)
    assert sorted(linked) == sorted(built_in())
    assert all((BUILT_IN / f"{name}.yaml").exists() for name in linked)


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
    assert "(docs/policy.md)" in (ROOT / "README.md").read_text()
