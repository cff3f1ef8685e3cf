"""The resources of a plan, and who is granted what in it: read from `terraform show -json`.

https://developer.hashicorp.com/terraform/internals/json-format
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_IAM = ("_iam_member", "_iam_binding")
_KINDS = {
    "google_artifact_registry_repository": ("repository", "repository"),
    "google_cloud_run_v2_service": ("service", "name"),
    "google_kms_crypto_key": ("key", "crypto_key_id"),
    "google_kms_key_ring": ("key ring", "key_ring_id"),
    "google_project": ("project", "project"),
    "google_pubsub_subscription": ("subscription", "subscription"),
    "google_pubsub_topic": ("topic", "topic"),
    "google_secret_manager_secret": ("secret", "secret_id"),
    "google_service_account": ("account", "service_account_id"),
    "google_storage_bucket": ("bucket", "bucket"),
}


@dataclass(frozen=True)
class Resource:
    """A resource as it is planned. What only the apply tells is not in `values`."""

    address: str
    type: str
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name)

    def block(self, name: str) -> Mapping[str, Any]:
        """A nested block that stands at most once; empty if it does not."""
        found = self.values.get(name) or [{}]
        return dict(found[0])


@dataclass(frozen=True)
class Grant:
    """One member's role on one resource."""

    address: str
    member: str
    role: str
    kind: str
    """`topic`, `project` and so on."""
    resource: str
    """Its name; of the project that the grant is made in."""
    project: str
    condition: str


def planned(plan: Mapping[str, Any]) -> list[Resource]:
    """All managed resources, those of modules included."""
    return list(_walk(plan["planned_values"].get("root_module", {})))


def _walk(module: Mapping[str, Any]) -> Iterator[Resource]:
    for each in module.get("resources", []):
        if each["mode"] == "managed":
            yield Resource(each["address"], each["type"], each["values"])
    for child in module.get("child_modules", []):
        yield from _walk(child)


def of(resources: Sequence[Resource], *types: str) -> list[Resource]:
    return [each for each in resources if each.type in types]


def is_iam(kind: str) -> bool:
    return "_iam_" in kind and not kind.endswith(("_custom_role", "_iam_audit_config"))


def grants(resources: Sequence[Resource]) -> list[Grant]:
    """Every member of every grant. AssertionError for a kind of grant that this does not read: none may hide."""
    found = []
    for each in resources:
        if not is_iam(each.type) or each.type.startswith("google_iam_"):
            continue
        base = next((each.type.removesuffix(end) for end in _IAM if each.type.endswith(end)), "")
        assert base in _KINDS, (
            f"{each.address}: grants of the kind {each.type} are not read; write members instead."
        )
        kind, attribute = _KINDS[base]
        members = each["members"] if each.type.endswith("_iam_binding") else [each["member"]]
        name, project = _place(str(each[attribute]), str(each["project"] or ""))
        condition = str(each.block("condition").get("expression") or "")
        found += [
            Grant(each.address, str(member), str(each["role"]), kind, name, project, condition)
            for member in members
        ]
    return found


def _place(name: str, project: str) -> tuple[str, str]:
    """Short name and project of a resource that is named in full."""
    parts = name.split("/")
    if len(parts) > 2 and parts[0] == "projects":
        return parts[-1], parts[1]
    return parts[-1], project
