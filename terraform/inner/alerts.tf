# What needs a person in this project: the inner stage, and VMs that cost money. Each policy's documentation says what to do.

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  project      = var.project
  display_name = each.value
  type         = "email"
  labels       = { email_address = each.value }
  depends_on   = [google_project_service.api]
}

locals {
  alerts = {
    "inner stage misconfigured" = {
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/misconfigured"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 0
      duration  = "0s"
      todo      = "The inner stage cannot work with its settings; its log line names the variable."
    }
    "inner stage slow" = {
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/stage_seconds"].name}\""
      aligner   = "ALIGN_PERCENTILE_99"
      threshold = 540 # seconds
      duration  = "0s"
      todo      = "The inner stage needs nearly as long for an event as Pub/Sub waits for it (600 s); longer, and the event comes again while it is being handled. Its log lines `event-handled` say which event."
    }
    "inner stage tries again and again" = {
      # One delivery that waits for a VM is tried again now and then; this is more than that, for half an hour.
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/retries"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 10
      duration  = "1800s"
      todo      = "The inner stage asks for its events again: its log says what it lacks, room for a TPU or an interface that does not answer."
    }
    "inner VM up for long" = {
      # The metric exists while the VM does. A kept VM is spared by the watchdog: nobody else asks whether it is needed.
      filter    = "resource.type = \"tpu_worker\" AND resource.labels.node_id = starts_with(\"dmz-inner-\") AND metric.type = \"tpu.googleapis.com/cpu/utilization\""
      aligner   = "ALIGN_MAX"
      threshold = -1
      duration  = "${floor(var.inner_vm_hours) * 3600}s"
      todo      = "A kept VM costs money while it is up: ./dmz status with both projects says how much and whose run it was. If nobody needs it any more: gcloud compute tpus tpu-vm delete. If it was not kept, the watchdog should have deleted it: look whether the outer project's job `sweep` runs."
    }
    "stuck inner runs" = {
      filter    = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = monitoring.regex.full_match(\"inner--.*\") AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      aligner   = "ALIGN_MAX"
      threshold = 1800 # seconds
      duration  = "300s"
      todo      = "An event waits for the inner stage. Look at its log and at its instances."
    }
  }
}

resource "google_monitoring_alert_policy" "dmz" {
  for_each = local.alerts

  project               = var.project
  display_name          = "Package DMZ: ${each.key}"
  combiner              = "OR"
  severity              = "WARNING"
  notification_channels = [for one in google_monitoring_notification_channel.email : one.id]
  user_labels           = local.labels
  depends_on            = [google_project_service.api]

  conditions {
    display_name = each.key

    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = each.value.duration

      aggregations {
        alignment_period   = "300s"
        per_series_aligner = each.value.aligner
      }
    }
  }

  documentation {
    content   = each.value.todo
    mime_type = "text/markdown"
  }

  alert_strategy {
    auto_close = "86400s"
  }
}
