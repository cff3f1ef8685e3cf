"""Faults in what the outer project keeps, drops and does by the clock."""

from __future__ import annotations

from tests.terraform.fault import Fault

KEEPING = (
    Fault(
        "versions for ever",
        "outer/buckets.tf",
        "days_since_noncurrent_time = each.value",
        "days_since_noncurrent_time = 36500",
        "lifecycle",
    ),
    Fault(
        "policies end after a month",
        "outer/buckets.tf",
        'each.key == "builds" ? ["Delete"] : []',
        '["Delete"]',
        "lifecycle",
    ),
    Fault(
        "sources for ever", "outer/buckets.tf", 'each.key == "builds" ?', 'each.key == "build" ?', "lifecycle"
    ),
    Fault(
        "what is in use ends as well",
        "outer/buckets.tf",
        'days_since_noncurrent_time = each.value\n      with_state                 = "ARCHIVED"',
        'age        = each.value\n      with_state = "ANY"',
        "lifecycle",
    ),
    Fault(
        "broken uploads stay",
        "outer/buckets.tf",
        'type = "AbortIncompleteMultipartUpload"',
        'type = "Delete"',
        "lifecycle",
    ),
    Fault(
        "a request that nobody understands",
        "outer/schedule.tf",
        "jsonencode({ workload = var.run_schedule.workload })",
        "jsonencode({ name = var.run_schedule.workload })",
        "schedule",
    ),
    Fault(
        "a tick in plain text",
        "outer/schedule.tf",
        "data       = base64encode(jsonencode({}))",
        'data       = base64encode("tick")',
        "schedule",
    ),
    Fault(
        "a job on another topic",
        "outer/schedule.tf",
        'google_pubsub_topic.event["run-requested"].name',
        'google_pubsub_topic.event["run-completed"].name',
        "schedule",
    ),
    Fault(
        "the Scheduler may not ask for a run",
        "outer/publishers.tf",
        '["operator", "Cloud Scheduler", "sync"]',
        '["operator", "sync"]',
        "schedule",
    ),
    Fault("money is gone when it is said", "outer/budget.tf", "[0.5, 0.9, 1.0]", "[1.0]", "budget"),
    Fault(
        "a budget that tells nobody",
        "outer/budget.tf",
        "[for one in google_monitoring_notification_channel.email : one.id]",
        "[]",
        "budget",
    ),
)
