# Who may read from topics and subscriptions without being pushed to.

resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = var.operators

  project      = var.project
  subscription = google_pubsub_subscription.dead_letters_hold.name
  role         = "roles/pubsub.subscriber"
  member       = each.value
}

resource "google_pubsub_subscription_iam_member" "nonces" {
  for_each = local.data_services

  project      = var.project
  subscription = google_pubsub_subscription.nonces[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = each.value
}

# The inner stage's subscriptions live in its own project: Cloud Run's internal ingress takes pushes from there alone.
# Who applies terraform/inner attaches them to these topics, and to no other.
resource "google_pubsub_topic_iam_member" "inner_attaches" {
  for_each = var.inner == null ? toset([]) : local.inner_topics

  project = var.project
  topic   = google_pubsub_topic.event[each.value].name
  role    = "roles/pubsub.subscriber"
  member  = var.inner.deployer
}

locals {
  # Service to the account that it runs as in the inner project.
  data_services = var.inner == null ? {} : var.inner.data_services

  # shared/events.py, SUBSCRIBERS["inner"].
  inner_topics = toset(["attestation-appraised", "inner-install-completed", "run-failed", "sweep-requested", "sync-completed"])
}
