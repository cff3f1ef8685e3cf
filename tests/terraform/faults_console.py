"""Faults in the console's service and in who may look at it."""

from __future__ import annotations

from tests.terraform.fault import Fault

_FILE = "outer/console.tf"
_PUBLISHES = """
resource "google_pubsub_topic_iam_member" "hurry" {
  project = var.project
  topic   = google_pubsub_topic.event["cancel-requested"].name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:${local.console}"
}
"""

CONSOLE = (
    Fault(
        "a console without IAP",
        _FILE,
        "iap_enabled          = true",
        "iap_enabled          = false",
        "console_behind_iap",
    ),
    Fault(
        "a console that asks nobody",
        _FILE,
        "invoker_iam_disabled = false",
        "invoker_iam_disabled = true",
        "console_behind_iap",
    ),
    Fault(
        "another way to the console", _FILE, "= local.iap_agent", "= module.sync.member", "console_behind_iap"
    ),
    Fault(
        "who was not named reads the console",
        _FILE,
        ": var.console_readers",
        ": var.operators",
        "console_behind_iap",
    ),
    Fault("everybody at the console's door", _FILE, "= each.value", '= "allUsers"', "nobody_is_everybody"),
    Fault(
        "a console that writes", _FILE, '"roles/datastore.viewer"', '"roles/datastore.user"', "console_reads"
    ),
    Fault("a console that asks for things", _FILE, "", _PUBLISHES, "console_reads"),
    Fault("a console as a stage", _FILE, "= local.console\n", "= module.sync.account\n", "console_reads"),
    Fault("a console by tag", _FILE, "image = var.image", 'image = "p/services:latest"', "pinned_images"),
    Fault("links to nowhere", _FILE, '"https://console-$', '"https://site-$', "console_linked"),
    Fault(
        "links that nobody is told",
        "outer/settings.tf",
        "local.published, local.console_link,",
        "local.published,",
        "console_linked",
    ),
)
