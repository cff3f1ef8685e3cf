"""What the outer project keeps, drops and does by the clock: 1. buckets forget old versions and nothing else; 2. what
the Scheduler publishes is an event that its subscriber takes, and it may publish it; 3. the budget speaks in time."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import Permanent
from shared.events import PUBLISHERS, Delivery, RunRequested, decode
from shared.model.workload import built_in
from tests.terraform.plans import Plan, grants, resources
from tests.terraform.variables import MEMBERS

_PASSING = ("builds",)
"""Buckets whose live objects are of use for a while only."""
_LONGEST = 800
"""Days. Versions are kept for two years where a verdict or an appraisal may be asked again by them."""


def lifecycle(plan: Plan) -> Iterator[str]:  # 1
    """https://cloud.google.com/storage/docs/lifecycle"""
    for one in resources(plan, "google_storage_bucket"):
        rules = [
            ((rule.get("action") or [{}])[0].get("type"), (rule.get("condition") or [{}])[0])
            for rule in one.values.get("lifecycle_rule") or []
        ]
        ended = [
            int(when.get("days_since_noncurrent_time") or 0)
            for action, when in rules
            if action == "Delete" and when.get("with_state") == "ARCHIVED"
        ]
        if not any(1 <= days <= _LONGEST for days in ended):
            yield f"{one.address} keeps every version that was replaced, for ever"
        if not any(action == "AbortIncompleteMultipartUpload" for action, _ in rules):
            yield f"{one.address} keeps uploads that were broken off"
        passing = str(one.values["name"]).endswith(_PASSING)
        if passing != any(action == "Delete" and _live(when) for action, when in rules):
            yield f"{one.address} {'keeps what it is done with' if passing else 'forgets what is in use'}"


def _live(when: Mapping[str, Any]) -> bool:
    """Whether a rule with this condition is about objects that were not replaced."""
    return when.get("with_state") != "ARCHIVED" and not when.get("days_since_noncurrent_time")


def schedule(plan: Plan) -> Iterator[str]:  # 2
    may = {
        grant.on.removeprefix("pubsub topic ")
        for grant in grants(plan)
        if grant.member in MEMBERS["Cloud Scheduler"] and grant.role == "roles/pubsub.publisher"
    }
    for one in resources(plan, "google_cloud_scheduler_job"):
        target = one.block("pubsub_target")
        topic = str(target.get("topic_name")).rpartition("/")[2]
        if "Cloud Scheduler" not in PUBLISHERS.get(topic, ()) or topic not in may:
            yield f"{one.address} publishes to {topic}, which it may not"
            continue
        body = base64.b64decode(str(target.get("data")))
        try:
            event = decode(Delivery(body, topic, target.get("attributes") or {}, "1", "2026-11-22T00:00:00Z"))
        except Permanent as error:
            yield f"{one.address} publishes what nobody takes: {error}"
            continue
        if isinstance(event.data, RunRequested) and event.data.workload not in built_in():
            yield f"{one.address} asks for {event.data.workload}, which no image has built in"


def budget(plan: Plan) -> Iterator[str]:  # 3
    for one in resources(plan, "google_billing_budget"):
        spent = {
            float(rule["threshold_percent"])
            for rule in one.values.get("threshold_rules") or []
            if rule.get("spend_basis") != "FORECASTED_SPEND"
        }
        if not spent or min(spent) >= 1 or max(spent) < 1:
            yield f"{one.address} speaks at {sorted(spent)} of the money: before it is gone, and when it is"
        told = [
            each or {}
            for each in (one.block("all_updates_rule"), *(one.unknown.get("all_updates_rule") or ()))
        ]
        if not any(each.get("monitoring_notification_channels") for each in told):
            yield f"{one.address} tells nobody of ours"


KEEPING = (lifecycle, schedule, budget)
