"""What must hold of the console, the one service that takes requests from outside.

1. IAP stands before it, and nobody calls it but IAP. 2. IAP lets in who is named, and nobody else. 3. It reads the one
database, as an account that may do nothing else. 4. Links of notifications lead to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.terraform import checks
from tests.terraform.plans import Plan, Resource, grants, resources
from tests.terraform.variables import PROJECT

ACCOUNT = f"console@{PROJECT}.iam.gserviceaccount.com"
AGENT = "serviceAccount:service-123456789012@gcp-sa-iap.iam.gserviceaccount.com"
_DATABASE = f'resource.name == "projects/{PROJECT}/databases/(default)"'


def console_behind_iap(plan: Plan) -> Iterator[str]:
    for one in _console(plan):  # 1
        if one.values.get("ingress") != "INGRESS_TRAFFIC_ALL":
            yield f"nobody reaches the console through {one.values.get('ingress')}"
        if not one.values.get("iap_enabled"):
            yield "nothing stands before the console"
        if one.values.get("invoker_iam_disabled"):
            yield "the console asks nobody who he is"
        if not one.values.get("deletion_protection"):
            yield "the console is not protected from deletion"
    calls = {(one.member, one.role) for one in grants(plan) if one.on == "cloud run v2 service console"}
    for member, role in sorted(calls ^ {(AGENT, "roles/run.servicesInvoker")}):  # 1
        yield f"{member}: {role} on the console is not as it should be"
    let_in = {(one.member, one.role) for one in grants(plan) if one.on == "iap web cloud run service console"}
    readers = plan["variables"]["console_readers"]["value"]
    for member, role in sorted(let_in ^ {(each, "roles/iap.httpsResourceAccessor") for each in readers}):  # 2
        yield f"{member}: {role} at the console's door is not as it should be"


def console_reads(plan: Plan) -> Iterator[str]:  # 3
    made = _console(plan)
    if len(made) != 1:
        yield f"there are {len(made)} consoles"
    for one in made:
        if (account := one.block("template").get("service_account")) != ACCOUNT:
            yield f"the console runs as {account or 'the default account'}"
    may = {
        (one.role, one.on, one.condition) for one in grants(plan) if one.member == f"serviceAccount:{ACCOUNT}"
    }
    for role, on, condition in sorted(may ^ {("roles/datastore.viewer", f"project {PROJECT}", _DATABASE)}):
        yield f"{role} of the console on {on} {condition} is not as it should be"


def console_linked(plan: Plan) -> Iterator[str]:  # 4
    """https://docs.cloud.google.com/run/docs/triggering/https-request: SERVICE-NUMBER.REGION.run.app."""
    for console in _console(plan):
        wanted = f"https://{console.values['name']}-123456789012.{console.values['location']}.run.app"
        if (said := plan["planned_values"]["outputs"]["console_url"].get("value")) != wanted:
            yield f"the console is at {wanted}, not at {said}"
        for one in resources(plan, "google_cloud_run_v2_service"):
            given = {env["name"]: env["value"] for env in one.block("template")["containers"][0]["env"]}
            if one.values["name"] == "outer" and given.get("DMZ_CONSOLE") != wanted:
                yield f"notifications lead to {given.get('DMZ_CONSOLE') or 'nowhere'}"


def _console(plan: Plan) -> list[Resource]:
    return [one for one in resources(plan, "google_cloud_run_v2_service") if one.values["name"] == "console"]


CONSOLE: tuple[checks.Check, ...] = (console_behind_iap, console_reads, console_linked)
