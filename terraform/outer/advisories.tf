# OSV publishes its records as one zip per ecosystem (https://google.github.io/osv.dev/data/#data-dumps). Storage
# Transfer copies them by its own schedule: no code of ours, and no account of ours that may write them.

data "google_storage_transfer_project_service_account" "transfer" {
  count = var.advisories_in_bucket ? 1 : 0

  project = var.project
}

resource "google_storage_transfer_job" "advisories" {
  count = var.advisories_in_bucket ? 1 : 0

  project     = var.project
  description = "Package DMZ: refresh the advisories"

  transfer_spec {
    gcs_data_source {
      bucket_name = "osv-vulnerabilities"
    }
    gcs_data_sink {
      bucket_name = google_storage_bucket.dmz["advisories"].name
    }
    object_conditions {
      include_prefixes = ["Debian/all.zip", "PyPI/all.zip", "Ubuntu/all.zip"]
    }
    transfer_options {
      overwrite_when = "DIFFERENT"
    }
  }

  schedule {
    repeat_interval = "3600s" # the shortest
    schedule_start_date {
      year  = 2026
      month = 1
      day   = 1
    }
  }

  depends_on = [google_storage_bucket_iam_member.transfer]
}

resource "google_storage_bucket_iam_member" "transfer" {
  for_each = var.advisories_in_bucket ? toset(["roles/storage.legacyBucketReader", "roles/storage.objectUser"]) : toset([])

  bucket = google_storage_bucket.dmz["advisories"].name
  role   = each.value
  member = data.google_storage_transfer_project_service_account.transfer[0].member
}
