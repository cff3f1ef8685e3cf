locals {
  apis = [
    "artifactregistry", "cloudbilling", "cloudbuild", "cloudkms", "cloudresourcemanager", "cloudscheduler", "cloudtrace", "compute",
    "firestore", "iam", "iamcredentials", "iap", "logging", "monitoring", "pubsub", "run", "secretmanager", "storage", "storagetransfer", "telemetry", "tpu",
  ]
  budget_apis = var.billing_account == null ? [] : ["billingbudgets"]
}

resource "google_project_service" "api" {
  for_each = toset(concat(local.apis, local.budget_apis))

  project            = var.project
  service            = "${each.key}.googleapis.com"
  disable_on_destroy = false # others may use them
}

# Google's own service accounts; making them known before they are granted anything.
resource "google_project_service_identity" "agent" {
  for_each = toset(["cloudscheduler", "iap", "pubsub"])
  provider = google-beta

  project    = var.project
  service    = "${each.key}.googleapis.com"
  depends_on = [google_project_service.api]
}

locals {
  iap_agent       = "serviceAccount:service-${local.number}@gcp-sa-iap.iam.gserviceaccount.com"
  number          = data.google_project.outer.number
  pubsub_agent    = "serviceAccount:service-${local.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
  scheduler_agent = "serviceAccount:service-${local.number}@gcp-sa-cloudscheduler.iam.gserviceaccount.com"
}
