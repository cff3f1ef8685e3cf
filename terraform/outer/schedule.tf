# The watchdog's tick: ends what never reports, deletes VMs without a reason to live, publishes what was left in an
# outbox. An event with only a body is complete (events/README.md).
resource "google_cloud_scheduler_job" "sweep" {
  project     = var.project
  region      = var.location
  name        = "sweep"
  description = "Package DMZ: watchdog and outbox"
  schedule    = "* * * * *"
  time_zone   = "Etc/UTC"
  depends_on  = [google_pubsub_topic_iam_member.publisher]

  pubsub_target {
    topic_name = "projects/${var.project}/topics/${google_pubsub_topic.event["sweep-requested"].name}"
    data       = base64encode(jsonencode({}))
  }

  retry_config {
    retry_count = 3
  }
}

# What the private repositories hold is judged again: advisories change, holds and waivers end.
resource "google_cloud_scheduler_job" "advisories" {
  project     = var.project
  region      = var.location
  name        = "advisories"
  description = "Package DMZ: re-evaluation of what the repositories hold"
  schedule    = "17 * * * *"
  time_zone   = "Etc/UTC"
  depends_on  = [google_pubsub_topic_iam_member.publisher]

  pubsub_target {
    topic_name = "projects/${var.project}/topics/${google_pubsub_topic.event["advisories-refreshed"].name}"
    data       = base64encode(jsonencode({}))
  }

  retry_config {
    retry_count = 3
  }
}

resource "google_cloud_scheduler_job" "run" {
  count = var.run_schedule == null ? 0 : 1

  project     = var.project
  region      = var.location
  name        = "run-${replace(var.run_schedule.workload, "_", "-")}"
  description = "Package DMZ: the regular run of ${var.run_schedule.workload}"
  schedule    = var.run_schedule.cron
  time_zone   = var.run_schedule.time_zone
  depends_on  = [google_pubsub_topic_iam_member.publisher]

  pubsub_target {
    topic_name = "projects/${var.project}/topics/${google_pubsub_topic.event["run-requested"].name}"
    data       = base64encode(jsonencode({ workload = var.run_schedule.workload }))
  }
}
