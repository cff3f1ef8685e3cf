"""Faults in the rights of the two builders."""

from __future__ import annotations

from tests.terraform.fault import Fault

_KEYS, _BUCKETS = "outer/keys.tf", "outer/buckets.tf"
_PUSHES = """
resource "google_artifact_registry_repository_iam_member" "hurry" {
  project    = var.project
  location   = var.location
  repository = google_artifact_registry_repository.services.repository_id
  role       = "roles/artifactregistry.writer"
  member     = "serviceAccount:${local.rebuilder}"
}
"""
_ACTS = """
resource "google_service_account_iam_member" "hurry" {
  service_account_id = "projects/${var.project}/serviceAccounts/${local.rebuilder}"
  role               = "roles/iam.serviceAccountUser"
  member             = "serviceAccount:${local.builder}"
}
"""

BUILDERS = (
    Fault(
        "the builder signs for the rebuilder",
        _KEYS,
        '"rebuilder"              = "serviceAccount:${local.rebuilder}"',
        '"rebuilder"              = "serviceAccount:${local.builder}"',
        "builders",
    ),
    Fault(
        "who verifies can sign",
        _KEYS,
        'role = "roles/cloudkms.publicKeyViewer" } }',
        'role = "roles/cloudkms.signer" } }',
        "builders",
    ),
    Fault("the rebuilder pushes", "outer/repositories.tf", "", _PUSHES, "builders"),
    Fault(
        "what was signed can be replaced",
        _BUCKETS,
        "roles/storage.objectCreator",
        "roles/storage.objectUser",
        "builders",
    ),
    Fault("the builder runs builds as the rebuilder", "outer/identities.tf", "", _ACTS, "builders"),
)
