locals {
  # Kept VMs, the dearest of all, are the inner project's.
  budgeted = compact([local.number, try(var.inner.number, null)])
}

resource "google_billing_budget" "dmz" {
  count = var.billing_account == null ? 0 : 1

  billing_account = var.billing_account
  display_name    = "Package DMZ: ${var.project}"

  budget_filter {
    projects = [for number in local.budgeted : "projects/${number}"]
  }

  amount {
    specified_amount {
      units = var.budget_amount
    }
  }

  dynamic "threshold_rules" {
    for_each = [0.5, 0.9, 1.0]
    content {
      threshold_percent = threshold_rules.value
    }
  }

  threshold_rules {
    threshold_percent = 1.0
    spend_basis       = "FORECASTED_SPEND"
  }

  all_updates_rule {
    monitoring_notification_channels = [for one in google_monitoring_notification_channel.email : one.id]
  }

  depends_on = [google_project_service.api]
}
