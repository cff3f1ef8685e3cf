"""What a plan may make at all, listed to the last: what nobody thought of is a mistake until it was looked at.

1. Types of resources are those of the list of the project. 2. Roles of our own hold exactly what `custom_roles` says.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.terraform import custom_roles
from tests.terraform.plans import Plan, resources

_BOTH = {
    "google_artifact_registry_repository",
    "google_artifact_registry_repository_iam_member",
    "google_cloud_run_v2_service",
    "google_cloud_run_v2_service_iam_member",
    "google_compute_firewall",
    "google_compute_network",
    "google_compute_subnetwork",
    "google_kms_crypto_key",
    "google_kms_key_ring",
    "google_logging_metric",
    "google_monitoring_alert_policy",
    "google_monitoring_notification_channel",
    "google_project_iam_custom_role",
    "google_project_iam_member",
    "google_project_service",
    "google_project_service_identity",
    "google_pubsub_subscription",
    "google_pubsub_subscription_iam_member",
    "google_service_account",
    "google_service_account_iam_member",
}
TYPES: dict[custom_roles.Root, frozenset[str]] = {
    "outer": frozenset(
        _BOTH
        | {
            "google_billing_budget",
            "google_cloud_scheduler_job",
            "google_firestore_database",
            "google_firestore_field",
            "google_firestore_index",
            "google_iap_web_cloud_run_service_iam_member",
            "google_kms_crypto_key_iam_member",
            "google_project_iam_audit_config",
            "google_pubsub_topic",
            "google_pubsub_topic_iam_member",
            "google_secret_manager_secret",
            "google_secret_manager_secret_iam_member",
            "google_storage_bucket",
            "google_storage_bucket_iam_member",
            "google_storage_transfer_job",
        }
    ),
    "inner": frozenset(
        _BOTH
        | {
            "google_access_context_manager_service_perimeter",
            "google_compute_instance",
            "google_compute_route",
            "google_dns_managed_zone",
            "google_dns_policy",
            "google_dns_record_set",
            "google_dns_response_policy",
            "google_dns_response_policy_rule",
            "google_iam_workload_identity_pool",
            "google_iam_workload_identity_pool_provider",
            "google_kms_crypto_key_iam_binding",
            "terraform_data",
        }
    ),
}
"""A new type is written here once somebody has asked what it opens: a firewall policy stands before every rule, a log
sink carries entries to wherever it is told."""


def root_of(plan: Plan) -> custom_roles.Root:
    """Of the two, only the inner project is given the other's output `contract`."""
    return "inner" if "outer" in plan["variables"] else "outer"


def listed_types(plan: Plan) -> Iterator[str]:  # 1
    for one in resources(plan):
        if one.type not in TYPES[root_of(plan)]:
            yield f"{one.address} is a {one.type}: not among the types that were looked at"


def exact_roles(plan: Plan) -> Iterator[str]:  # 2
    known = custom_roles.of(root_of(plan))
    for one in resources(plan, "google_project_iam_custom_role"):
        role, held = known.get(one.values["role_id"]), one.values["permissions"]
        if role is None:
            yield f"{one.address} is a role that tests/terraform/custom_roles.py does not know"
            continue
        yield from (f"{one.address} holds {each}" for each in sorted(set(held) - role.permissions))
        yield from (f"{one.address} lacks {each}" for each in sorted(role.permissions - set(held)))


EXACT = (listed_types, exact_roles)
