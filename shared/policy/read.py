"""Reads a policy from YAML: every rule must be there, none may be unknown, and each mistake is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from shared.errors import Permanent
from shared.model import yaml_file
from shared.model.value import printable
from shared.model.verdict import Policy

BUILT_IN = Path(__file__).parent.parent / "data" / "policies"
_MAX_FILE = 64 * 1024


class _StrictLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys; a rule that is given twice is a mistake, not a choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"'{printable(str(key), 60)}' is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def built_in() -> tuple[str, ...]:
    """Names of the policies that come with the project."""
    return yaml_file.names(BUILT_IN)


def find(name_or_path: str) -> Policy:
    """A built-in policy by name, or the user's own by path."""
    return read(yaml_file.find(name_or_path, BUILT_IN, "policy"))


def read(path: Path) -> Policy:
    """The policy in the YAML file at `path`; Permanent with all its mistakes, a sentence each."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Permanent(f"The policy file {path} cannot be read: {error.strerror}.") from error
    if len(data) > _MAX_FILE:
        raise Permanent(f"The policy file {path} has {len(data)} bytes; at most {_MAX_FILE} are read.")
    return parse(data, f"The policy file {path}")


def parse(data: bytes, what: str) -> Policy:
    """As `read`, of bytes; `what` names them."""
    try:
        content = yaml.load(data, _StrictLoader)  # noqa: S506 - a SafeLoader that also refuses double keys
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent(f"{what} is not YAML: {' '.join(str(error).split())}.") from error
    # 1. Empty is not "no restriction".
    if not content:
        raise Permanent(f"{what} is empty: an empty policy would decide nothing. Start from default.yaml.")
    if not isinstance(content, dict):
        raise Permanent(
            f"{what} must be a mapping with name, description and rules. Start from default.yaml."
        )
    # 2. Every rule, and nothing else, with a value that it knows.
    try:
        policy = Policy.model_validate_json(json.dumps(content, default=str, allow_nan=False))
    except ValidationError as error:
        raise Permanent(
            " ".join(_mistake(what, found) for found in error.errors(include_url=False))
        ) from error
    except ValueError as error:
        raise Permanent(f"{what} holds a value that is neither text nor a number: {error}.") from error
    # 3. Data of any age is for a policy that says so in its name.
    if policy.max_advisory_age_hours is None and "offline" not in policy.name:
        raise Permanent(
            f"{what} sets no max_advisory_age_hours: give a number of hours, or name it as an offline policy."
        )
    return policy


def _mistake(what: str, error: Any) -> str:
    place = printable(".".join(str(part) for part in error["loc"]), 120)
    match error["type"]:
        case "missing":
            return f"{what} lacks the rule {place}: every rule must be given."
        case "extra_forbidden":
            return f"{what} has an unknown rule {place}: remove it, or correct its name."
    return f"{what} is wrong at {place}: {error['msg']}, found {printable(repr(error['input']), 60)}."
