# Counted from the stages' own log lines, by the field `event` (shared/logs.py).

locals {
  service_logs = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=(\"attestation\" OR \"outer\" OR \"scanner\" OR \"sync\")"

  log_metrics = {
    "dmz/decisions" = {
      description = "Decisions that a stage wrote to the decision log."
      filter      = "${local.service_logs} AND jsonPayload.event=\"decision-logged\""
    }
    "dmz/lacking_data" = {
      description = "Bodies of data about exploitation that a stage could not read: packages are held for it."
      filter      = "${local.service_logs} AND jsonPayload.event=\"data-lacking\" AND severity=WARNING"
    }
    "dmz/misconfigured" = {
      description = "Events that a stage cannot handle because its own settings are wrong."
      filter      = "${local.service_logs} AND jsonPayload.event=\"stage-misconfigured\""
    }
    "dmz/package_alarms" = {
      description = "Held packages that a person has to look at: strays, drift upstream, refused ones that stay."
      filter      = "${local.service_logs} AND jsonPayload.event=\"package-alarm\""
    }
    "dmz/refused_attestations" = {
      description = "Tokens that the attestation stage refused."
      filter      = "${local.service_logs} AND jsonPayload.event=\"attestation-appraised\" AND jsonPayload.accepted=false"
    }
    "dmz/retries" = {
      description = "Deliveries that a stage asked for again."
      filter      = "${local.service_logs} AND jsonPayload.event=\"delivery-postponed\""
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

  label_extractors = { stage = "EXTRACT(jsonPayload.stage)" }

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"

    labels {
      key        = "stage"
      value_type = "STRING"
    }
  }
}
