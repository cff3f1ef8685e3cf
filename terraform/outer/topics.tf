# One topic per event type (shared/events.py, TYPES); tests/terraform/test_events.py compares.

locals {
  event_types = toset([
    "advisories-refreshed",
    "attestation-appraised",
    "attestation-requested",
    "cancel-requested",
    "dead-letter-dropped",
    "holdings-listed",
    "image-built",
    "inner-install-completed",
    "manifest-published",
    "nonce-issued",
    "nonce-registered",
    "nonce-requested",
    "outer-install-completed",
    "package-evicted",
    "reference-changed",
    "reference-revoked",
    "run-completed",
    "run-failed",
    "run-requested",
    "sweep-requested",
    "sync-completed",
    "sync-shard-planned",
    "verdict-changed",
    "verdicts-written",
    "waiver-granted",
    "waiver-revoked",
  ])

  labels = merge(var.labels, { application = "package-dmz" })
}

resource "google_pubsub_topic" "event" {
  for_each = local.event_types

  project    = var.project
  name       = each.key
  labels     = local.labels
  depends_on = [google_project_service.api]

  message_storage_policy {
    allowed_persistence_regions = [var.location]
  }
}

resource "google_pubsub_topic" "dead_letters" {
  project    = var.project
  name       = "dead-letters"
  labels     = local.labels
  depends_on = [google_project_service.api]

  message_storage_policy {
    allowed_persistence_regions = [var.location]
  }
}

# A dead-letter topic without a subscription loses what it gets.
resource "google_pubsub_subscription" "dead_letters_hold" {
  project                    = var.project
  name                       = "dead-letters-hold"
  topic                      = google_pubsub_topic.dead_letters.name
  labels                     = local.labels
  ack_deadline_seconds       = 60
  message_retention_duration = "2678400s" # 31 days, the longest
  retain_acked_messages      = true

  expiration_policy {
    ttl = "" # never
  }
}

# By which a data service learns what to prove. A nonce is good for minutes: older ones are not worth keeping.
resource "google_pubsub_subscription" "nonces" {
  for_each = local.data_services

  project                    = var.project
  name                       = "${each.key}--nonce-issued"
  topic                      = google_pubsub_topic.event["nonce-issued"].name
  filter                     = "attributes.service = \"${each.key}\"" # another service could use its nonces up
  labels                     = local.labels
  ack_deadline_seconds       = 60
  message_retention_duration = "600s"

  expiration_policy {
    ttl = "" # never
  }
}
