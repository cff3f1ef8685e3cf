"""Faults that are seeded into the files of the outer project one by one; which check must say so.

A fault is a change of text such as a person makes by mistake or in a hurry. `caught_by` names a check of `checks` or
`outer_checks`, or `terraform` where Terraform itself must refuse.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """`old` is replaced by `new`, once, in `file` below terraform/; an empty `old` appends."""

    name: str
    file: str
    old: str
    new: str
    caught_by: str


_PUBLIC = """
resource "google_cloud_run_v2_service_iam_member" "public" {
  name   = "outer"
  role   = "roles/run.servicesInvoker"
  member = "%s"
}
"""
_PROJECT = """
resource "google_project_iam_member" "hurry" {
  project = var.project
  role    = "%s"
  member  = module.sync.member
}
"""
_TOPIC = """
resource "google_pubsub_topic_iam_member" "hurry" {
  project = var.project
  topic   = "%s"
  role    = "roles/pubsub.publisher"
  member  = %s
}
"""
_BINDING = """
resource "google_project_iam_binding" "hurry" {
  project = var.project
  role    = "roles/logging.logWriter"
  members = ["group:operators@example.com"]
}
"""
_KEY = """
resource "google_service_account_key" "hurry" {
  service_account_id = google_service_account.builder.name
}
"""
_SPEAKS = """
resource "google_service_account_iam_member" "hurry" {
  service_account_id = "projects/${var.project}/serviceAccounts/${local.builder}"
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = module.outer.member
}
"""
_BUCKET = """
resource "google_storage_bucket_iam_member" "hurry" {
  bucket = google_storage_bucket.dmz["policies"].name
  role   = "roles/storage.objectViewer"
  member = "allAuthenticatedUsers"
}
"""
_SSH = """
resource "google_compute_firewall" "ssh" {
  project       = var.project
  name          = "ssh"
  network       = google_compute_network.outer.id
  direction     = "INGRESS"
  source_ranges = ["0.0.0.0/0"]
  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}
"""

_SERVICE = "modules/function/service.tf"
_SUBSCRIPTIONS = "modules/function/subscriptions.tf"

PUBLIC = (
    Fault("public invoker", "outer/stages.tf", "", _PUBLIC % "allUsers", "nobody_is_everybody"),
    Fault(
        "any Google account", "outer/stages.tf", "", _PUBLIC % "allAuthenticatedUsers", "nobody_is_everybody"
    ),
    Fault(
        "invoker of a whole domain",
        "outer/stages.tf",
        "",
        _PUBLIC % "domain:example.com",
        "nobody_is_everybody",
    ),
    Fault("another stage calls", "outer/stages.tf", "", _PUBLIC % "group:dev@example.com", "closed_services"),
    Fault("public bucket", "outer/buckets.tf", "", _BUCKET, "nobody_is_everybody"),
    Fault(
        "no invoker check",
        _SERVICE,
        "invoker_iam_disabled = false",
        "invoker_iam_disabled = true",
        "closed_services",
    ),
    Fault(
        "public ingress",
        _SERVICE,
        '"INGRESS_TRAFFIC_INTERNAL_ONLY"',
        '"INGRESS_TRAFFIC_ALL"',
        "closed_services",
    ),
    Fault("wide invoker role", _SERVICE, "roles/run.servicesInvoker", "roles/run.admin", "closed_services"),
    Fault("objects may be opened", "outer/buckets.tf", '"enforced"', '"inherited"', "kept"),
)

RIGHTS = (
    Fault("editor", "outer/identities.tf", "", _PROJECT % "roles/editor", "no_basic_roles"),
    Fault("publisher of all topics", "outer/identities.tf", "", _PROJECT % "roles/pubsub.publisher", "project_wide"),
    Fault("all TPUs' administrator", "outer/identities.tf", "", _PROJECT % "roles/tpu.admin", "project_wide"),
    Fault("any database", "outer/identities.tf", "", _PROJECT % "roles/datastore.user", "project_wide"),
    Fault("binding", "outer/identities.tf", "", _BINDING, "project_wide"),
    Fault("key of an account", "outer/identities.tf", "", _KEY, "no_keys"),
    Fault("tokens of the builder", "outer/identities.tf", "", _SPEAKS, "impersonation"),
    Fault(
        "any account for VMs",
        "outer/identities.tf",
        "serviceAccounts/${local.outer_vm}",
        "serviceAccounts/${local.builder}",
        "impersonation",
    ),
    Fault("a role nobody looked at", "outer/repositories.tf", "artifactregistry.writer", "artifactregistry.admin", "known_roles"),
    Fault("a role that is not", "outer/repositories.tf", "artifactregistry.reader", "artifactregistry.read", "known_roles"),
    Fault("VM keeper acts as", "outer/identities.tf", '"tpu.nodes.create"', '"iam.serviceAccounts.actAs"', "known_roles"),
    Fault(
        "outer VM reads results",
        "outer/topics.tf",
        "",
        _TOPIC % ("run-completed", '"serviceAccount:${local.outer_vm}"'),
        "outer_vm",
    ),
    Fault("outer VM writes wheels", "outer/repositories.tf", "roles/artifactregistry.reader\"\n  member     = each.value", "roles/artifactregistry.writer\"\n  member     = each.value", "outer_vm"),
    Fault("sync signs", "outer/keys.tf", "= module.attestation.member", "= module.sync.member", "signing_keys"),
)  # fmt: skip

EVENTS = (
    Fault("unknown topic", "outer/topics.tf", '"run-completed", "run-failed"', '"run-complete", "run-failed"', "terraform"),
    Fault("one topic too many", "outer/topics.tf", '"nonce-issued",', '"nonce-issued", "nonce-lost",', "topics"),
    Fault("scanner publishes what sync does", "outer/publishers.tf", '"sync-completed"          = ["sync"]', '"sync-completed"          = ["sync", "scanner"]', "publishers"),
    Fault("nobody tells failures", "outer/publishers.tf", '["outer", "scanner", "sync", "inner", "attestation"]', '["outer", "scanner", "inner", "attestation"]', "publishers"),
    Fault("stranger publishes", "outer/topics.tf", "", _TOPIC % ("image-built", "module.sync.member"), "publishers"),
    Fault("a stage is not told", "outer/stages.tf", '"nonce-requested", ', "", "subscriptions"),
    Fault("a stage hears too much", "outer/stages.tf", '["manifest-published", ', '["manifest-published", "run-failed", ', "subscriptions"),
    Fault("dead letters are lost", "outer/topics.tf", "topic                      = google_pubsub_topic.dead_letters.name", 'topic                      = google_pubsub_topic.event["run-failed"].name', "dead_letters"),
    Fault("Pub/Sub may not forward", _SUBSCRIPTIONS, 'role         = "roles/pubsub.subscriber"', 'role         = "roles/pubsub.viewer"', "dead_letters"),
    Fault("no watchdog", "outer/schedule.tf", '"* * * * *"', '"0 * * * *"', "watchdog"),
)  # fmt: skip

DELIVERY = (
    Fault("push without OIDC", _SUBSCRIPTIONS, "    oidc_token {\n      service_account_email = local.push\n      audience              = google_cloud_run_v2_service.stage[0].uri\n    }\n", "", "careful_subscriptions"),
    Fault("push as the stage itself", _SUBSCRIPTIONS, "service_account_email = local.push", "service_account_email = local.account", "careful_subscriptions"),
    Fault("push without audience", _SUBSCRIPTIONS, "audience              = google_cloud_run_v2_service.stage[0].uri", "", "careful_subscriptions"),
    Fault("push unwrapped", _SUBSCRIPTIONS, "    oidc_token {", "    no_wrapper {\n      write_metadata = true\n    }\n    oidc_token {", "careful_subscriptions"),
    Fault("short ack deadline", _SUBSCRIPTIONS, "ack_deadline_seconds = 600", "ack_deadline_seconds = 60", "careful_subscriptions"),
    Fault("no patience", _SUBSCRIPTIONS, 'maximum_backoff = "600s"', 'maximum_backoff = "10s"', "careful_subscriptions"),
    Fault("expires", _SUBSCRIPTIONS, 'ttl = ""', 'ttl = "2678400s"', "careful_subscriptions"),
    Fault("no replay", _SUBSCRIPTIONS, "retain_acked_messages      = true", "retain_acked_messages      = false", "careful_subscriptions"),
    Fault("tokens in dead letters", _SUBSCRIPTIONS, "for_each = each.value.credentials ? [] : [var.dead_letter_topic]", "for_each = [var.dead_letter_topic]", "careful_subscriptions"),
    Fault("tokens kept for a week", _SUBSCRIPTIONS, '"3600s"', '"604800s"', "careful_subscriptions"),
    Fault("five attempts", _SUBSCRIPTIONS, "max_delivery_attempts = var.attempts", "max_delivery_attempts = 5", "careful_subscriptions"),
    Fault("five attempts, asked for", "outer/variables.tf", "default     = 10", "default     = 5", "terraform"),
)  # fmt: skip

SERVICES = (
    Fault("image by tag", _SERVICE, "image = var.image", 'image = "us-central1-docker.pkg.dev/p/r/services:latest"', "pinned_images"),
    Fault("image by tag, as a variable", "outer/stages.tf", "image               = var.image", 'image               = "us-central1-docker.pkg.dev/p/r/services:latest"', "terraform"),
    Fault("the default account", _SERVICE, "service_account                  = local.account", "", "closed_services"),
    Fault("not protected", _SERVICE, "deletion_protection  = var.deletion_protection", "deletion_protection  = false", "closed_services"),
    Fault("unknown setting", "outer/settings.tf", "outer_network           =", "outer_net               =", "environment"),
    Fault("another stage's code", "modules/function/service.tf", "functions/${var.name}/main.py", "functions/ctl/main.py", "environment"),
    Fault("writes its own policies", _SERVICE, "read_only = true", "read_only = false", "environment"),
    Fault("no policies", "outer/stages.tf", "buckets             = local.policies", "buckets             = {}", "environment"),
)  # fmt: skip

THINGS = (
    Fault("database unprotected", "outer/database.tf", '"DELETE_PROTECTION_ENABLED"', '"DELETE_PROTECTION_DISABLED"', "kept"),
    Fault("no recovery", "outer/database.tf", "POINT_IN_TIME_RECOVERY_ENABLED", "POINT_IN_TIME_RECOVERY_DISABLED", "kept"),
    Fault("claims for ever", "outer/database.tf", '"claims", ', "", "database"),
    Fault("no TTL", "outer/database.tf", "ttl_config {}", "", "database"),
    Fault("forgetful bucket", "outer/buckets.tf", "enabled = true", "enabled = false", "kept"),
    Fault("remote repository", "outer/repositories.tf", '"STANDARD_REPOSITORY"', '"REMOTE_REPOSITORY"', "kept"),
    Fault("another algorithm", "outer/keys.tf", '"EC_SIGN_P256_SHA256"', '"RSA_SIGN_PKCS1_2048_SHA256"', "signing_keys"),
    Fault("software key", "outer/keys.tf", '"HSM"', '"SOFTWARE"', "kept"),
    Fault("ssh", "outer/network.tf", "", _SSH, "network"),
    Fault("all ports", "outer/network.tf", 'ports    = ["80", "443"]', "", "network"),
    Fault("all protocols", "outer/network.tf", 'protocol = "tcp"\n    ports    = ["80", "443"]', 'protocol = "all"', "network"),
    Fault("neighbours after the web", "outer/network.tf", "priority           = 900", "priority           = 1100", "network"),
    Fault("neighbours forgotten", "outer/network.tf", '"10.0.0.0/8", ', "", "network"),
    Fault("silent denial", "outer/network.tf", '  deny {\n    protocol = "all"\n  }\n\n  log_config {\n    metadata = "INCLUDE_ALL_METADATA"\n  }\n', '  deny {\n    protocol = "all"\n  }\n', "network"),
    Fault("open rest", "outer/network.tf", "priority           = 65000", "priority           = 65000\n  disabled           = true", "network"),
    Fault("a subnetwork everywhere", "outer/network.tf", "auto_create_subnetworks = false", "auto_create_subnetworks = true", "network"),
)  # fmt: skip

FAULTS = PUBLIC + RIGHTS + EVENTS + DELIVERY + SERVICES + THINGS
