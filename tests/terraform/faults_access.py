"""Faults in who may do what in the outer project."""

from __future__ import annotations

from tests.terraform.fault import SERVICE, Fault

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
_SINK = """
resource "google_logging_project_sink" "hurry" {
  project     = var.project
  name        = "hurry"
  destination = "storage.googleapis.com/somebodys"
}
"""
_POLICY = """
resource "google_compute_network_firewall_policy" "hurry" {
  project = var.project
  name    = "hurry"
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
        SERVICE,
        "invoker_iam_disabled = false",
        "invoker_iam_disabled = true",
        "closed_services",
    ),
    Fault(
        "public ingress",
        SERVICE,
        '"INGRESS_TRAFFIC_INTERNAL_ONLY"',
        '"INGRESS_TRAFFIC_ALL"',
        "closed_services",
    ),
    Fault("wide invoker role", SERVICE, "roles/run.servicesInvoker", "roles/run.admin", "closed_services"),
    Fault("objects may be opened", "outer/buckets.tf", '"enforced"', '"inherited"', "kept"),
)


RIGHTS = (
    Fault("editor", "outer/identities.tf", "", _PROJECT % "roles/editor", "no_basic_roles"),
    Fault(
        "publisher of all topics",
        "outer/identities.tf",
        "",
        _PROJECT % "roles/pubsub.publisher",
        "project_wide",
    ),
    Fault(
        "a keeper of VMs who enters them",
        "outer/identities.tf",
        '"tpu.operations.get"',
        '"tpu.operations.get", "tpu.nodes.update"',
        "exact_roles",
    ),
    Fault(
        "status deletes VMs",
        "outer/identities.tf",
        '["tpu.nodes.get", "tpu.nodes.list"]',
        '["tpu.nodes.delete", "tpu.nodes.get", "tpu.nodes.list"]',
        "exact_roles",
    ),
    Fault("logs are carried away", "outer/identities.tf", "", _SINK, "listed_types"),
    Fault("a firewall policy before the rules", "outer/network.tf", "", _POLICY, "listed_types"),
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
    Fault(
        "a role nobody looked at",
        "outer/repositories.tf",
        "artifactregistry.writer",
        "artifactregistry.admin",
        "known_roles",
    ),
    Fault(
        "a role that is not",
        "outer/repositories.tf",
        "artifactregistry.reader",
        "artifactregistry.read",
        "known_roles",
    ),
    Fault(
        "VM keeper acts as",
        "outer/identities.tf",
        '"tpu.nodes.create"',
        '"iam.serviceAccounts.actAs"',
        "known_roles",
    ),
    Fault(
        "outer VM reads results",
        "outer/topics.tf",
        "",
        _TOPIC % ("run-completed", '"serviceAccount:${local.outer_vm}"'),
        "outer_vm",
    ),
    Fault(
        "outer VM reads the services",
        "outer/repositories.tf",
        "[var.inner.run_agent, var.inner.deployer]",
        '["serviceAccount:${local.outer_vm}"]',
        "outer_vm",
    ),
    Fault(
        "sync signs", "outer/keys.tf", "= module.attestation.member", "= module.sync.member", "signing_keys"
    ),
    Fault(
        "another stage is given the sink's address",
        "outer/stages.tf",
        '  name                = "sync"\n',
        '  name                = "sync"\n  secrets             = local.secrets\n',
        "secrets",
    ),
)

ACCESS = PUBLIC + RIGHTS
