"""What must hold of every plan, outer or inner: each check gives one sentence for each place that breaks it.

1. Nobody is everybody. 2. No basic role. 3. No keys. 4. On the project only what can stand nowhere else. 5. A role is
one that exists and that was looked at. 6. Nobody speaks as somebody else, but by the listed ways. 7. Images by digest.
8. Services take no traffic from outside, run as their own account, and are called by their own push account alone; the
console is the one exception (console_checks).
9. Pushes are authenticated, patient and never lost. 10. Documents, buckets, repositories and keys are kept.
11. Names are such as Google takes: the schema stand-in takes every name. 12. What reads reports of hostile VMs reads
one at a time: two that unpack far would fill an instance. What may be made at all is in exact_checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from shared.delivery import ATTEMPTS
from shared.events import DEAD_LETTERS, WITH_TOKENS
from tests.terraform.exact_checks import EXACT, root_of
from tests.terraform.plans import UNKNOWN, Plan, Resource, grants, resources

Check = Callable[[Plan], Iterator[str]]

_EVERYBODY = (
    "allUsers",
    "allAuthenticatedUsers",
    "domain:",
    "projectOwner:",
    "projectEditor:",
    "projectViewer:",
)
_BASIC = ("roles/owner", "roles/editor", "roles/viewer", "roles/browser", "roles/writer", "roles/reader")
_KEYS = ("google_service_account_key", "google_storage_hmac_key", "google_apikeys_key")
_PINNED = re.compile(r"[a-z0-9.-]+/[a-z0-9./_-]+@sha256:[0-9a-f]{64}")

# Role to why it cannot stand on something smaller than the project.
ON_PROJECT = {
    "roles/confidentialcomputing.workloadUser": "attestation tokens have no resource",
    "roles/datastore.user": "Firestore databases have no policy: narrowed by a condition",
    "roles/datastore.viewer": "Firestore databases have no policy: narrowed by a condition",
    "roles/iap.tunnelResourceAccessor": "TPU VMs have no policy for tunnels: narrowed by a condition",
    "roles/logging.logWriter": "logs have no policy",
    "roles/serviceusage.serviceUsageConsumer": "quota is the project's",
    "roles/telemetry.tracesWriter": "traces have no policy",
    "packageDmzOperator": "TPU nodes have no policy",
    "packageDmzVmKeeper": "TPU nodes have no policy",
    "packageDmzVmViewer": "TPU nodes have no policy",
}
_CONDITIONED = ("roles/datastore.", "roles/iap.")

# Predefined roles in use, looked up in https://cloud.google.com/iam/docs/roles-permissions on 2026-11-22.
ROLES = {
    *(role for role in ON_PROJECT if role.startswith("roles/")),
    "roles/artifactregistry.reader",
    "roles/artifactregistry.writer",
    "roles/cloudkms.cryptoKeyDecrypter",
    "roles/cloudkms.cryptoKeyEncrypter",
    "roles/cloudkms.publicKeyViewer",
    "roles/cloudkms.signer",
    "roles/iam.serviceAccountOpenIdTokenCreator",
    "roles/iam.serviceAccountUser",
    "roles/iap.httpsResourceAccessor",
    "roles/pubsub.publisher",
    "roles/pubsub.subscriber",
    "roles/run.servicesInvoker",
    "roles/secretmanager.secretAccessor",
    "roles/secretmanager.secretVersionAdder",
    "roles/storage.legacyBucketReader",
    "roles/storage.objectCreator",
    "roles/storage.objectUser",
    "roles/storage.objectViewer",
}


_LABEL = r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
# Each with the page that says so, below https://cloud.google.com.
_NAMES: dict[str, dict[str, str]] = {
    "google_artifact_registry_repository": {
        "repository_id": _LABEL
    },  # /artifact-registry/docs/repositories/create-repos
    "google_cloud_run_v2_service": {"name": r"[a-z]([a-z0-9-]{0,47}[a-z0-9])?"},  # /run/docs/deploying
    "google_cloud_scheduler_job": {"name": r"[A-Za-z0-9_-]{1,500}"},  # /scheduler/docs/creating
    "google_compute_firewall": {"name": _LABEL},  # /compute/docs/naming-resources
    "google_compute_network": {"name": _LABEL},
    "google_compute_subnetwork": {"name": _LABEL},
    "google_kms_crypto_key": {"name": r"[A-Za-z0-9_-]{1,63}"},  # /kms/docs/getting-resource-ids
    "google_kms_key_ring": {"name": r"[A-Za-z0-9_-]{1,63}"},
    "google_logging_metric": {"name": r"[A-Za-z0-9_.,+!*',()%/-]{1,100}"},  # /logging/docs/reference/v2/rest
    "google_project_iam_custom_role": {"role_id": r"[A-Za-z0-9_.]{3,64}"},  # /iam/docs/creating-custom-roles
    "google_pubsub_subscription": {
        "name": r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}"
    },  # /pubsub/docs/pubsub-basics
    "google_pubsub_topic": {"name": r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}"},
    "google_service_account": {
        "account_id": r"[a-z][a-z0-9-]{4,28}[a-z0-9]"
    },  # /iam/docs/service-accounts-create
    "google_secret_manager_secret": {
        "secret_id": r"[A-Za-z0-9_-]{1,255}"
    },  # /secret-manager/docs/reference/rest
    "google_storage_bucket": {"name": r"(?!goog)[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]"},  # /storage/docs/buckets
}


def nobody_is_everybody(plan: Plan) -> Iterator[str]:  # 1
    for grant in grants(plan):
        if grant.member.startswith(_EVERYBODY):
            yield f"{grant.address} lets in {grant.member}"


def no_basic_roles(plan: Plan) -> Iterator[str]:  # 2
    for grant in grants(plan):
        if grant.role in _BASIC:
            yield f"{grant.address} gives the basic role {grant.role}"


def no_keys(plan: Plan) -> Iterator[str]:  # 3
    for one in resources(plan, *_KEYS):
        yield f"{one.address} makes a key that can be carried away"


def project_wide(plan: Plan) -> Iterator[str]:  # 4
    for one in resources(plan):
        if re.fullmatch(r"google_(organization|folder|project)_iam_(policy|binding)", one.type):
            yield f"{one.address} takes away what others were granted: use a member"
        if re.fullmatch(r"google_(organization|folder)_iam_.*", one.type):
            yield f"{one.address} reaches beyond the project"
    for grant in grants(plan):
        if not grant.on.startswith("project "):
            continue
        role = grant.role.rsplit("/", 1)[-1] if grant.role.startswith("projects/") else grant.role
        if role not in ON_PROJECT:
            yield f"{grant.address} gives {role} on the whole project: grant it on the resource"
        if role.startswith(_CONDITIONED) and not grant.condition:
            yield f"{grant.address} gives {role} without a condition"


def known_roles(plan: Plan) -> Iterator[str]:  # 5
    own = {one.values["role_id"] for one in resources(plan, "google_project_iam_custom_role")}
    for grant in grants(plan):
        if grant.role not in ROLES and grant.role.rsplit("/", 1)[-1] not in own:
            yield f"{grant.address} gives {grant.role}: not among the roles that were looked at"
    for one in resources(plan, "google_project_iam_custom_role"):
        for permission in one.values["permissions"]:
            if (
                permission.endswith(("setIamPolicy", "actAs", "getAccessToken", "signBlob"))
                or "*" in permission
            ):
                yield f"{one.address} holds {permission}"


def impersonation(plan: Plan) -> Iterator[str]:  # 6
    for grant in grants(plan):
        if not grant.on.startswith("service account "):
            continue
        target = grant.on.removeprefix("service account ").partition("@")[0]
        keeper = {"outer-vm": "serviceAccount:outer-stage@", "inner-vm": "serviceAccount:inner-stage@"}.get(
            target
        )
        vms = grant.role == "roles/iam.serviceAccountUser" and keeper and grant.member.startswith(keeper)
        pushes = (
            grant.role == "roles/iam.serviceAccountOpenIdTokenCreator"
            and target.endswith("-push")
            and grant.member.endswith("@gcp-sa-pubsub.iam.gserviceaccount.com")
        )
        if not vms and not pushes:
            yield f"{grant.address} lets {grant.member} speak as {target} ({grant.role})"


def pinned_images(plan: Plan) -> Iterator[str]:  # 7
    for one in _services(plan):
        for container in one.block("template").get("containers") or [{}]:
            if not _PINNED.fullmatch(str(container.get("image"))):
                yield f"{one.address} runs {container.get('image')}, which names no digest"


def closed_services(plan: Plan) -> Iterator[str]:  # 8
    public = "console" if root_of(plan) == "outer" else ""
    for one in _services(plan):
        name, template = str(one.values["name"]), one.block("template")
        if name == public:
            continue
        if one.values.get("ingress") != "INGRESS_TRAFFIC_INTERNAL_ONLY":
            yield f"{one.address} takes traffic from {one.values.get('ingress') or 'everywhere'}"
        if one.values.get("invoker_iam_disabled"):
            yield f"{one.address} asks nobody who he is"
        if not str(template.get("service_account")).startswith(f"{name}-stage@"):
            yield f"{one.address} runs as {template.get('service_account') or 'the default account'}, not as its own"
        if template.get("timeout") != "600s":
            yield f"{one.address} may work for {template.get('timeout')}; Pub/Sub waits 600 s"
        if not one.values.get("deletion_protection"):
            yield f"{one.address} is not protected from deletion"
    for grant in grants(plan):
        stage = grant.on.removeprefix("cloud run v2 service ")
        if stage not in (grant.on, public) and (
            grant.role != "roles/run.servicesInvoker"
            or not grant.member.startswith(f"serviceAccount:{stage}-push@")
        ):
            yield f"{grant.address} lets {grant.member} call {stage} ({grant.role})"


def careful_subscriptions(plan: Plan) -> Iterator[str]:  # 9
    for one in resources(plan, "google_pubsub_subscription"):
        if one.block("expiration_policy").get("ttl") != "":
            yield f"{one.address} expires when nobody uses it"
        if one.values.get("push_config"):
            yield from (f"{one.address} {trouble}" for trouble in _push(one))


def _push(one: Resource) -> Iterator[str]:
    push, name = one.block("push_config"), str(one.values["name"])
    token = (push.get("oidc_token") or [{}])[0]
    hidden = (one.unknown.get("push_config") or [{}])[0]
    if not str(token.get("service_account_email")).startswith(f"{name.partition('--')[0]}-push@"):
        yield "pushes without saying who it is"
    audience_unknown = (hidden.get("oidc_token") or [{}])[0].get("audience")
    if not token.get("audience") and not audience_unknown:
        yield "pushes with an audience that Cloud Run does not take"
    if push.get("no_wrapper"):
        yield "pushes without Pub/Sub's wrapper"
    if one.values.get("ack_deadline_seconds") != 600:
        yield f"waits {one.values.get('ack_deadline_seconds')} s for an answer, not 600"
    retry = one.block("retry_policy")
    if (retry.get("minimum_backoff"), retry.get("maximum_backoff")) != ("10s", "600s"):
        yield "has no retry policy of 10 to 600 s"
    if not one.values.get("retain_acked_messages"):
        yield "cannot be replayed: it keeps nothing that was acknowledged"
    yield from _dead_letters(one, name.partition("--")[2])


def _dead_letters(one: Resource, topic: str) -> Iterator[str]:
    policy = one.block("dead_letter_policy")
    if topic == DEAD_LETTERS:
        if policy:
            yield "has a dead-letter policy: a letter about a letter would go round for ever"
        return
    if topic == WITH_TOKENS:
        if policy:
            yield "has a dead-letter policy: Pub/Sub would copy tokens"
        if one.values.get("message_retention_duration") != "3600s":
            yield "keeps tokens longer than they live"
        return
    attempts = policy.get("max_delivery_attempts") or 0
    if not max(10, ATTEMPTS + 1) <= attempts <= 20:
        yield f"gives up after {attempts} deliveries, not after 10 to 20"
    if (
        not str(policy.get("dead_letter_topic")).endswith("/topics/dead-letters")
        and one.get("dead_letter_policy") != UNKNOWN
    ):
        yield "has no dead-letter topic"


def kept(plan: Plan) -> Iterator[str]:  # 10
    for one in resources(plan, "google_firestore_database"):
        if one.values.get("delete_protection_state") != "DELETE_PROTECTION_ENABLED":
            yield f"{one.address} can be deleted"
        if one.values.get("point_in_time_recovery_enablement") != "POINT_IN_TIME_RECOVERY_ENABLED":
            yield f"{one.address} cannot be brought back to yesterday"
    for one in resources(plan, "google_storage_bucket"):
        if one.values.get("public_access_prevention") != "enforced" or not one.values.get(
            "uniform_bucket_level_access"
        ):
            yield f"{one.address} could be opened to everybody, object by object"
        if not one.block("versioning").get("enabled") or one.values.get("force_destroy"):
            yield f"{one.address} forgets what it held"
    for one in resources(plan, "google_artifact_registry_repository"):
        if one.values.get("mode") != "STANDARD_REPOSITORY":
            yield f"{one.address} gives out what nobody put into it"
    for one in resources(plan, "google_kms_crypto_key"):
        if (
            one.values.get("purpose") == "ASYMMETRIC_SIGN"
            and one.block("version_template").get("protection_level") != "HSM"
        ):
            yield f"{one.address} is no hardware key"


def names(plan: Plan) -> Iterator[str]:  # 11
    for one in resources(plan):
        for field, like in _NAMES.get(one.type, {}).items():
            if one.get(field) is not UNKNOWN and not re.fullmatch(like, str(one.values.get(field))):
                yield f"{one.address} is named {one.values.get(field)!r}, which Google refuses"


def _services(plan: Plan) -> Iterator[Resource]:
    return resources(plan, "google_cloud_run_v2_service")


def one_report_at_a_time(plan: Plan) -> Iterator[str]:  # 12
    for one in resources(plan, "google_cloud_run_v2_service"):
        if one.values["name"] in ("outer", "inner"):
            at_once = one.block("template").get("max_instance_request_concurrency")
            if at_once != 1:
                yield f"{one.address} reads {at_once} reports of VMs at once"


EVERYWHERE: tuple[Check, ...] = (
    nobody_is_everybody,
    no_basic_roles,
    no_keys,
    project_wide,
    known_roles,
    impersonation,
    pinned_images,
    closed_services,
    careful_subscriptions,
    kept,
    names,
    one_report_at_a_time,
    *EXACT,
)
