# Where notifications go: the address of a sink may be what lets in. It never passes through Terraform, whose state would
# keep it: an operator adds a version, and `notify_version` names it.
#
#   printf %s https://SINK | gcloud secrets versions add dmz-notify --data-file=- --project=PROJECT

resource "google_secret_manager_secret" "notify" {
  project             = var.project
  secret_id           = "dmz-notify"
  labels              = local.labels
  deletion_protection = var.deletion_protection
  depends_on          = [google_project_service.api]

  # An address that was replaced can be had back for a while.
  version_destroy_ttl = "604800s"

  replication {
    user_managed {
      replicas {
        location = var.location
      }
    }
  }
}

# The one stage that tells anybody.
resource "google_secret_manager_secret_iam_member" "notify_reader" {
  project   = var.project
  secret_id = google_secret_manager_secret.notify.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = module.outer.member
}

# Operators put one in; they need not read it.
resource "google_secret_manager_secret_iam_member" "notify_writer" {
  for_each = var.operators

  project   = var.project
  secret_id = google_secret_manager_secret.notify.secret_id
  role      = "roles/secretmanager.secretVersionAdder"
  member    = each.value
}

locals {
  secrets = var.notify_version == null ? {} : {
    for field in local.secret : "DMZ_${upper(field)}" => { name = google_secret_manager_secret.notify.secret_id, version = var.notify_version }
  }
}
