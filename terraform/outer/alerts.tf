# What needs a person. Each policy's documentation says what to do.

resource "google_monitoring_notification_channel" "email" {
  for_each = var.alert_emails

  project      = var.project
  display_name = each.value
  type         = "email"
  labels       = { email_address = each.value }
  depends_on   = [google_project_service.api]
}

locals {
  subscription_of = "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id"

  alerts = {
    "dead letters" = {
      filter    = "${local.subscription_of} = \"${google_pubsub_subscription.dead_letters_hold.name}\" AND metric.type = \"pubsub.googleapis.com/subscription/num_undelivered_messages\""
      aligner   = "ALIGN_MAX"
      threshold = 0
      duration  = "0s"
      todo      = "An event could not be handled. Its attribute `reason` says why: gcloud pubsub subscriptions pull dead-letters-hold. Mend the cause, then publish the event again with a new replay-id."
    }
    "failed runs" = {
      filter    = "resource.type = \"pubsub_topic\" AND resource.labels.topic_id = \"run-failed\" AND metric.type = \"pubsub.googleapis.com/topic/send_message_operation_count\""
      aligner   = "ALIGN_DELTA"
      threshold = 0
      duration  = "0s"
      todo      = "A run ended without success; its document in `runs` names the stage and the reason."
    }
    "lost notifications" = {
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/lost_notifications"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 0
      duration  = "0s"
      todo      = "The sink took nothing for a day, and what it was to hear is given up: the log lines `notification` say what, and `said` in `notices` says what the sink answered."
    }
    "lost traces" = {
      # Now and then one is lost, and nobody need rise for it.
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/lost_traces"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 10
      duration  = "3600s"
      todo      = "Cloud Trace has not taken spans for an hour. No run is hurt, and the console has the spans of runs: does telemetry.googleapis.com answer, and may the stages write to it?"
    }
    "missing data about exploitation" = {
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/lacking_data"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 0
      duration  = "0s"
      todo      = "A list of what is exploited could not be read, so packages that a policy judges by it are held: the log lines `data-lacking` name the address (settings `kev` and `epss`)."
    }
    "misconfigured stage" = {
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/misconfigured"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 0
      duration  = "0s"
      todo      = "A stage cannot work with its settings; its log line names the variable."
    }
    "outer VM older than its limit" = {
      # The metric exists while the VM does: a node that was seen for the whole duration is that old.
      filter    = "resource.type = \"tpu_worker\" AND resource.labels.node_id = starts_with(\"dmz-outer-\") AND metric.type = \"tpu.googleapis.com/cpu/utilization\""
      aligner   = "ALIGN_MAX"
      threshold = -1
      duration  = "${floor(var.outer_vm_hours) * 3600}s"
      todo      = "The watchdog should have deleted this VM: look whether the job `sweep` runs, then delete it: gcloud compute tpus tpu-vm delete."
    }
    "package alarms" = {
      # Logged again in every hour in which it is so.
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/package_alarms"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 0
      duration  = "0s"
      todo      = "Something about a package that is held needs a person; the log lines `package-alarm` and the documents in `alarms` that are open say what. docs/operations.md has what to do about each kind."
    }
    "refused attestations" = {
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/refused_attestations"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 0
      duration  = "0s"
      todo      = "A workload could not prove what it is; `appraisals` has every rule and its answer."
    }
    "slow stage" = {
      # A request that the limit has ended logs no time; its event waits, which `stuck runs` watches.
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/stage_seconds"].name}\""
      aligner   = "ALIGN_PERCENTILE_99"
      threshold = 540 # seconds
      duration  = "0s"
      todo      = "A stage needs nearly as long for an event as Pub/Sub waits for it (600 s); longer, and the event comes again while it is being handled. Its log lines `event-handled` say which event and how many bytes: smaller shards (setting `shard_bytes`), or more memory and processors for the stage."
    }
    "stuck runs" = {
      filter    = "${local.subscription_of} = monitoring.regex.full_match(\"(attestation|outer|scanner|sync)--.*\") AND metric.type = \"pubsub.googleapis.com/subscription/oldest_unacked_message_age\""
      aligner   = "ALIGN_MAX"
      threshold = 1800 # seconds
      duration  = "300s"
      todo      = "An event waits for its stage. Look at the stage's log and at its instances."
    }
    "stage tries again and again" = {
      # A passing trouble is tried again now and then; this is more than that, for half an hour.
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.dmz["dmz/retries"].name}\""
      aligner   = "ALIGN_DELTA"
      threshold = 10
      duration  = "1800s"
      todo      = "A stage asks for its events again: its log lines `delivery-postponed` say what it lacks, an index, a repository or room for a TPU."
    }
    "watchdog asleep" = {
      filter    = "resource.type = \"pubsub_topic\" AND resource.labels.topic_id = \"sweep-requested\" AND metric.type = \"pubsub.googleapis.com/topic/send_message_operation_count\""
      aligner   = "ALIGN_DELTA"
      threshold = null # absent
      duration  = "900s"
      todo      = "No tick for a quarter of an hour: VMs that nobody needs stay. Look at the Scheduler's job `sweep`."
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

    dynamic "condition_threshold" {
      for_each = each.value.threshold == null ? [] : [each.value]
      content {
        filter          = condition_threshold.value.filter
        comparison      = "COMPARISON_GT"
        threshold_value = condition_threshold.value.threshold
        duration        = condition_threshold.value.duration

        aggregations {
          alignment_period   = "300s"
          per_series_aligner = condition_threshold.value.aligner
        }
      }
    }

    dynamic "condition_absent" {
      for_each = each.value.threshold == null ? [each.value] : []
      content {
        filter   = condition_absent.value.filter
        duration = condition_absent.value.duration

        aggregations {
          alignment_period   = "300s"
          per_series_aligner = condition_absent.value.aligner
        }
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
