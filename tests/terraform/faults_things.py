"""Faults in what the outer project runs and keeps."""

from __future__ import annotations

from tests.terraform.fault import SERVICE, Fault

_SSH = """
resource "google_compute_firewall" "ssh" {
  project       = var.project
  name          = "ssh"
  network       = google_compute_network.outer.id
  direction     = "INGRESS"
  source_ranges = ["0.0.0.0/0"]
  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
}
"""

SERVICES = (
    Fault(
        "image by tag",
        SERVICE,
        "image = var.image",
        'image = "us-central1-docker.pkg.dev/p/r/services:latest"',
        "pinned_images",
    ),
    Fault(
        "image by tag, as a variable",
        "outer/stages.tf",
        "image               = var.image",
        'image               = "us-central1-docker.pkg.dev/p/r/services:latest"',
        "terraform",
    ),
    Fault(
        "the default account",
        SERVICE,
        "service_account                  = local.account",
        "",
        "closed_services",
    ),
    Fault(
        "not protected",
        SERVICE,
        "deletion_protection  = var.deletion_protection",
        "deletion_protection  = false",
        "closed_services",
    ),
    Fault(
        "unknown setting",
        "outer/settings.tf",
        "outer_network           =",
        "outer_net               =",
        "environment",
    ),
    Fault(
        "another stage's code",
        "modules/function/service.tf",
        "functions/${var.name}/main.py",
        "functions/ctl/main.py",
        "environment",
    ),
    Fault("writes its own policies", SERVICE, "read_only = true", "read_only = false", "environment"),
    Fault(
        "no policies",
        "outer/stages.tf",
        "buckets             = local.policies",
        "buckets             = {}",
        "environment",
    ),
)


THINGS = (
    Fault(
        "database unprotected",
        "outer/database.tf",
        '"DELETE_PROTECTION_ENABLED"',
        '"DELETE_PROTECTION_DISABLED"',
        "kept",
    ),
    Fault(
        "no recovery",
        "outer/database.tf",
        "POINT_IN_TIME_RECOVERY_ENABLED",
        "POINT_IN_TIME_RECOVERY_DISABLED",
        "kept",
    ),
    Fault("claims for ever", "outer/database.tf", '"claims", ', "", "database"),
    Fault("votes forgotten", "outer/database.tf", '"vms", ', '"vms", "votes", ', "database"),
    Fault("another field", "outer/database.tf", '= "expire_at"', '= "expires"', "database"),
    Fault(
        "a query without its index",
        "outer/database.tf",
        'collection = "votes", field = "vote"',
        'collection = "votes", field = "image"',
        "indexes",
    ),
    Fault(
        "an order without its index",
        "outer/database.tf",
        '["started", "ASCENDING"]',
        '["started", "DESCENDING"]',
        "indexes",
    ),
    Fault("no TTL", "outer/database.tf", "ttl_config {}", "", "database"),
    Fault("forgetful bucket", "outer/buckets.tf", "enabled = true", "enabled = false", "kept"),
    Fault(
        "remote repository", "outer/repositories.tf", '"STANDARD_REPOSITORY"', '"REMOTE_REPOSITORY"', "kept"
    ),
    Fault(
        "another algorithm",
        "outer/keys.tf",
        '"EC_SIGN_P256_SHA256"',
        '"RSA_SIGN_PKCS1_2048_SHA256"',
        "signing_keys",
    ),
    Fault("software key", "outer/keys.tf", '"HSM"', '"SOFTWARE"', "kept"),
    Fault("a name too short", "modules/function/account.tf", '"${var.name}-stage"', "var.name", "names"),
    Fault("silent signatures", "outer/keys.tf", '"DATA_READ"', '"ADMIN_READ"', "signing_keys"),
    Fault("ssh", "outer/network.tf", "", _SSH, "network"),
    Fault("all ports", "outer/network.tf", 'ports    = ["80", "443"]', "", "network"),
    Fault(
        "all protocols",
        "outer/network.tf",
        'protocol = "tcp"\n    ports    = ["80", "443"]',
        'protocol = "all"',
        "network",
    ),
    Fault(
        "neighbours after the web",
        "outer/network.tf",
        "priority           = 900",
        "priority           = 1100",
        "network",
    ),
    Fault("neighbours forgotten", "outer/network.tf", '"10.0.0.0/8", ', "", "network"),
    Fault(
        "silent denial",
        "outer/network.tf",
        '  deny {\n    protocol = "all"\n  }\n\n  log_config {\n    metadata = "INCLUDE_ALL_METADATA"\n  }\n',
        '  deny {\n    protocol = "all"\n  }\n',
        "network",
    ),
    Fault(
        "open rest",
        "outer/network.tf",
        "priority           = 65000",
        "priority           = 65000\n  disabled           = true",
        "network",
    ),
    Fault(
        "a subnetwork everywhere",
        "outer/network.tf",
        "auto_create_subnetworks = false",
        "auto_create_subnetworks = true",
        "network",
    ),
)

WATCHES = (
    Fault(
        "an alert of nothing",
        "outer/alerts.tf",
        'topic_id = \\"run-failed\\"',
        'topic_id = \\"run-fail\\"',
        "alerts",
    ),
    Fault(
        "an unwatched stage",
        "outer/alerts.tf",
        "(attestation|outer|scanner|sync)",
        "(outer|scanner|sync)",
        "alerts",
    ),
    Fault(
        "an alert to nobody",
        "outer/alerts.tf",
        "[for one in google_monitoring_notification_channel.email : one.id]",
        "[]",
        "alerts",
    ),
    Fault("no alert of packages", "outer/alerts.tf", '"package alarms" = {', '"packages" = {', "alerts"),
    Fault("no alert of dead letters", "outer/alerts.tf", '"dead letters" = {', '"letters" = {', "alerts"),
    Fault(
        "a field that no log has",
        "outer/metrics.tf",
        'jsonPayload.event=\\"stage-misconfigured\\"',
        "jsonPayload.level=3",
        "log_metrics",
    ),
    Fault(
        "an event that nobody logs",
        "outer/metrics.tf",
        'event=\\"attestation-appraised\\"',
        'event=\\"attestation-refused\\"',
        "log_metrics",
    ),
    Fault("every appraisal alarms", "outer/metrics.tf", " AND jsonPayload.accepted=false", "", "log_metrics"),
    Fault(
        "seconds are counted, not measured", "outer/metrics.tf", 'value       = "seconds"', "", "log_metrics"
    ),
    Fault(
        "the inner project's money is nobody's",
        "outer/budget.tf",
        "compact([local.number, try(var.inner.number, null)])",
        "[local.number]",
        "money",
    ),
    Fault("told when it is too late", "outer/alerts.tf", "threshold = 540", "threshold = 601", "slowness"),
    Fault("money spent unseen", "outer/budget.tf", '"FORECASTED_SPEND"', '"CURRENT_SPEND"', "money"),
)

MADE = SERVICES + THINGS + WATCHES
