# <stage>--<topic> each, as functions/local/pubsub.py makes them on one machine.

resource "google_pubsub_subscription" "push" {
  for_each = var.image == null ? {} : var.topics

  project              = var.project
  name                 = "${var.name}--${each.key}"
  topic                = "projects/${each.value.project}/topics/${each.key}"
  labels               = var.labels
  ack_deadline_seconds = 600

  # Kept after their acknowledgement, so that `gcloud pubsub subscriptions seek` can replay them. What holds
  # credentials is kept no longer than a token lives.
  retain_acked_messages      = true
  message_retention_duration = each.value.credentials ? "3600s" : "604800s"

  expiration_policy {
    ttl = "" # never
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  # Pub/Sub forwards whole messages: bodies with credentials have no dead-letter policy, the stage keeps them without.
  # Neither have dead letters, which would come round for ever.
  dynamic "dead_letter_policy" {
    for_each = each.value.credentials || each.value.dead_letters ? [] : [var.dead_letter_topic]
    content {
      dead_letter_topic     = dead_letter_policy.value
      max_delivery_attempts = var.attempts
    }
  }

  push_config {
    # functions-framework reads the topic from the path.
    push_endpoint = "${google_cloud_run_v2_service.stage[0].uri}/projects/${each.value.project}/topics/${each.key}"

    oidc_token {
      service_account_email = local.push
      audience              = google_cloud_run_v2_service.stage[0].uri
    }
  }

  # Without them the first messages would be refused.
  depends_on = [google_cloud_run_v2_service_iam_member.push, google_service_account_iam_member.push]
}

# Forwarding to the dead-letter topic acknowledges here.
resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = { for topic, one in var.topics : topic => one if var.image != null && !one.credentials && !one.dead_letters }

  project      = var.project
  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = var.pubsub_agent
}
