# Counted from the stages' own log lines, by the field `event` (shared/logs.py).

locals {
  service_logs = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=(\"attestation\" OR \"outer\" OR \"scanner\" OR \"sync\")"

  # With `value`, what that field of the line holds is measured: a distribution, whose sum and count are seconds, bytes,
  # packages and events. Without one, lines are counted.
  log_metrics = {
    "dmz/bytes" = {
      description = "Bytes that a shard brought into the private repositories."
      filter      = "${local.service_logs} AND jsonPayload.event=\"event-handled\" AND jsonPayload.bytes:*"
      value       = "bytes"
      unit        = "By"
    }
    "dmz/dead_letters" = {
      description = "Events that a stage could not handle and kept with the reason."
      filter      = "${local.service_logs} AND jsonPayload.event=\"dead-lettered\""
    }
    "dmz/decisions" = {
      description = "Decisions that a stage wrote to the decision log."
      filter      = "${local.service_logs} AND jsonPayload.event=\"decision-logged\""
    }
    "dmz/lacking_data" = {
      description = "Bodies of data about exploitation that a stage could not read: packages are held for it."
      filter      = "${local.service_logs} AND jsonPayload.event=\"data-lacking\" AND severity=WARNING"
    }
    "dmz/lost_notifications" = {
      description = "Notifications that the sink did not take, and that were given up."
      filter      = "${local.service_logs} AND jsonPayload.event=\"notification\" AND severity=ERROR"
    }
    "dmz/lost_traces" = {
      description = "Times that spans could not be sent to Cloud Trace; the database has those of runs."
      filter      = "${local.service_logs} AND jsonPayload.event=\"traces-lost\""
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
    "dmz/refused_packages" = {
      description = "Packages of a manifest that the scanner held or blocked."
      filter      = "${local.service_logs} AND jsonPayload.event=\"event-handled\" AND jsonPayload.refused:*"
      value       = "refused"
      unit        = "1"
    }
    "dmz/retries" = {
      description = "Deliveries that a stage asked for again."
      filter      = "${local.service_logs} AND jsonPayload.event=\"delivery-postponed\""
    }
    "dmz/stage_seconds" = {
      description = "Seconds that a stage took over an event, until it was done or given up."
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

  label_extractors = { stage = "EXTRACT(jsonPayload.stage)" }
  value_extractor  = try("EXTRACT(jsonPayload.${each.value.value})", null)

  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = can(each.value.value) ? "DISTRIBUTION" : "INT64"
    unit        = try(each.value.unit, "1")

    labels {
      key        = "stage"
      value_type = "STRING"
    }
  }
}

# This project's stages send their spans to its Cloud Trace. The inner one does not: nothing more leaves the sealed
# project than terraform/contract.md says, and its spans stand in the database. Traces have no resource to grant on.
resource "google_project_iam_member" "traces" {
  for_each = { for grant in setproduct(keys(local.stage_topics), ["serviceusage.serviceUsageConsumer", "telemetry.tracesWriter"]) :
  "${grant[0]} ${grant[1]}" => { stage = grant[0], role = grant[1] } }

  project = var.project
  role    = "roles/${each.value.role}"
  member  = local.stage_members[each.value.stage]
}

locals {
  stage_members = {
    attestation = module.attestation.member
    outer       = module.outer.member
    scanner     = module.scanner.member
    sync        = module.sync.member
  }
}
