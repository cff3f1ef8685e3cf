"""Faults in what the outer project hears and says."""

from __future__ import annotations

from tests.terraform.fault import SUBSCRIPTIONS, Fault

_TOPIC = """
resource "google_pubsub_topic_iam_member" "hurry" {
  project = var.project
  topic   = "%s"
  role    = "roles/pubsub.publisher"
  member  = %s
}
"""

EVENTS = (
    Fault(
        "unknown topic",
        "outer/topics.tf",
        '"run-completed",',
        '"run-complete",',
        "terraform",
    ),
    Fault(
        "one topic too many", "outer/topics.tf", '"nonce-issued",', '"nonce-issued", "nonce-lost",', "topics"
    ),
    Fault(
        "scanner publishes what sync does",
        "outer/publishers.tf",
        '"sync-completed"          = ["sync"]',
        '"sync-completed"          = ["sync", "scanner"]',
        "publishers",
    ),
    Fault(
        "nobody tells failures",
        "outer/publishers.tf",
        '["outer", "scanner", "sync", "inner", "attestation"]',
        '["outer", "scanner", "inner", "attestation"]',
        "publishers",
    ),
    Fault(
        "stranger publishes",
        "outer/topics.tf",
        "",
        _TOPIC % ("image-built", "module.sync.member"),
        "publishers",
    ),
    Fault("a stage is not told", "outer/stages.tf", '"nonce-requested", ', "", "subscriptions"),
    Fault(
        "a stage hears too much",
        "outer/stages.tf",
        '"holdings-listed", "manifest-published", ',
        '"holdings-listed", "manifest-published", "run-failed", ',
        "subscriptions",
    ),
    Fault(
        "dead letters are lost",
        "outer/topics.tf",
        "topic                      = google_pubsub_topic.dead_letters.name",
        'topic                      = google_pubsub_topic.event["run-failed"].name',
        "dead_letters",
    ),
    Fault(
        "Pub/Sub may not forward",
        SUBSCRIPTIONS,
        'role         = "roles/pubsub.subscriber"',
        'role         = "roles/pubsub.viewer"',
        "dead_letters",
    ),
    Fault(
        "every service's nonces",
        "outer/topics.tf",
        'filter                     = "attributes.service = \\"${each.key}\\""',
        "",
        "own_nonces",
    ),
    Fault(
        "nonces by a misspelt attribute",
        "outer/topics.tf",
        "attributes.service =",
        "attributes.services =",
        "own_nonces",
    ),
    Fault(
        "one service reads another's nonces",
        "outer/readers.tf",
        "google_pubsub_subscription.nonces[each.key].name",
        'google_pubsub_subscription.nonces["collector"].name',
        "own_nonces",
    ),
    Fault("no watchdog", "outer/schedule.tf", '"* * * * *"', '"0 * * * *"', "watchdog"),
    Fault("never judged again", "outer/schedule.tf", '"17 * * * *"', '"17 1 1 * *"', "judged_again"),
    Fault(
        "two reports at once",
        "outer/stages.tf",
        "{ concurrency = 1, ",
        "{ concurrency = 2, ",
        "one_report_at_a_time",
    ),
)


DELIVERY = (
    Fault(
        "push without OIDC",
        SUBSCRIPTIONS,
        "    oidc_token {\n      service_account_email = local.push\n"
        "      audience              = google_cloud_run_v2_service.stage[0].uri\n    }\n",
        "",
        "careful_subscriptions",
    ),
    Fault(
        "push as the stage itself",
        SUBSCRIPTIONS,
        "service_account_email = local.push",
        "service_account_email = local.account",
        "careful_subscriptions",
    ),
    Fault(
        "push without audience",
        SUBSCRIPTIONS,
        "audience              = google_cloud_run_v2_service.stage[0].uri",
        "",
        "careful_subscriptions",
    ),
    Fault(
        "push unwrapped",
        SUBSCRIPTIONS,
        "    oidc_token {",
        "    no_wrapper {\n      write_metadata = true\n    }\n    oidc_token {",
        "careful_subscriptions",
    ),
    Fault(
        "short ack deadline",
        SUBSCRIPTIONS,
        "ack_deadline_seconds = 600",
        "ack_deadline_seconds = 60",
        "careful_subscriptions",
    ),
    Fault(
        "no patience",
        SUBSCRIPTIONS,
        'maximum_backoff = "600s"',
        'maximum_backoff = "10s"',
        "careful_subscriptions",
    ),
    Fault("expires", SUBSCRIPTIONS, 'ttl = ""', 'ttl = "2678400s"', "careful_subscriptions"),
    Fault(
        "no replay",
        SUBSCRIPTIONS,
        "retain_acked_messages      = true",
        "retain_acked_messages      = false",
        "careful_subscriptions",
    ),
    Fault(
        "tokens in dead letters",
        SUBSCRIPTIONS,
        "for_each = each.value.credentials || each.value.dead_letters ? [] : [var.dead_letter_topic]",
        "for_each = [var.dead_letter_topic]",
        "careful_subscriptions",
    ),
    Fault(
        "letters about letters",
        SUBSCRIPTIONS,
        "each.value.credentials || each.value.dead_letters ?",
        "each.value.credentials ?",
        "careful_subscriptions",
    ),
    Fault(
        "dead letters are not noted",
        "outer/stages.tf",
        'merge(local.pushed["outer"], local.letters)',
        'local.pushed["outer"]',
        "dead_letters",
    ),
    Fault("tokens kept for a week", SUBSCRIPTIONS, '"3600s"', '"604800s"', "careful_subscriptions"),
    Fault(
        "five attempts",
        SUBSCRIPTIONS,
        "max_delivery_attempts = var.attempts",
        "max_delivery_attempts = 5",
        "careful_subscriptions",
    ),
    Fault("five attempts, asked for", "outer/stages.tf", "= var.dead_letter_attempts", "= 5", "terraform"),
)

FLOW = EVENTS + DELIVERY
