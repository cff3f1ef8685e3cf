# Counted from the inner stage's own log lines, by the field `event` (shared/logs.py), as terraform/outer counts its stages'.

locals {
  service_logs = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"inner\""

  log_metrics = {
    "dmz/dead_letters" = {
      description = "Events that the inner stage could not handle and kept with the reason."
      filter      = "${local.service_logs} AND jsonPayload.event=\"dead-lettered\""
    }
    "dmz/misconfigured" = {
      description = "Events that the inner stage cannot handle because its own settings are wrong."
      filter      = "${local.service_logs} AND jsonPayload.event=\"stage-misconfigured\""
    }
    "dmz/retries" = {
      description = "Deliveries that the inner stage asked for again."
      filter      = "${local.service_logs} AND jsonPayload.event=\"delivery-postponed\""
    }
    "dmz/stage_seconds" = {
      description = "Seconds that the inner stage took over an event, until it was done or given up."
      filter      = "${local.service_logs} AND jsonPayload.event=\"event-handled\" AND jsonPayload.outcome=(\"done\" OR \"failed\")"
      value       = "seconds"
      unit        = "s"
    }
  }
}

resource "google_logging_metric" "dmz" {
  for_each = local.log_metrics

  project     = var.project
  name        = each.key
  description = each.value.description
  filter      = each.value.filter
  depends_on  = [google_project_service.api]

  value_extractor = try("EXTRACT(jsonPayload.${each.value.value})", null)

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = can(each.value.value) ? "DISTRIBUTION" : "INT64"
    unit        = try(each.value.unit, "1")
  }
}
