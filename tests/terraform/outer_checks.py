"""What must hold of the outer project's plan beside `checks`: it is what the code speaks of, and nothing more.

1. A topic for each event type. 2. A push subscription for each subscriber. 3. Publishers are those of the code.
4. Dead letters are held, and noted. 5. The environment has the code's settings. 6. The outer VM may do two things.
7. Nothing reaches the outer network, and from it the web alone is reached. 8. Signing keys are those of the code.
9. Documents that expire are swept by Firestore, and no others. 10. Every query of the code has its index.
11. The watchdog ticks. 12. A data service hears its own nonces alone. 13. What is held is judged again every hour.
14. What lets somebody in is a secret, of one stage, and read by that alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from functions.local import project
from shared import retention
from shared.events import DEAD_LETTERS, PUBLISHERS, SUBSCRIBERS, TYPES, WITH_TOKENS
from shared.model.routes import LETTERS_TO
from shared.settings import Settings
from tests.terraform import checks, queries
from tests.terraform.harness import CHECKOUT
from tests.terraform.plans import Plan, Resource, grants, resources
from tests.terraform.variables import MEMBERS, PROJECT

STAGES = tuple(stage for stage in SUBSCRIBERS if stage != "inner")
_FRAMEWORK = {"FUNCTION_SOURCE", "FUNCTION_TARGET"}
_SECRET = {"DMZ_NOTIFY": "outer"}
_ROOM = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}


def topics(plan: Plan) -> Iterator[str]:  # 1
    made = {one.values["name"] for one in resources(plan, "google_pubsub_topic")}
    yield from (f"there is no topic {name}" for name in sorted({*TYPES, DEAD_LETTERS} - made))
    yield from (f"the topic {name} is no event of ours" for name in sorted(made - {*TYPES, DEAD_LETTERS}))


def subscriptions(plan: Plan) -> Iterator[str]:  # 2
    made = {
        one.values["name"]: one.values
        for one in resources(plan, "google_pubsub_subscription")
        if one.values.get("push_config")
    }
    wanted = {f"{stage}--{topic}": topic for stage in STAGES for topic in SUBSCRIBERS[stage]}
    wanted |= {f"{LETTERS_TO}--{DEAD_LETTERS}": DEAD_LETTERS}
    yield from (f"nothing is pushed by {name}" for name in sorted(set(wanted) - set(made)))
    yield from (
        f"{name} is pushed to a stage that does not take it" for name in sorted(set(made) - set(wanted))
    )
    for name in set(made) & set(wanted):
        if made[name]["topic"] != f"projects/{PROJECT}/topics/{wanted[name]}":
            yield f"{name} listens to {made[name]['topic']}"


def publishers(plan: Plan) -> Iterator[str]:  # 3
    made = {
        (grant.on.removeprefix("pubsub topic "), grant.member)
        for grant in grants(plan)
        if grant.on.startswith("pubsub topic ") and grant.role == "roles/pubsub.publisher"
    }
    wanted = {
        (topic, member) for topic, names in PUBLISHERS.items() for name in names for member in MEMBERS[name]
    }
    agents = {
        "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com",
        *MEMBERS["inner Pub/Sub"],
    }
    wanted |= {(DEAD_LETTERS, member) for stage in SUBSCRIBERS for member in MEMBERS[stage]}
    wanted |= {(DEAD_LETTERS, agent) for agent in agents}
    yield from (
        f"{member} may publish to {topic}, which the code does not know"
        for topic, member in sorted(made - wanted)
    )
    yield from (f"{member} may not publish to {topic}" for topic, member in sorted(wanted - made))


def dead_letters(plan: Plan) -> Iterator[str]:  # 4
    held = [
        one
        for one in resources(plan, "google_pubsub_subscription")
        if str(one.values["topic"]).endswith(DEAD_LETTERS)
    ]
    if sorted(str(one.values["name"]) for one in held) != [
        f"{DEAD_LETTERS}-hold",
        f"{LETTERS_TO}--{DEAD_LETTERS}",
    ]:
        yield "dead letters are lost, or not noted: their topic has not its two subscriptions"
    forwarded = {
        grant.on.removeprefix("pubsub subscription ")
        for grant in grants(plan)
        if "@gcp-sa-pubsub." in grant.member and grant.role == "roles/pubsub.subscriber"
    }
    for stage in STAGES:
        for topic in SUBSCRIBERS[stage]:
            if topic != WITH_TOKENS and f"{stage}--{topic}" not in forwarded:
                yield f"Pub/Sub may not forward from {stage}--{topic} to the dead letters"


def secrets(plan: Plan) -> Iterator[str]:  # 14
    """https://docs.cloud.google.com/run/docs/configuring/services/secrets"""
    for one in resources(plan, "google_cloud_run_v2_service"):
        for env in one.block("template")["containers"][0]["env"]:
            if env["name"] in _SECRET and not env.get("value_source"):
                yield f"{one.address} has {env['name']} in the open"
            for source in env.get("value_source") or []:
                key = source["secret_key_ref"][0]
                if one.values["name"] != _SECRET.get(env["name"]) or not str(key["version"]).isdigit():
                    yield f"{one.address} reads {env['name']} from version {key['version']} of {key['secret']}"
    for grant in grants(plan):
        if grant.role == "roles/secretmanager.secretAccessor" and "outer-stage@" not in grant.member:
            yield f"{grant.member} may read {grant.on}"


def environment(plan: Plan) -> Iterator[str]:  # 5
    known = set(Settings(project=PROJECT).environment()) | _FRAMEWORK
    for one in resources(plan, "google_cloud_run_v2_service"):
        given = {env["name"]: env["value"] for env in one.block("template")["containers"][0]["env"]}
        yield from (
            f"{one.address} sets {name}, which no setting reads" for name in sorted(set(given) - known)
        )
        stage = one.values["name"]
        if (
            given.get("FUNCTION_SOURCE") != f"functions/{stage}/main.py"
            or given.get("FUNCTION_TARGET") != "handle"
        ):
            yield f"{one.address} does not run functions/{stage}/main.py"
        if given.get("GOOGLE_CLOUD_PROJECT") != PROJECT:
            yield f"{one.address} is not told its project"
        mounted = {
            mount["mount_path"] for mount in one.block("template")["containers"][0].get("volume_mounts") or []
        }
        for volume in one.block("template").get("volumes") or []:
            if not (volume.get("gcs") or [{}])[0].get("read_only"):
                yield f"{one.address} may write to what it reads its policies from"
        needed = {
            "scanner": {"/policies", "/advisories"},
            "sync": {"/policies", "/advisories"},
            "attestation": {"/policies"},
            "outer": {"/policies"},
        }
        if mounted != needed.get(stage, set()):
            yield f"{one.address} has {sorted(mounted)} mounted"


def outer_vm(plan: Plan) -> Iterator[str]:  # 6
    may = {(grant.role, grant.on) for grant in grants(plan) if grant.member == MEMBERS["outer VM"][0]}
    wanted = {
        ("roles/pubsub.publisher", "pubsub topic outer-install-completed"),
        ("roles/artifactregistry.reader", "artifact registry repository dmz-staging"),
    }
    for role, on in sorted(may ^ wanted):
        yield f"the outer VM {'may' if (role, on) in may else 'lacks'} {role} on {on}"


def network(plan: Plan) -> Iterator[str]:  # 7
    rules = list(resources(plan, "google_compute_firewall"))
    for rule in rules:
        allowed = rule.values.get("allow") or []
        if allowed and rule.values.get("direction") != "EGRESS":
            yield f"{rule.address} lets somebody in"
        for one in allowed:
            if one["protocol"] != "tcp" or not set(one["ports"] or ["all"]) <= {"80", "443"}:
                yield f"{rule.address} lets out {one['protocol']} {one['ports']}"
        if rule.values.get("deny") and not rule.values.get("log_config"):
            yield f"{rule.address} denies without a word"
        if rule.values.get("disabled"):
            yield f"{rule.address} is disabled"
    yield from _denied(rules)
    for one in resources(plan, "google_compute_network"):
        if one.values.get("auto_create_subnetworks") is not False:
            yield f"{one.address} makes subnetworks that nobody asked for"
    for one in resources(
        plan, "google_compute_network_peering", "google_compute_router_nat", "google_compute_vpn_tunnel"
    ):
        yield f"{one.address} joins the outer network to another"


def _denied(rules: list[Resource]) -> Iterator[str]:
    opened = min((_priority(rule.values) for rule in rules if rule.values.get("allow")), default=0)
    denies = [rule.values for rule in rules if rule.values.get("deny") and not rule.values.get("disabled")]
    everything: Any = [{"protocol": "all", "ports": []}]
    for direction, ranges in (("EGRESS", "destination_ranges"), ("INGRESS", "source_ranges")):
        if not any(
            one["direction"] == direction and one[ranges] == ["0.0.0.0/0"] and _all(one["deny"], everything)
            for one in denies
        ):
            yield f"nothing denies the rest of {direction.lower()}"
    if not any(
        set(one.get("destination_ranges") or ()) >= _ROOM and _priority(one) < opened for one in denies
    ):
        yield "an outer VM reaches its neighbours: private addresses are not denied before the web is allowed"


def _priority(rule: Mapping[str, Any]) -> int:
    """Compute Engine's default is 1000."""
    return int(rule.get("priority") or 1000)


def _all(deny: Any, everything: Any) -> bool:
    return [one["protocol"] for one in deny] == [one["protocol"] for one in everything] and not deny[0][
        "ports"
    ]


def signing_keys(plan: Plan) -> Iterator[str]:  # 8
    for one in resources(plan, "google_kms_crypto_key"):
        source = (CHECKOUT / "shared/gcp/kms.py").read_text()
        algorithm = one.block("version_template").get("algorithm")
        if one.values.get("purpose") != "ASYMMETRIC_SIGN" or f'_ALGORITHM = "{algorithm}"' not in source:
            yield f"{one.address} is {one.values.get('purpose')} {algorithm}: shared/gcp/kms.py signs with another"
    logged = {
        (one.values["service"], each["log_type"])
        for one in resources(plan, "google_project_iam_audit_config")
        for each in one.values["audit_log_config"]
        if not each.get("exempted_members")
    }
    for wanted_log in {
        ("cloudkms.googleapis.com", "DATA_READ"),
        ("storage.googleapis.com", "DATA_WRITE"),
    } - logged:
        yield f"nobody sees who uses {wanted_log[0]}"
    may = {(grant.member, grant.on) for grant in grants(plan) if grant.role == "roles/cloudkms.signer"}
    wanted = {
        (MEMBERS["Cloud Build"][0], "kms crypto key builder"),
        (MEMBERS["Cloud Build"][1], "kms crypto key rebuilder"),
        (MEMBERS["attestation"][0], "kms crypto key verification-summaries"),
    }
    yield from (
        f"{member} {'signs' if (member, on) in may else 'does not sign'} with {on}"
        for member, on in may ^ wanted
    )


def database(plan: Plan) -> Iterator[str]:  # 9
    fields = {
        (one.values["collection"], one.values["field"]): one
        for one in resources(plan, "google_firestore_field")
    }
    swept = {place for place, one in fields.items() if one.values.get("ttl_config")}
    wanted = {(collection, retention.FIELD) for collection in retention.EXPIRING}
    yield from (
        f"documents of {name} are kept for ever: {field} is no TTL" for name, field in sorted(wanted - swept)
    )
    yield from (
        f"documents of {name} go by {field}, which the code does not know"
        for name, field in sorted(swept - wanted)
    )


def indexes(plan: Plan) -> Iterator[str]:  # 10
    """One field has an index by itself, unless it is exempted; several need one that is declared.

    https://firebase.google.com/docs/firestore/query-data/index-overview
    """
    exempted = {
        (one.values["collection"], one.values["field"])
        for one in resources(plan, "google_firestore_field")
        if "index_config" in one.values and not one.block("index_config").get("indexes")
    }
    declared: set[tuple[str, frozenset[str]]] = set()
    for one in resources(plan, "google_firestore_index"):
        *before, last = ((each["field_path"], each["order"]) for each in one.values["fields"])
        names = [name for name, _ in before]
        for end in (last[0], f"{last[0]} {last[1]}"):  # who asks for an order needs that one
            declared.add((one.values["collection"], frozenset((*names, end))))
    for one in queries.queries():
        for field in one.fields:
            if (one.collection, field) in exempted:
                yield f"{one.place} asks {one.collection} by {field}, which has no index"
        if len(one.fields) > 1 and (one.collection, frozenset(one.fields)) not in declared:
            yield f"{one.place} asks {one.collection} by {', '.join(one.fields)} at once: that needs an index"


def watchdog(plan: Plan) -> Iterator[str]:  # 11
    jobs = {
        (one.block("pubsub_target").get("topic_name"), one.values["schedule"])
        for one in resources(plan, "google_cloud_scheduler_job")
        if not one.values.get("paused")
    }
    if (f"projects/{PROJECT}/topics/sweep-requested", "* * * * *") not in jobs:
        yield "the watchdog does not tick every minute"


def own_nonces(plan: Plan) -> Iterator[str]:  # 12
    """Filter and reader of each `SERVICE--nonce-issued`, as functions/local makes it."""
    readers: dict[str, set[str]] = {}
    for grant in grants(plan):
        if grant.role == "roles/pubsub.subscriber":
            readers.setdefault(grant.on, set()).add(grant.member)
    accounts = plan["variables"]["inner"]["value"]["data_services"]
    made = {one.values["name"]: one for one in resources(plan, "google_pubsub_subscription")}
    for service in accounts:
        name = project.nonces_of(service)
        if name not in made:
            yield f"{service} hears no nonces"
            continue
        if made[name].values.get("filter") != project.own_nonces(service):
            yield f"{service} hears {made[name].values.get('filter') or 'the nonces of all services'}"
        if readers.get(f"pubsub subscription {name}") != {accounts[service]}:
            yield f"the nonces of {service} are read by {readers.get(f'pubsub subscription {name}')}"


def judged_again(plan: Plan) -> Iterator[str]:  # 13
    jobs = {
        one.block("pubsub_target").get("topic_name"): one.values["schedule"]
        for one in resources(plan, "google_cloud_scheduler_job")
        if not one.values.get("paused")
    }
    when = jobs.get(f"projects/{PROJECT}/topics/advisories-refreshed", "never")
    if not re.fullmatch(r"[0-9]{1,2} \* \* \* \*", when):
        yield f"what the repositories hold is judged again {when}, not every hour"


OUTER: tuple[checks.Check, ...] = (
    topics,
    subscriptions,
    publishers,
    dead_letters,
    environment,
    secrets,
    outer_vm,
    network,
    signing_keys,
    database,
    indexes,
    watchdog,
    own_nonces,
    judged_again,
)
