"""What watches the two projects: 1. every trouble has its alert, which says what to do and asks for what exists;
2. logs are counted by fields that the stages write; 3. the money of both has its alert; 4. who is too slow for Pub/Sub
is named before Pub/Sub gives up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from shared.logs import Event
from tests.terraform.custom_roles import Root
from tests.terraform.exact_checks import root_of
from tests.terraform.plans import Plan, Resource, resources

TROUBLES: dict[Root, tuple[str, ...]] = {
    "outer": (
        "dead letters",
        "failed runs",
        "lost notifications",
        "lost traces",
        "misconfigured stage",
        "missing data about exploitation",
        "outer VM older than its limit",
        "package alarms",
        "refused attestations",
        "slow stage",
        "stage tries again and again",
        "stuck runs",
        "watchdog asleep",
    ),
    "inner": (
        "inner VM up for long",
        "inner stage misconfigured",
        "inner stage slow",
        "inner stage tries again and again",
        "stuck inner runs",
    ),
}
WRITTEN = {"accepted", "bytes", "event", "message", "outcome", "refused", "seconds", "severity", "stage"}
"""Fields of stages' log lines that metrics may ask for (shared/logs.py); `test_watch` holds them against it."""
MEASURED = {"dmz/bytes": "bytes", "dmz/refused_packages": "refused", "dmz/stage_seconds": "seconds"}
"""Metrics that measure a field of the line, and do not count lines."""


def alerts(plan: Plan) -> Iterator[str]:  # 1
    found = {
        str(one.values["display_name"]): one for one in resources(plan, "google_monitoring_alert_policy")
    }
    for trouble in TROUBLES[root_of(plan)]:
        if f"Package DMZ: {trouble}" not in found:
            yield f"nobody is told of {trouble}"
    for one in found.values():
        if one.values.get("enabled") is False:
            yield f"{one.address} is off"
        if not one.block("documentation").get("content"):
            yield f"{one.address} says not what to do"
        if not one.values.get("notification_channels") and not one.unknown.get("notification_channels"):
            yield f"{one.address} tells nobody"
        yield from (f"{one.address} {trouble}" for trouble in _filtered(plan, one))


def log_metrics(plan: Plan) -> Iterator[str]:  # 2
    for one in resources(plan, "google_logging_metric"):
        measured = str(one.values.get("value_extractor") or "")
        asked = set(re.findall(r"jsonPayload\.(\w+)", f"{one.values['filter']} {measured}"))
        if measured != _extractor(MEASURED.get(str(one.values["name"]))):
            yield f"{one.address} measures {measured or 'nothing'}"
        for field in sorted(asked - WRITTEN):
            yield f"{one.address} counts by {field}, which no log line has"
        for name in re.findall(r'jsonPayload\.event="([^"]*)"', str(one.values["filter"])) or ["anything"]:
            if name not in get_args(Event):
                yield f"{one.address} counts {name}, which no stage logs"
        if one.values["name"] == "dmz/refused_attestations" and "accepted" not in asked:
            yield f"{one.address} counts accepted attestations too"


def _extractor(field: str | None) -> str:
    return f"EXTRACT(jsonPayload.{field})" if field else ""


def money(plan: Plan) -> Iterator[str]:  # 3
    budgets = list(resources(plan, "google_billing_budget"))
    if not budgets:
        yield "no budget watches the projects"
    told = (plan["variables"].get("inner") or {}).get("value") or {}
    wanted = {f"projects/{number}" for number in (_number(plan), told.get("number")) if number}
    for one in budgets:
        watched = set(one.block("budget_filter").get("projects") or [])
        yield from (f"{one.address} does not watch {each}" for each in sorted(wanted - watched))
    for one in budgets:
        rules = one.values.get("threshold_rules") or []
        if not any(rule.get("spend_basis") == "FORECASTED_SPEND" for rule in rules):
            yield f"{one.address} speaks only when the money is spent"


def slowness(plan: Plan) -> Iterator[str]:  # 4
    # In a first apply nobody pushes yet.
    waited = min((int(one.values["ack_deadline_seconds"]) for one in _pushing(plan)), default=600)
    for one in resources(plan, "google_monitoring_alert_policy"):
        for condition in one.values["conditions"]:
            for rule in condition.get("condition_threshold") or []:
                measured = re.findall(r'logging\.googleapis\.com/user/([^"]+)"', str(rule["filter"]))
                summed = rule["aggregations"][0]["per_series_aligner"] == "ALIGN_DELTA"
                # A distribution has no order that a threshold could ask for.
                if any(name in MEASURED for name in measured) and summed:
                    yield f"{one.address} compares a distribution with a number"
                if "dmz/stage_seconds" in measured and not 0 < rule["threshold_value"] < waited:
                    yield f"{one.address} speaks only after the {waited} s that Pub/Sub waits"


def _pushing(plan: Plan) -> Iterator[Resource]:
    for one in resources(plan, "google_pubsub_subscription"):
        if one.values.get("push_config"):
            yield one


def _number(plan: Plan) -> str:
    """This project's own, as Terraform read it."""
    read = plan["prior_state"]["values"]["root_module"]["resources"]
    return str(next(one for one in read if one["type"] == "google_project")["values"]["number"])


def _filtered(plan: Plan, one: Resource) -> Iterator[str]:
    named = {
        "topic_id": {each.values["name"] for each in resources(plan, "google_pubsub_topic")},
        "subscription_id": {each.values["name"] for each in resources(plan, "google_pubsub_subscription")},
    }
    metrics = {each.values["name"] for each in resources(plan, "google_logging_metric")}
    for condition in one.values["conditions"]:
        words = _filter(condition)
        for label, names in named.items():
            for name in re.findall(rf'{label} = "([^"]+)"', words):
                if name not in names:
                    yield f"watches {name}, which is not there"
        for name in re.findall(r'logging\.googleapis\.com/user/([^"]+)"', words):
            if name not in metrics:
                yield f"watches the metric {name}, which is not there"
        for pattern in re.findall(r'full_match\("([^"]+)"\)', words):
            missed = [
                name for name in named["subscription_id"] if _pushed(name) and not re.fullmatch(pattern, name)
            ]
            if missed:
                yield f"does not watch {', '.join(sorted(missed))}"


def _pushed(name: str) -> bool:
    """Stages' names are words; a data service's own subscription is to nonces."""
    return "--" in name and not name.endswith("--nonce-issued")


def _filter(condition: Mapping[str, Any]) -> str:
    kinds = ("condition_threshold", "condition_absent")
    return str(next(condition[kind][0] for kind in kinds if condition.get(kind))["filter"])


WATCH = (alerts, log_metrics, money, slowness)
INNER_WATCH = (alerts, log_metrics, slowness)
"""The budget is the outer project's, for both."""
