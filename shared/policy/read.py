"""Reads a policy from YAML: every rule must be there, none may be unknown or empty; each mistake is told with its line.

The rules stand at shared.model.policy, the policies that come with the project in shared/data/policies.
"""

from __future__ import annotations

from pathlib import Path

from shared.model import yaml_file
from shared.model.policy import Policy

BUILT_IN = Path(__file__).parent.parent / "data" / "policies"
_NEEDS = "format, name, description and rules: start from default.yaml"
# 1. A rule without a value is a mistake, not "no restriction": only the age limit may be switched off by null.
_MAY_BE_NULL = ("max_advisory_age_hours",)


def built_in() -> tuple[str, ...]:
    """Names of the policies that come with the project."""
    return yaml_file.names(BUILT_IN)


def find(name_or_path: str) -> Policy:
    """A built-in policy by name, or the user's own by path."""
    return read(yaml_file.find(name_or_path, BUILT_IN, "policy"))


def read(path: Path) -> Policy:
    """The policy in the YAML file at `path`; Permanent with all its mistakes and their lines."""
    return yaml_file.read_whole(path, Policy, "policy file", _NEEDS, _MAY_BE_NULL)


def parse(data: bytes, what: str) -> Policy:
    """As `read`, of bytes; `what` names them."""
    return yaml_file.check_whole(data, Policy, what, _NEEDS, _MAY_BE_NULL)
