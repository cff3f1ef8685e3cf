"""A plan as `terraform show -json` gives it, read as resources and grants.

https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Plan = Mapping[str, Any]
UNKNOWN = object()
"""Stands for what is known after the apply only."""


@dataclass(frozen=True)
class Resource:
    """One resource that the plan makes."""

    address: str
    type: str
    values: Mapping[str, Any]
    unknown: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """The value; UNKNOWN if the apply gives it."""
        return UNKNOWN if self.unknown.get(name) is True else self.values.get(name)

    def block(self, name: str) -> Mapping[str, Any]:
        """The one nested block of this name; empty if it is not there."""
        found = self.values.get(name) or [{}]
        return found[0] or {}


@dataclass(frozen=True, order=True)
class Grant:
    """Somebody's right to something."""

    member: str
    role: str
    on: str
    condition: str
    address: str


def resources(plan: Plan, *types: str) -> Iterator[Resource]:
    """Managed resources of these types, of every module; all of them without a type."""
    for change in plan["resource_changes"]:
        if change["mode"] != "managed" or (types and change["type"] not in types):
            continue
        after = change["change"]["after"]
        if after is not None:
            unknown = change["change"]["after_unknown"]
            yield Resource(change["address"], change["type"], after, unknown if unknown is not True else {})


def grants(plan: Plan) -> Iterator[Grant]:
    """Every IAM member of the plan, whatever it is a member of."""
    for one in resources(plan):
        if not one.type.endswith(("_iam_member", "_iam_binding", "_iam_policy")):
            continue
        members = one.values.get("members") or [one.values.get("member")]
        for member in members:
            condition = str(one.block("condition").get("expression") or "")
            yield Grant(str(member), str(one.values.get("role")), _on(one), condition, one.address)


_NAMED = (
    "subscription",
    "topic",
    "repository",
    "bucket",
    "service_account_id",
    "crypto_key_id",
    "name",
    "secret_id",
    "cloud_run_service_name",
)


def _on(one: Resource) -> str:
    kind = one.type.removeprefix("google_").rsplit("_iam_", 1)[0].replace("_", " ")
    name = next((one.values[key] for key in _NAMED if one.values.get(key)), None)
    if name is None:
        # Known after the apply; the address has the key.
        key = one.address.partition('["')[2].partition('"')[0].partition(" ")[0]
        name = one.values.get("project", "") if kind == "project" else key
    return f"{kind} {str(name).rsplit('/', 1)[-1]}"
