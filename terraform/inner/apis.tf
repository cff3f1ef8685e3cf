locals {
  apis = [
    "artifactregistry", "cloudkms", "cloudresourcemanager", "compute", "confidentialcomputing", "dns", "iam",
    "iamcredentials", "iap", "logging", "monitoring", "pubsub", "run", "sts", "tpu",
  ]
}

resource "google_project_service" "api" {
  for_each = toset(local.apis)

  project            = var.project
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false # others may use them
}

# Google's own service accounts; the outer project grants them something before they would come to be by themselves.
resource "google_project_service_identity" "agent" {
  for_each = toset(["pubsub", "run"])
  provider = google-beta

  project    = var.project
  service    = "${each.key}.googleapis.com"
  depends_on = [google_project_service.api]
}
