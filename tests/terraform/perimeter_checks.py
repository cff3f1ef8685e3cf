"""What must hold of the perimeter around the inner project, and of who passes it.

1. It is drawn where an access policy is given, holds what carries data, and no rule is everybody's. 2. Whoever has a
right in here from outside is let in to the interface that the right is used through, from where he is expected; nobody
else is, to nothing else, from nowhere else. 3. Whom a variable names has a right at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tests.terraform import custom_roles
from tests.terraform.plans import Grant, Plan, grants, resources

_PEOPLE = ("data_owners", "image_pushers", "operators")
"""Variables that name people, or what acts for them."""


def perimeter(plan: Plan) -> Iterator[str]:  # 1
    given = (plan["variables"].get("access_policy") or {}).get("value")
    drawn = list(resources(plan, "google_access_context_manager_service_perimeter"))
    if bool(given) != bool(drawn):
        yield "A perimeter is drawn where, and only where, an access policy is given"
    for one in drawn:
        status = one.block("status")
        if one.values.get("use_explicit_dry_run_spec") or not status:
            yield f"{one.address} only logs what it would hold"
        if status.get("access_levels"):
            yield f"{one.address} lets in whoever comes under {status['access_levels']}, to everything"
        named = {str(each).partition(".")[0] for each in status.get("restricted_services") or []}
        if missing := {"artifactregistry", "cloudkms", "pubsub", "storage"} - named:
            yield f"{one.address} leaves out {sorted(missing)}"
        within = (status.get("vpc_accessible_services") or [{}])[0]
        if not within.get("enable_restriction") or within.get("allowed_services") != ["RESTRICTED-SERVICES"]:
            yield f"{one.address} lets machines call interfaces that it does not hold"
        for way in ("ingress", "egress"):
            yield from (
                f"{one.address}: {said}"
                for rule in status.get(f"{way}_policies") or []
                for said in _way(way, rule)
            )


def let_in(plan: Plan) -> Iterator[str]:  # 2
    for one in resources(plan, "google_access_context_manager_service_perimeter"):
        status = one.block("status")
        there = {
            Entry(member, _source(source), str(each["service_name"]))
            for rule in status.get("ingress_policies") or []
            for member in rule["ingress_from"][0].get("identities") or ["everybody"]
            for source in rule["ingress_from"][0].get("sources") or [{}]
            for each in rule["ingress_to"][0].get("operations") or []
        }
        wanted = set(_wanted(plan, status))
        yield from (f"{one.address} lets in {each}" for each in sorted(there - wanted))
        yield from (f"{one.address} shuts out {each}" for each in sorted(wanted - there))


def people_hold_rights(plan: Plan) -> Iterator[str]:  # 3
    may = {grant.member for grant in grants(plan)}
    for name in _PEOPLE:
        for member in _given(plan, name):
            if member not in may and not (name == "data_owners" and not _given(plan, "data_services")):
                yield f"{member} of {name} may do nothing"


def _way(way: str, rule: dict[str, Any]) -> Iterator[str]:
    """What is wrong with one ingress or egress policy of a perimeter."""
    whose, where = rule[f"{way}_from"][0], rule[f"{way}_to"][0]
    if whose.get("identity_type") or not whose.get("identities"):
        yield f"{way} '{rule['title']}' is everybody's"
    if "*" in (where.get("resources") or ["*"]):
        yield f"{way} '{rule['title']}' leads anywhere"
    if not where.get("operations") or any(each.get("service_name") == "*" for each in where["operations"]):
        yield f"{way} '{rule['title']}' is for every interface"


@dataclass(frozen=True, order=True)
class Entry:
    """Who comes in, from where, to which interface."""

    member: str
    source: str
    service: str

    def __str__(self) -> str:
        return f"{self.member} from {self.source} to {self.service}"


def _wanted(plan: Plan, status: Mapping[str, Any]) -> Iterator[Entry]:
    """What the rights of people, and of the outer project's accounts, are on; the deployer makes everything."""
    restricted = set(status.get("restricted_services") or [])
    homes = _given(plan, "access_levels") or ["*"]
    other = _number(plan)
    people = {member for name in _PEOPLE for member in _given(plan, name)}
    pushers = set(_given(plan, "image_pushers"))
    for grant in grants(plan):
        service = _service(grant)
        if service not in restricted:
            continue
        if grant.member in people:
            yield from (Entry(grant.member, home, service) for home in homes)
        if grant.member == plan["variables"]["outer"]["value"]["sync"] or (
            grant.member in pushers and service == "artifactregistry.googleapis.com"
        ):
            yield Entry(grant.member, other, service)
    deployer = str(plan["variables"]["deployer"]["value"])
    yield from (Entry(deployer, home, service) for home in homes for service in restricted)


def _service(grant: Grant) -> str:
    """The interface through which a right is used."""
    if grant.on.startswith("artifact registry repository "):
        return "artifactregistry.googleapis.com"
    if grant.on.startswith("kms crypto key "):
        return "cloudkms.googleapis.com"
    role = grant.role.removeprefix("roles/").rpartition("/")[2]
    own = custom_roles.of("inner").get(role)
    name = next(iter(own.permissions)) if own else role
    return f"{name.partition('.')[0]}.googleapis.com"


def _source(given: Mapping[str, Any]) -> str:
    return str(given.get("resource") or given.get("access_level") or "nowhere known")


def _given(plan: Plan, name: str) -> list[str]:
    """The members of a variable that holds a set, or the names of one that holds a map."""
    return sorted((plan["variables"].get(name) or {}).get("value") or ())


def _number(plan: Plan) -> str:
    """The outer project, as a perimeter names it."""
    read = plan["prior_state"]["values"]["root_module"]["resources"]
    (number,) = (one["values"]["number"] for one in read if one["address"] == "data.google_project.outer[0]")
    return f"projects/{number}"


PERIMETER = (perimeter, let_in, people_hold_rights)
