"""What must hold of every plan of terraform/inner: each check reads the planned resources and names what is wrong.

A check that finds nothing to look at says so too: an empty plan is not a sealed one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.terraform.resources import Grant, Resource, grants, of

RESTRICTED = "199.36.153.4/30"
"""restricted.googleapis.com: https://cloud.google.com/vpc-service-controls/docs/set-up-private-connectivity"""
_RESTRICTED_ADDRESSES = {f"199.36.153.{last}" for last in range(4, 8)}
_SINKS = {"0.0.0.0", "::"}  # noqa: S104 - an answer that leads nowhere, not an address to bind
_METADATA = ("metadata.google.internal.", {"169.254.169.254"})
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
_EVERYBODY = ("allUsers", "allAuthenticatedUsers", "projectOwner", "projectEditor", "projectViewer")
_WAYS_OUT = (
    "google_compute_address",
    "google_compute_global_address",
    "google_compute_forwarding_rule",
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
_KEYS = ("google_service_account_key", "google_storage_hmac_key", "google_apikeys_key")

ROLES = frozenset(
    f"roles/{name}"
    for name in (
        "artifactregistry.reader",
        "artifactregistry.writer",
        "cloudkms.cryptoKeyDecrypter",
        "cloudkms.cryptoKeyEncrypter",
        "confidentialcomputing.workloadUser",
        "iam.serviceAccountOpenIdTokenCreator",
        "iam.serviceAccountUser",
        "iap.tunnelResourceAccessor",
        "logging.logWriter",
        "pubsub.subscriber",
        "run.servicesInvoker",
    )
)
"""Google's roles that this project grants; each is in https://cloud.google.com/iam/docs/roles-permissions."""

PROJECT_WIDE = {
    "roles/confidentialcomputing.workloadUser": "tokens are asked for in a location, which has no policy",
    "roles/iap.tunnelResourceAccessor": "TPU VMs come and go; a condition narrows it to port 22",
    "roles/logging.logWriter": "logs have no policy",
    "packageDmzVmKeeper": "TPU nodes have no policy",
}
"""Roles on the whole project, and why there is nothing smaller to grant them on."""

Check = Callable[[Sequence[Resource], str], Iterator[str]]


def objections(plan: Mapping[str, Any], resources: Sequence[Resource]) -> dict[str, list[str]]:
    """Check to what it found, for the checks that found something."""
    project = str(plan["variables"]["project"]["value"])
    found = {name: list(check(resources, project)) for name, check in CHECKS.items()}
    return {name: sentences for name, sentences in found.items() if sentences}


def egress_closed(resources: Sequence[Resource], _: str) -> Iterator[str]:
    rules = [each for each in of(resources, "google_compute_firewall") if not each["disabled"]]
    own = {each["ip_cidr_range"] for each in of(resources, "google_compute_subnetwork")}
    deny = [each for each in rules if _denies_all(each, "EGRESS", "destination_ranges")]
    if not deny:
        yield "no firewall rule denies all egress, to everybody"
    for rule in deny:
        if not rule["log_config"]:
            yield f"{rule.address} does not log"
    for rule in rules:
        if rule["direction"] != "EGRESS" or not rule["allow"]:
            continue
        for target in rule["destination_ranges"] or ["0.0.0.0/0"]:
            ports = {(each["protocol"], *(each["ports"] or ())) for each in rule["allow"]}
            if target not in own and (target != RESTRICTED or ports != {("tcp", "443")}):
                yield f"{rule.address} lets {sorted(ports)} out to {target}"


def ingress_closed(resources: Sequence[Resource], _: str) -> Iterator[str]:
    rules = [each for each in of(resources, "google_compute_firewall") if not each["disabled"]]
    own = {each["ip_cidr_range"] for each in of(resources, "google_compute_subnetwork")}
    if not any(_denies_all(each, "INGRESS", "source_ranges") for each in rules):
        yield "no firewall rule denies all ingress"
    for rule in rules:
        if rule["direction"] == "INGRESS" and rule["allow"]:
            ports = {(each["protocol"], *(each["ports"] or ())) for each in rule["allow"]}
            for source in rule["source_ranges"] or ["0.0.0.0/0"]:
                # https://cloud.google.com/iap/docs/using-tcp-forwarding
                if source not in own and (source != "35.235.240.0/20" or ports != {("tcp", "22")}):
                    yield f"{rule.address} lets {sorted(ports)} in from {source}"


def _denies_all(rule: Resource, direction: str, ranges: str) -> bool:
    narrowed = rule["target_tags"] or rule["target_service_accounts"] or rule["source_tags"]
    everything = rule[ranges] == ["0.0.0.0/0"] and not narrowed
    return bool(
        rule["direction"] == direction
        and everything
        and [each["protocol"] for each in rule["deny"] or []] == ["all"]
    )


def no_default_route(resources: Sequence[Resource], _: str) -> Iterator[str]:
    networks = of(resources, "google_compute_network")
    if len(networks) != 1:
        yield f"there is one sealed network, not {len(networks)}"
    for network in networks:
        if not network["delete_default_routes_on_create"]:
            yield f"{network.address} keeps the default route"
        if network["auto_create_subnetworks"] is not False:
            yield f"{network.address} makes subnetworks by itself"
    inside = {network["name"] for network in networks}
    for each in of(resources, "google_compute_route", "google_compute_firewall"):
        if each["network"] not in inside:
            yield f"{each.address} is about another network"
    for route in of(resources, "google_compute_route"):
        if route["dest_range"] != RESTRICTED:
            yield f"{route.address} leads to {route['dest_range']}"
    for each in of(resources, *_WAYS_OUT):
        yield f"{each.address} is a way out"


def private_access(resources: Sequence[Resource], _: str) -> Iterator[str]:
    for each in of(resources, "google_compute_subnetwork"):
        if not each["private_ip_google_access"]:
            yield f"{each.address} has no Private Google Access"
        if each["stack_type"] != "IPV4_ONLY":
            yield f"{each.address} has IPv6, which no rule here knows"


def no_external_address(resources: Sequence[Resource], _: str) -> Iterator[str]:
    for each in of(resources, "google_compute_instance"):
        for interface in each["network_interface"]:
            if interface.get("access_config") or interface.get("ipv6_access_config"):
                yield f"{each.address} has an external address"
        if each["can_ip_forward"]:
            yield f"{each.address} forwards packets"


def names(resources: Sequence[Resource], _: str) -> Iterator[str]:
    """The response policy knows a few Google names, at the restricted addresses, and answers nothing for the rest."""
    rules = of(resources, "google_dns_response_policy_rule")
    answers = {
        rule["dns_name"]: {
            address for data in rule.block("local_data")["local_datas"] for address in data["rrdatas"] or []
        }
        for rule in rules
    }
    if not answers.get("*."):
        yield "no rule answers for all other names"
    for name, addresses in answers.items():
        expected = _SINKS if name == "*." else _METADATA[1] if name == _METADATA[0] else _RESTRICTED_ADDRESSES
        if addresses != expected:
            yield f"{name} is answered with {sorted(addresses)}"
        if name not in ("*.", _METADATA[0]) and not re.fullmatch(
            r"[a-z0-9-]+\.(googleapis\.com|pkg\.dev)\.", name
        ):
            yield f"{name} is no name of Google's interfaces, or more than one"
    if not any(each["networks"] for each in of(resources, "google_dns_response_policy")):
        yield "no response policy stands before the network"


def private_zones(resources: Sequence[Resource], _: str) -> Iterator[str]:
    zones = {each["dns_name"]: each for each in of(resources, "google_dns_managed_zone")}
    records = of(resources, "google_dns_record_set")
    for name in ("googleapis.com.", "pkg.dev."):
        if name not in zones or not zones[name]["private_visibility_config"] or zones[name]["visibility"] != "private":
            yield f"there is no private zone {name}"
        wild = [each for each in records if each["name"] == f"*.{name}" and each["type"] == "CNAME"]
        targets = {target for each in wild for target in each["rrdatas"]}
        found = [set(each["rrdatas"]) for each in records if each["name"] in targets and each["type"] == "A"]
        if found != [_RESTRICTED_ADDRESSES]:
            yield f"*.{name} does not lead to the restricted addresses"


def standard_repositories(resources: Sequence[Resource], _: str) -> Iterator[str]:
    repositories = of(resources, "google_artifact_registry_repository")
    if {each["format"] for each in repositories} != {"APT", "DOCKER", "GENERIC", "PYTHON"}:
        yield "there are repositories of the four formats"
    for each in repositories:
        remote = each["remote_repository_config"] or each["virtual_repository_config"]
        if each["mode"] != "STANDARD_REPOSITORY" or remote:
            yield f"{each.address} fetches from elsewhere"
        if each["format"] == "DOCKER" and not each.block("docker_config").get("immutable_tags"):
            yield f"{each.address} lets tags move"


def roles(resources: Sequence[Resource], _: str) -> Iterator[str]:
    """Roles exist and are no basic ones, none is everybody's, none on the project that could be on a resource."""
    own = {each["role_id"] for each in of(resources, "google_project_iam_custom_role")}
    for each in grants(resources):
        short = each.role.rsplit("/", 1)[-1]
        known = short in own if each.role.startswith("projects/") else each.role in ROLES
        if not known:
            yield f"{each.address}: {each.role} is no role that is known to exist"
        if each.member.split(":")[0] in _EVERYBODY or "*" in each.member:
            yield f"{each.address}: {each.member} is everybody"
        if each.kind == "project" and each.role not in PROJECT_WIDE and short not in PROJECT_WIDE:
            yield f"{each.address}: {each.role} is granted on the whole project"
    for resource in of(resources, "google_project_iam_custom_role"):
        for permission in resource["permissions"]:
            if "*" in permission or permission.endswith(("setIamPolicy", "actAs")):
                yield f"{resource.address} holds {permission}"
    for resource in of(resources, *_KEYS):
        yield f"{resource.address} is a key that can be copied"


def inward(resources: Sequence[Resource], project: str) -> Iterator[str]:
    """Nobody of another project may do more than the contract says: write packages, evict versions, push images."""
    repositories = {
        each["repository_id"]: each["format"] for each in of(resources, "google_artifact_registry_repository")
    }
    for each in grants(resources):
        if not _stranger(each, project):
            continue
        kind = repositories.get(each.resource) if each.kind == "repository" else None
        short = each.role.rsplit("/", 1)[-1]
        packages = kind in ("APT", "GENERIC", "PYTHON") and each.member.startswith("serviceAccount:sync@")
        images = kind == "DOCKER" and short == "artifactregistry.writer"
        if not images and not (packages and short in ("artifactregistry.writer", "packageDmzEvictor")):
            yield f"{each.address} gives {each.member} {each.role} on the {each.kind} {each.resource}"


def _stranger(grant: Grant, project: str) -> bool:
    """A service account of another project. Google's own agents and people are none."""
    domain = grant.member.rpartition("@")[2]
    ours = domain in (f"{project}.iam.gserviceaccount.com",) or domain.startswith("gcp-sa-")
    return grant.member.startswith("serviceAccount:") and not ours


def key_for_attested(resources: Sequence[Resource], project: str) -> Iterator[str]:
    """Who decrypts is a principal set of one image digest, of the one pool, for a time; nobody else gets near the key."""
    del project
    pools = {each["workload_identity_pool_id"] for each in of(resources, "google_iam_workload_identity_pool")}
    for each in grants(resources):
        if not each.role.startswith("roles/cloudkms."):
            continue
        if each.kind != "key":
            yield f"{each.address} grants {each.role} on the {each.kind}, not on one key"
        if each.role == "roles/cloudkms.cryptoKeyEncrypter":
            continue
        found = re.fullmatch(
            r"principalSet://iam\.googleapis\.com/projects/[0-9]+/locations/global/workloadIdentityPools/([a-z0-9-]+)"
            r"/attribute\.image_digest/sha256:[0-9a-f]{64}",
            each.member,
        )
        if not found or found[1] not in pools:
            yield f"{each.address}: {each.member} is no image that was attested"
        if "request.time < timestamp(" not in each.condition:
            yield f"{each.address} does not end when the reference value does"
    for resource in of(resources, "google_kms_crypto_key_iam_member"):
        yield f"{resource.address} adds to the key's members: a binding holds all of them"


def provider_condition(resources: Sequence[Resource], _: str) -> Iterator[str]:
    for each in of(resources, "google_iam_workload_identity_pool_provider"):
        condition = each["attribute_condition"] or ""
        for needed in (
            "'CONFIDENTIAL_SPACE'",
            "'disabled-since-boot'",
            "'STABLE'",
            "image_digest in ['sha256:",
        ):
            if needed not in condition:
                yield f"{each.address}: the condition does not ask for {needed}"
        oidc = each.block("oidc")
        if oidc.get("issuer_uri") != "https://confidentialcomputing.googleapis.com/":
            yield f"{each.address} trusts {oidc.get('issuer_uri')}"
        if oidc.get("allowed_audiences") != ["https://sts.googleapis.com"] or oidc.get("jwks_json"):
            yield f"{each.address} takes tokens for {oidc.get('allowed_audiences')}"


def confidential_space(resources: Sequence[Resource], project: str) -> Iterator[str]:
    for each in of(resources, "google_compute_instance"):
        if not _DIGEST.search(each["metadata"].get("tee-image-reference", "")):
            yield f"{each.address} runs an image that is not named by its digest"
        image = each.block("boot_disk")["initialize_params"][0]["image"]
        if not image.startswith("projects/confidential-space-images/") or "debug" in image:
            yield f"{each.address} boots {image}"
        if each.block("confidential_instance_config").get("confidential_instance_type") not in ("TDX", "SEV"):
            yield f"{each.address} does not protect its memory"
        shielded = each.block("shielded_instance_config")
        if not (shielded.get("enable_secure_boot") and shielded.get("enable_vtpm")):
            yield f"{each.address} does not boot securely"
        if each.block("service_account").get("email") != f"data-service@{project}.iam.gserviceaccount.com":
            yield f"{each.address} runs as {each.block('service_account').get('email')}"
        if not any(
            f"/subnetworks/{sub['name']}" in str(each["network_interface"])
            for sub in of(resources, "google_compute_subnetwork")
        ):
            yield f"{each.address} is not in the sealed network"


def function(resources: Sequence[Resource], project: str) -> Iterator[str]:
    for each in of(resources, "google_cloud_run_v2_service"):
        if each["ingress"] != "INGRESS_TRAFFIC_INTERNAL_ONLY" or each["invoker_iam_disabled"]:
            yield f"{each.address} can be called from outside"
        if not _DIGEST.search(each.block("template")["containers"][0]["image"]):
            yield f"{each.address} runs an image that is not named by its digest"
    for each in of(resources, "google_pubsub_subscription"):
        account = (each.block("push_config").get("oidc_token") or [{}])[0].get("service_account_email")
        if account != f"inner-push@{project}.iam.gserviceaccount.com":
            yield f"{each.address} pushes without a token of its own"
        if not each.block("dead_letter_policy"):
            yield f"{each.address} loses what cannot be delivered"


def perimeter(resources: Sequence[Resource], _: str) -> Iterator[str]:
    for each in of(resources, "google_access_context_manager_service_perimeter"):
        status = each.block("status")
        missing = {"artifactregistry", "cloudkms", "pubsub", "storage"} - {
            name.removesuffix(".googleapis.com") for name in status.get("restricted_services") or []
        }
        if missing:
            yield f"{each.address} leaves out {sorted(missing)}"
        within = (status.get("vpc_accessible_services") or [{}])[0]
        if not within.get("enable_restriction") or within.get("allowed_services") != ["RESTRICTED-SERVICES"]:
            yield f"{each.address} lets VMs call interfaces that it does not hold"
        for way in ("ingress", "egress"):
            for rule in status.get(f"{way}_policies") or []:
                source = rule[f"{way}_from"][0]
                if source.get("identity_type") or not source.get("identities"):
                    yield f"{each.address}: {way} '{rule['title']}' is everybody's"
                if "*" in (rule[f"{way}_to"][0].get("resources") or ["*"]):
                    yield f"{each.address}: {way} '{rule['title']}' leads anywhere"


def ranges(resources: Sequence[Resource], _: str) -> Iterator[str]:
    for each in of(resources, "google_compute_subnetwork"):
        if not ipaddress.ip_network(each["ip_cidr_range"]).is_private:
            yield f"{each.address} has public addresses"
        if not each["log_config"]:
            yield f"{each.address} does not log its flows"


CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        egress_closed,
        ingress_closed,
        no_default_route,
        private_access,
        no_external_address,
        names,
        private_zones,
        standard_repositories,
        roles,
        inward,
        key_for_attested,
        provider_condition,
        confidential_space,
        function,
        perimeter,
        ranges,
    )
}
