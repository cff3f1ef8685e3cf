# Directories that stages read, mounted by Cloud Run. Claim checks are in the database
# (docs/decisions/0001-bulk-results-in-firestore.md), so there is no bucket for them.

locals {
  # What each holds, and for how many days it keeps what was replaced or deleted. A verdict names the digest of the
  # advisories and of the policy that it was made with: old ones can be asked again.
  buckets = {
    advisories = 90  # what is known about packages, a copy of OSV's own bucket
    builds     = 1   # sources on their way to Cloud Build
    provenance = 730 # what builders signed about images; nothing in it expires
    policies   = 730 # admission and appraisal policies, builders' keys
  }
}

resource "google_storage_bucket" "dmz" {
  for_each = local.buckets

  project                     = var.project
  name                        = "${var.project}-dmz-${each.key}"
  location                    = var.location
  labels                      = merge(local.labels, { holds = each.key })
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = false
  depends_on                  = [google_project_service.api]

  versioning {
    enabled = true
  }

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      days_since_noncurrent_time = each.value
      with_state                 = "ARCHIVED"
    }
  }

  # Sources are of use while they are built.
  dynamic "lifecycle_rule" {
    for_each = each.key == "builds" ? ["Delete"] : []
    content {
      action {
        type = lifecycle_rule.value
      }
      condition {
        age        = 30
        with_state = "LIVE"
      }
    }
  }

  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 1
    }
  }

  soft_delete_policy {
    retention_duration_seconds = 604800
  }
}

resource "google_storage_bucket_iam_member" "advisories_reader" {
  for_each = toset(concat(local.publishers["scanner"], local.publishers["sync"]))

  bucket = google_storage_bucket.dmz["advisories"].name
  role   = "roles/storage.objectViewer"
  member = each.value
}

resource "google_storage_bucket_iam_member" "policies_reader" {
  for_each = toset(flatten([for stage in ["attestation", "outer", "scanner", "sync"] : local.publishers[stage]]))

  bucket = google_storage_bucket.dmz["policies"].name
  role   = "roles/storage.objectViewer"
  member = each.value
}

resource "google_storage_bucket_iam_member" "policies_editor" {
  for_each = var.policy_editors

  bucket = google_storage_bucket.dmz["policies"].name
  role   = "roles/storage.objectUser"
  member = each.value
}

resource "google_storage_bucket_iam_member" "builds_reader" {
  for_each = { builder = local.builder, rebuilder = local.rebuilder }

  bucket = google_storage_bucket.dmz["builds"].name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${each.value}"
}

# Builders add to what was signed; nobody of them can change or delete it.
resource "google_storage_bucket_iam_member" "provenance_writer" {
  for_each = { builder = local.builder, rebuilder = local.rebuilder }

  bucket = google_storage_bucket.dmz["provenance"].name
  role   = "roles/storage.objectCreator"
  member = "serviceAccount:${each.value}"
}

# The builder reads what the rebuilder has signed; gcloud looks whether an object is there before it makes one.
resource "google_storage_bucket_iam_member" "provenance_reader" {
  for_each = { builder = local.builder, rebuilder = local.rebuilder }

  bucket = google_storage_bucket.dmz["provenance"].name
  role   = "roles/storage.objectViewer"
  member = "serviceAccount:${each.value}"
}
