resource "google_firestore_database" "dmz" {
  project                           = var.project
  name                              = "(default)" # what the clients open; a project without another use of it
  location_id                       = var.location
  type                              = "FIRESTORE_NATIVE"
  concurrency_mode                  = "OPTIMISTIC"
  delete_protection_state           = var.deletion_protection ? "DELETE_PROTECTION_ENABLED" : "DELETE_PROTECTION_DISABLED"
  point_in_time_recovery_enablement = "POINT_IN_TIME_RECOVERY_ENABLED"
  deletion_policy                   = "DELETE" # delete_protection_state is what holds it
  depends_on                        = [google_project_service.api]
}

locals {
  # Firestore deletes a document some time after its field `expire_at`; one without it stays. How long each lives, and
  # what is kept for ever, is shared/retention.py; tests/terraform/test_retention.py compares.
  expiring = toset([
    "affected", "alarms", "appraisals", "blobs", "chunks", "claims", "dead_letters", "endings", "imports", "nonce-requests", "nonce-uses",
    "nonce-values", "nonces", "notices", "progress", "proved", "reevaluations", "runs", "shards", "slices", "spans", "syncs", "token-uses",
    "verdicts", "vms", "workers",
  ])

  # Never asked for, and large: an index over them costs more than the documents. Every other field has the index that
  # Firestore makes by itself, by which the queries of the stages are answered: each asks by one field.
  unindexed = {
    "chunks data"       = { collection = "chunks", field = "data" }
    "dead letters body" = { collection = "dead_letters", field = "body" }
    "decisions details" = { collection = "decisions", field = "details" }
    "outbox body"       = { collection = "outbox", field = "body" }
    "verdicts verdict"  = { collection = "verdicts", field = "verdict" }
    "votes vote"        = { collection = "votes", field = "vote" }
  }
}

# What the console asks by several fields at once (shared/readings.py): one part of a collection in order, or added up.
locals {
  asked_together = {
    "a repository's bytes"   = { collection = "holdings", fields = [["repository", "ASCENDING"], ["evicted", "ASCENDING"], ["size", "ASCENDING"]] }
    "a repository's files"   = { collection = "holdings", fields = [["repository", "ASCENDING"], ["came", "DESCENDING"]] }
    "a run's duplicates"     = { collection = "spans", fields = [["run_id", "ASCENDING"], ["duplicates", "ASCENDING"]] }
    "a run's trace"          = { collection = "spans", fields = [["run_id", "ASCENDING"], ["started", "ASCENDING"]] }
    "notices, by their age"  = { collection = "notices", fields = [["state", "ASCENDING"], ["since", "ASCENDING"]] }
    "notices, by their turn" = { collection = "notices", fields = [["state", "ASCENDING"], ["next", "ASCENDING"]] }
    "runs that failed"       = { collection = "runs", fields = [["state", "ASCENDING"], ["ended", "DESCENDING"]] }
  }
}

resource "google_firestore_index" "together" {
  for_each = local.asked_together

  project    = var.project
  database   = google_firestore_database.dmz.name
  collection = each.value.collection

  dynamic "fields" {
    for_each = each.value.fields
    content {
      field_path = fields.value[0]
      order      = fields.value[1]
    }
  }
}

resource "google_firestore_field" "expire_at" {
  for_each = local.expiring

  project    = var.project
  database   = google_firestore_database.dmz.name
  collection = each.key
  field      = "expire_at"

  ttl_config {}

  # Ever growing values in an index make one hot spot of it, and nobody asks for them.
  index_config {}
}

resource "google_firestore_field" "unindexed" {
  for_each = local.unindexed

  project    = var.project
  database   = google_firestore_database.dmz.name
  collection = each.value.collection
  field      = each.value.field

  index_config {}
}

# The database has no policy of its own: rights to it stand on the project, narrowed to this database by a condition.
resource "google_project_iam_member" "database_user" {
  for_each = toset(flatten([for stage in local.stages : local.publishers[stage]]))

  project = var.project
  role    = "roles/datastore.user"
  member  = each.value

  condition {
    title      = "the one database"
    expression = local.the_database
  }
}

resource "google_project_iam_member" "database_viewer" {
  for_each = var.operators

  project = var.project
  role    = "roles/datastore.viewer"
  member  = each.value

  condition {
    title      = "the one database"
    expression = local.the_database
  }
}

locals {
  the_database = "resource.name == \"projects/${var.project}/databases/${google_firestore_database.dmz.name}\""
}
