"""What must hold of every plan of terraform/inner, beside what checks.py asks of every plan.

A check that finds nothing to look at says so too: an empty plan is not a sealed one.
1. Egress is denied, all of it, but TLS to the restricted addresses. 2. Ingress is denied, but SSH through IAP. 3. There
is no other route, and no other way out. 4. Addresses are private, and flows logged. 5. Machines have no external
address. 6. No other name is answered than those that are needed. 7. The private zones lead to the restricted addresses.
8. Repositories hold what was put there. 9. Of the outer project, nobody may do more than the contract says. 10. Keys
are for attested images alone. 11. The pool asks what the appraisal asks. 12. Data services run in Confidential Space,
by digest. 13. Names are asked for at the metadata server alone, and
questions are logged. What the perimeter must be is in perimeter_checks.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tests.terraform.checks import Check
from tests.terraform.perimeter_checks import PERIMETER
from tests.terraform.plans import Grant, Plan, Resource, grants, resources
from tests.terraform.watch_checks import INNER_WATCH

_RESTRICTED = "199.36.153.4/30"
"""restricted.googleapis.com: https://cloud.google.com/vpc-service-controls/docs/set-up-private-connectivity"""
_ADDRESSES = {f"199.36.153.{last}" for last in range(4, 8)}
_IAP = "35.235.240.0/20"
"""https://cloud.google.com/iap/docs/using-tcp-forwarding"""
_SINKS = {"0.0.0.0", "::"}  # noqa: S104 - an answer that leads nowhere, not an address to bind
_METADATA = "metadata.google.internal."
_DIGEST = re.compile(r".*@sha256:[0-9a-f]{64}")
_ATTESTED = re.compile(
    r"principalSet://iam\.googleapis\.com/projects/[0-9]+/locations/global/workloadIdentityPools/([a-z0-9-]+)"
    r"/attribute\.image_digest/sha256:[0-9a-f]{64}"
)
_WAYS_OUT = (
    "google_compute_address",
    "google_compute_forwarding_rule",
    "google_compute_global_address",
    "google_compute_ha_vpn_gateway",
    "google_compute_interconnect_attachment",
    "google_compute_network_peering",
    "google_compute_router",
    "google_compute_router_nat",
    "google_compute_vpn_gateway",
    "google_compute_vpn_tunnel",
    "google_service_networking_connection",
    "google_vpc_access_connector",
)


def egress_closed(plan: Plan) -> Iterator[str]:  # 1
    rules = _rules(plan, "EGRESS")
    deny = [one for one in rules if _denies_all(one, "destination_ranges")]
    if not deny:
        yield "No firewall rule denies all egress to everybody"
    for one in deny:
        if not one.values.get("log_config"):
            yield f"{one.address} does not log"
    for one in rules:
        for target in one.values.get("destination_ranges") or ["0.0.0.0/0"]:
            if target in _own(plan) or (target == _RESTRICTED and _allowed(one) <= {("tcp", "443")}):
                continue
            if allowed := _allowed(one):
                yield f"{one.address} lets {sorted(allowed)} out to {target}"


def ingress_closed(plan: Plan) -> Iterator[str]:  # 2
    rules = _rules(plan, "INGRESS")
    if not any(_denies_all(one, "source_ranges") for one in rules):
        yield "No firewall rule denies all ingress to everybody"
    for one in rules:
        for source in one.values.get("source_ranges") or ["0.0.0.0/0"]:
            if source in _own(plan) or (source == _IAP and _allowed(one) <= {("tcp", "22")}):
                continue
            if allowed := _allowed(one):
                yield f"{one.address} lets {sorted(allowed)} in from {source}"


def no_default_route(plan: Plan) -> Iterator[str]:  # 3
    networks = list(resources(plan, "google_compute_network"))
    if len(networks) != 1:
        yield f"There is one sealed network, not {len(networks)}"
    for one in networks:
        if not one.values.get("delete_default_routes_on_create"):
            yield f"{one.address} keeps its default route"
        if one.values.get("auto_create_subnetworks") is not False:
            yield f"{one.address} makes subnetworks by itself"
    inside = {one.values["name"] for one in networks}
    for one in resources(plan, "google_compute_route", "google_compute_firewall"):
        if one.get("network") not in inside:
            yield f"{one.address} is about another network"
    for one in resources(plan, "google_compute_route"):
        if one.get("dest_range") != _RESTRICTED:
            yield f"{one.address} leads to {one.values.get('dest_range')}"
        if one.get("next_hop_gateway") != "default-internet-gateway":
            yield f"{one.address} hands packets to {_hop(one) or 'nobody known'}, not to Google's own gateway"
        elif other := _hop(one):
            yield f"{one.address} has another next hop beside the gateway: {other}"
    if len(list(resources(plan, "google_compute_route"))) != 1:
        yield "There is not one route"
    for one in resources(plan, *_WAYS_OUT):
        yield f"{one.address} is a way out"


def _hop(route: Resource) -> str:
    """Where else a route hands packets to: who answers there sees all of them."""
    others = ("next_hop_ilb", "next_hop_instance", "next_hop_ip", "next_hop_vpn_tunnel")
    return " ".join(str(route.values[each]) for each in others if route.values.get(each))


def subnetwork(plan: Plan) -> Iterator[str]:  # 4
    for one in resources(plan, "google_compute_subnetwork"):
        if not one.values.get("private_ip_google_access"):
            yield f"{one.address} has no Private Google Access"
        if one.values.get("stack_type") != "IPV4_ONLY":
            yield f"{one.address} has IPv6, which no rule here knows"
        if not ipaddress.ip_network(one.values["ip_cidr_range"]).is_private:
            yield f"{one.address} has public addresses"
        if not one.values.get("log_config"):
            yield f"{one.address} does not log its flows"


def no_external_address(plan: Plan) -> Iterator[str]:  # 5
    for one in resources(plan, "google_compute_instance"):
        for interface in one.values["network_interface"]:
            if interface.get("access_config") or interface.get("ipv6_access_config"):
                yield f"{one.address} has an external address"
        if one.values.get("can_ip_forward"):
            yield f"{one.address} forwards packets"


def answered_names(plan: Plan) -> Iterator[str]:  # 6
    if not any(one.values.get("networks") for one in resources(plan, "google_dns_response_policy")):
        yield "No response policy stands before the network"
    answers = {
        one.values["dns_name"]: {
            address
            for data in one.block("local_data").get("local_datas") or []
            for address in data.get("rrdatas") or []
        }
        for one in resources(plan, "google_dns_response_policy_rule")
    }
    if "*." not in answers:
        yield "Names that nobody needs are resolved"
    special = {"*.": _SINKS, _METADATA: {"169.254.169.254"}}
    for name, addresses in answers.items():
        if addresses != special.get(name, _ADDRESSES):
            yield f"{name} is answered with {sorted(addresses)}"
        if name not in special and not re.fullmatch(r"[a-z0-9-]+\.(googleapis\.com|pkg\.dev)\.", name):
            yield f"{name} is not one of Google's interfaces"


def questions_logged(plan: Plan) -> Iterator[str]:  # 13
    """https://cloud.google.com/dns/docs/policies: another name server would hear every question."""
    inside = {one.values["name"] for one in resources(plan, "google_compute_network")}
    policies = list(resources(plan, "google_dns_policy"))
    if len(policies) != 1:
        yield f"The network has one DNS policy, not {len(policies)}"
    for one in policies:
        if one.get("alternative_name_server_config"):
            yield f"{one.address} asks other name servers than the metadata server's"
        if one.values.get("enable_logging") is not True:
            yield f"{one.address} does not log what is asked for"
        if one.values.get("enable_inbound_forwarding"):
            yield f"{one.address} answers whoever is outside"
        if len(one.values.get("networks") or ()) != len(inside):
            yield f"{one.address} is not about the sealed network"


def private_zones(plan: Plan) -> Iterator[str]:  # 7
    zones = {one.values["dns_name"]: one for one in resources(plan, "google_dns_managed_zone")}
    records = [
        (one.values["type"], one.values["name"], set(one.values["rrdatas"]))
        for one in resources(plan, "google_dns_record_set")
    ]
    for name in ("googleapis.com.", "pkg.dev."):
        zone = zones.get(name)
        if not zone or zone.get("visibility") != "private" or not zone.block("private_visibility_config"):
            yield f"There is no private zone {name}"
        targets = {
            each for kind, label, to in records if (kind, label) == ("CNAME", f"*.{name}") for each in to
        }
        if [to for kind, label, to in records if kind == "A" and label in targets] != [_ADDRESSES]:
            yield f"*.{name} does not lead to the restricted addresses"


def standard_repositories(plan: Plan) -> Iterator[str]:  # 8
    repositories = list(resources(plan, "google_artifact_registry_repository"))
    if {one.values["format"] for one in repositories} != {"APT", "DOCKER", "GENERIC", "PYTHON"}:
        yield "There is not a repository of each format"
    for one in repositories:
        remote = one.block("remote_repository_config") or one.block("virtual_repository_config")
        if one.values.get("mode") != "STANDARD_REPOSITORY" or remote:
            yield f"{one.address} fetches from elsewhere"
        if one.values.get("cleanup_policies"):
            yield f"{one.address} deletes what a lock, or a machine that was kept, may still need"
        if one.values["format"] == "DOCKER" and not one.block("docker_config").get("immutable_tags"):
            yield f"{one.address} lets tags move"


def inward(plan: Plan) -> Iterator[str]:  # 9
    formats = {
        one.values["repository_id"]: one.values["format"]
        for one in resources(plan, "google_artifact_registry_repository")
    }
    for grant in grants(plan):
        if not _stranger(grant, plan):
            continue
        kind = formats.get(grant.on.removeprefix("artifact registry repository "))
        role = grant.role.rsplit("/", 1)[-1]
        packages = kind in ("APT", "GENERIC", "PYTHON") and grant.member.startswith(
            "serviceAccount:sync-stage@"
        )
        images = kind == "DOCKER" and role == "artifactregistry.writer"
        if not images and not (packages and role in ("artifactregistry.writer", "packageDmzEvictor")):
            yield f"{grant.address} lets {grant.member} into {grant.on} ({grant.role})"


def key_for_attested(plan: Plan) -> Iterator[str]:  # 10
    pools = {
        one.values["workload_identity_pool_id"]
        for one in resources(plan, "google_iam_workload_identity_pool")
    }
    for grant in grants(plan):
        if not grant.role.startswith("roles/cloudkms."):
            continue
        if not grant.on.startswith("kms crypto key "):
            yield f"{grant.address} gives {grant.role} on {grant.on}, which is no single key"
        if grant.role == "roles/cloudkms.cryptoKeyEncrypter":
            continue
        found = _ATTESTED.fullmatch(grant.member)
        if not found or found[1] not in pools:
            yield f"{grant.address} gives the key to {grant.member}, which is no image that was attested"
        if "request.time < timestamp(" not in grant.condition:
            yield f"{grant.address} does not end when the reference value does"
    for one in resources(plan, "google_kms_crypto_key_iam_member", "google_kms_crypto_key_iam_policy"):
        yield f"{one.address} adds to who may use the key: a binding holds all of them"


def provider_condition(plan: Plan) -> Iterator[str]:  # 11
    for one in resources(plan, "google_iam_workload_identity_pool_provider"):
        condition = str(one.values.get("attribute_condition"))
        for needed in (
            "'CONFIDENTIAL_SPACE'",
            "'disabled-since-boot'",
            "'STABLE'",
            "image_digest in ['sha256:",
        ):
            if needed not in condition:
                yield f"{one.address} does not ask for {needed}"
        oidc = one.block("oidc")
        if oidc.get("issuer_uri") != "https://confidentialcomputing.googleapis.com/" or oidc.get("jwks_json"):
            yield f"{one.address} trusts {oidc.get('issuer_uri')} with keys of its own"
        if oidc.get("allowed_audiences") != ["https://sts.googleapis.com"]:
            yield f"{one.address} takes tokens for {oidc.get('allowed_audiences')}"


def confidential_space(plan: Plan) -> Iterator[str]:  # 12
    project = plan["variables"]["project"]["value"]
    inside = tuple(
        f"/subnetworks/{one.values['name']}" for one in resources(plan, "google_compute_subnetwork")
    )
    for one in resources(plan, "google_compute_instance"):
        reference = str((one.values.get("metadata") or {}).get("tee-image-reference"))
        if not _DIGEST.fullmatch(reference):
            yield f"{one.address} runs {reference}, which names no digest"
        boots = (one.block("boot_disk").get("initialize_params") or [{}])[0].get("image")
        if not str(boots).startswith("projects/confidential-space-images/") or "debug" in str(boots):
            yield f"{one.address} boots {boots}"
        protection = one.block("confidential_instance_config").get("confidential_instance_type")
        if protection not in ("SEV", "TDX"):
            yield f"{one.address} does not protect its memory"
        shielded = one.block("shielded_instance_config")
        if not (shielded.get("enable_secure_boot") and shielded.get("enable_vtpm")):
            yield f"{one.address} does not boot securely"
        account = one.block("service_account").get("email")
        service = str((one.values.get("metadata") or {}).get("tee-env-DMZ_SERVICE"))
        if account != f"data-{service.replace('_', '-')}@{project}.iam.gserviceaccount.com":
            yield f"{one.address} runs as {account or 'nobody'}, which is not its own account"
        if not all(str(each.get("subnetwork")).endswith(inside) for each in one.values["network_interface"]):
            yield f"{one.address} is not in the sealed network"


def _rules(plan: Plan, direction: str) -> list[Resource]:
    found = resources(plan, "google_compute_firewall")
    return [one for one in found if one.get("direction") == direction and not one.values.get("disabled")]


def _own(plan: Plan) -> set[str]:
    return {str(one.values["ip_cidr_range"]) for one in resources(plan, "google_compute_subnetwork")}


def _allowed(rule: Resource) -> set[tuple[str, ...]]:
    return {(each["protocol"], *(each.get("ports") or ())) for each in rule.values.get("allow") or []}


def _denies_all(rule: Resource, ranges: str) -> bool:
    narrowed = ("target_tags", "target_service_accounts", "source_tags", "source_service_accounts")
    protocols = [each["protocol"] for each in rule.values.get("deny") or []]
    everything = rule.values.get(ranges) == ["0.0.0.0/0"] and not any(
        rule.values.get(each) for each in narrowed
    )
    return everything and protocols == ["all"]


def _stranger(grant: Grant, plan: Plan) -> bool:
    """A service account of another project. Google's own agents and people are none."""
    domain = grant.member.rpartition("@")[2]
    own = f"{plan['variables']['project']['value']}.iam.gserviceaccount.com"
    return grant.member.startswith("serviceAccount:") and domain != own and not domain.startswith("gcp-sa-")


INNER: tuple[Check, ...] = (
    egress_closed,
    ingress_closed,
    no_default_route,
    subnetwork,
    no_external_address,
    answered_names,
    private_zones,
    standard_repositories,
    inward,
    key_for_attested,
    provider_condition,
    confidential_space,
    questions_logged,
    *PERIMETER,
    *INNER_WATCH,
)
