"""The contract between the two projects, written from the plans of both: terraform/contract.md.

    .venv/bin/python -m tests.terraform.table --write

Every right in the inner project, and every right of an inner identity in the outer one, with the code that needs it:
a file, and a word that stands in it. A right that no rule below knows makes the test fail, and so does a rule whose
word is gone.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.terraform import custom_roles, harness, inner_variables, variables
from tests.terraform.plans import Grant, Plan, grants

TABLE = harness.TERRAFORM / "contract.md"
_FILES = "shared/guest/artifacts.py"
_PUSHED = "terraform/modules/function/subscriptions.tf"
_SERVED = "terraform/modules/function/service.tf"
_DEPLOYED = "functions/ctl/deploy_steps.py"
_README = "terraform/README.md"
_LAUNCHED = "terraform/modules/confidential_space/instance.tf"
_TOKENS = "shared/data/images/python/attestation.py"
_REGISTRY = "shared/gcp/registry.py"
_TPU = "shared/gcp/tpu.py"
_ENTRY = "shared/entry.py"
_MADE = "shared/gcp/tpu_messages.py"

# Identity, role, resource (regular expressions, the first that fits counts), the file that needs the right, and a word
# in it: the call, or the line of Terraform that Google's own agents act for.
_NEEDS = (
    ("outer: sync-stage", "artifactregistry.writer", "repository [a-z]+", _REGISTRY, "def upload_apt"),
    ("outer: sync-stage", "artifactregistry.writer", "repository dmz-python", _REGISTRY, "def upload_python"),
    ("outer: sync-stage", "artifactregistry.writer", "repository dmz-generic", _REGISTRY, "def upload_generic"),
    ("outer: builder", "artifactregistry.writer", "repository dmz-images", "functions/ctl/image.py", "registry.push("),
    ("inner: inner-vm", "artifactregistry.reader", "repository dmz-generic", _FILES, "/repositories/"),
    ("inner: inner-vm", "artifactregistry.reader", "repository .*", "shared/guest/private.py", "pkg.dev"),
    ("inner: data-.*", "artifactregistry.reader", "repository dmz-images", _LAUNCHED, "tee-image-reference"),
    ("inner: data-.*", "confidentialcomputing.workloadUser", "project .*", _TOKENS, "/v1/token"),
    ("inner: data-.*", "logging.logWriter", "project .*", _LAUNCHED, "tee-container-log-redirect"),
    ("inner: inner-stage", "packageDmzVmKeeper", "project .*", _TPU, "create_node"),
    ("inner: inner-stage", "iam.serviceAccountUser", "account inner-vm", _MADE, "ServiceAccount(email"),
    ("inner: inner-push", "run.servicesInvoker", "service inner", _PUSHED, "push_endpoint"),
    ("attested image", "cloudkms.cryptoKeyDecrypter", "key .*", "shared/appraisal/federation.py", "principal_set"),
    ("data owners", "cloudkms.cryptoKeyEncrypter", "key .*", _README, "Owners of data encrypt"),
    ("operators", "iap.tunnelResourceAccessor", "project .*", _ENTRY, '"--tunnel-through-iap"'),
    ("operators", "packageDmzOperator", "project .*", _ENTRY, '"tpu-vm", "ssh"'),
    ("Pub/Sub of inner", "pubsub.subscriber", "subscription .*", _PUSHED, "dead_letter_policy"),
    ("Pub/Sub of inner", "iam.serviceAccountOpenIdTokenCreator", "account inner-push", _PUSHED, "oidc_token"),
    ("Pub/Sub of inner", "pubsub.publisher", "topic dead-letters", _PUSHED, "dead_letter_topic"),
    ("Cloud Run of inner", "artifactregistry.reader", "repository dmz-services", _SERVED, "image = var.image"),
    ("who applies inner", "artifactregistry.reader", "repository dmz-services", _DEPLOYED, "inner project with"),
    ("who applies inner", "pubsub.subscriber", "topic .*", _DEPLOYED, "inner project, without a new image"),
    ("inner: inner-stage", "datastore.user", "project .*", "shared/vm_stages.py", "FirestoreStore"),
    ("inner: inner-stage", "pubsub.publisher", "topic dead-letters", "shared/delivery.py", "dead_letter"),
    ("inner: inner-stage", "pubsub.publisher", "topic nonce-requested", "functions/inner/decide.py", "nonce-requested"),
    ("inner: inner-stage", "pubsub.publisher", "topic run-completed", "functions/inner/stage.py", "run-completed"),
    ("inner: inner-stage", "pubsub.publisher", "topic run-failed", "shared/delivery.py", "run-failed"),
    ("inner: inner-vm", "pubsub.publisher", "topic inner-install-completed", "shared/guest/report.py", ":publish"),
    ("inner: data-.*", "pubsub.publisher", "topic attestation-requested", _TOKENS, ":publish"),
    ("inner: data-.*", "pubsub.subscriber", "subscription [a-z_]+--nonce-issued", _TOKENS, ":pull"),
)  # fmt: skip
_KINDS = {
    "artifact registry repository": "repository",
    "cloud run v2 service": "service",
    "kms crypto key": "key",
    "pubsub subscription": "subscription",
    "pubsub topic": "topic",
    "service account": "account",
}
_HEAD = """# The contract between the two projects

Written by `.venv/bin/python -m tests.terraform.table --write` from plans of both with everything on; a test fails when
this page and the plans differ, or when the code no longer holds what needs a right. `outer: NAME` and `inner: NAME` are
service accounts of these projects; nobody has a key. Who may do what among the outer project's own is in
[outer/grants.md](outer/grants.md).

The projects know of each other what two outputs say: `contract` of outer is the variable `outer` of inner, `identities`
of inner is the variable `inner` of outer.
"""
_INWARD = """
## Inward: what the outer project may do in the inner one

Packages that were judged, images that were agreed on. Nothing else reaches in: VMs are made, and subscriptions pushed,
by accounts of the inner project. `outer: builder` stands for whomever `image_pushers` names: by default nobody.
"""
_EVICTION = """
Unless `eviction = false`, sync may also delete versions from the repositories of packages (a custom role that holds
`artifactregistry.versions.delete` alone): what is refused later on is evicted. Without the right it stays, and an alarm
says so.
"""
_OUTWARD = """
## Outward: what the inner project may do in the outer one

The inner function is woken by five topics, through subscriptions that live in its own project: Cloud Run's internal
ingress takes pushes from there alone. It keeps its records where all stages do, in the one database. A VM may publish
to one topic for as long as it lives: what is not its one report is refused, and of that the dead letters keep hash and
size only. A data service may read its nonces and hand its tokens in; neither reads anything else.
"""
_INSIDE = """
## Inside the inner project
"""
_COLUMNS = "\n| identity | role | on | needed by |\n|---|---|---|---|\n"


@dataclass(frozen=True, order=True)
class Row:
    """A right: whose, which, on what, and the file and the word in it that need it."""

    identity: str
    role: str
    on: str
    file: str
    word: str

    @property
    def line(self) -> str:
        return f"| {self.identity} | `{self.role}` | {self.on} | `{self.file}` |\n"


def inward(inner: Plan) -> list[Row]:
    return [row for row in _rows(grants(inner)) if row.identity.startswith("outer: ")]


def inside(inner: Plan) -> list[Row]:
    return [row for row in _rows(grants(inner)) if not row.identity.startswith("outer: ")]


def outward(outer: Plan) -> list[Row]:
    given = OUTER["inner"]
    members = {one for name, one in given.items() if name != "data_services"} | {
        *given["data_services"].values()
    }
    return _rows(grant for grant in grants(outer) if grant.member in members)


def page(outer: Plan, inner: Plan) -> str:
    return "".join(
        (
            _HEAD,
            *(_INWARD, _COLUMNS, *(row.line for row in inward(inner)), _EVICTION),
            *(_OUTWARD, _COLUMNS, *(row.line for row in outward(outer))),
            *(_INSIDE, _COLUMNS, *(row.line for row in inside(inner)), custom_roles.table("inner")),
        )
    )


def unneeded(found: Iterable[Row]) -> list[str]:
    """Rights that no code needs, or whose code no longer holds the word."""
    return [
        f"{row.identity}: {row.role} on {row.on}, for {row.word or 'nothing'} in {row.file or 'no file'}"
        for row in found
        if not row.file or row.word not in (harness.CHECKOUT / row.file).read_text()
    ]


def plans(made: harness.Workspace) -> tuple[Plan, Plan]:
    """Outer and inner, everything on but eviction, each given what the other one says."""
    planned = []
    for root, given in (("outer", OUTER), ("inner", INNER)):
        made.init(root)
        done, plan = made.plan(root, given)
        assert plan, done.output
        planned.append(plan)
    return planned[0], planned[1]


# The schema stand-in gives every project the same number; Google's agents must not be taken for each other's.
_AGENTS = {name: variables.OUTER["inner"][name] for name in ("pubsub_agent", "run_agent")}
OUTER = variables.OUTER | {
    "inner": inner_variables.SERVED | _AGENTS,
}
INNER = inner_variables.INNER | {"eviction": False}


def _rows(found: Iterable[Grant]) -> list[Row]:
    return sorted({_row(grant) for grant in found})


def _row(grant: Grant) -> Row:
    kind = next((kind for kind in _KINDS if grant.on.startswith(f"{kind} ")), "")
    on = f"{_KINDS[kind]}{grant.on.removeprefix(kind)}" if kind else grant.on
    on = re.sub(r"@[a-z0-9-]+\.iam\.gserviceaccount\.com$", "", on)
    on = on.replace(variables.PROJECT, "OUTER").replace(inner_variables.PROJECT, "INNER")
    role = grant.role.removeprefix("roles/").rsplit("/", 1)[-1]
    identity = _identity(grant.member)
    file, word = _need(identity, role, on)
    return Row(identity, role, on + _narrowed(grant.condition), file, word)


def _need(identity: str, role: str, on: str) -> tuple[str, str]:
    for whose, which, what, file, word in _NEEDS:
        if re.fullmatch(whose, identity) and re.fullmatch(which, role) and re.fullmatch(what, on):
            return file, word
    return "", ""


def _narrowed(condition: str) -> str:
    for word, said in (
        ("databases/", "the one database"),
        ("request.time", "until it expires"),
        (".port", "port 22"),
    ):
        if word in condition:
            return f" ({said})"
    return f" (if {condition})" if condition else ""


def _identity(member: str) -> str:
    groups: dict[str, Sequence[str]] = {
        "data owners": INNER["data_owners"],
        "operators": INNER["operators"],
        "who applies inner": [INNER["deployer"]],
        "Pub/Sub of inner": [each["pubsub_agent"] for each in (inner_variables.IDENTITIES, _AGENTS)],
        "Cloud Run of inner": [each["run_agent"] for each in (inner_variables.IDENTITIES, _AGENTS)],
    }
    if known := [name for name, members in groups.items() if member in members]:
        return known[0]
    if member.startswith("principalSet:"):
        return "attested image"
    name, _, domain = member.removeprefix("serviceAccount:").partition("@")
    projects = {variables.PROJECT: "outer", inner_variables.PROJECT: "inner"}
    project = domain.removesuffix(".iam.gserviceaccount.com")
    return f"{projects.get(project, project or 'nobody known')}: {name}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.terraform.table", description=__doc__)
    parser.add_argument(
        "--write", action="store_true", help=f"write {TABLE.relative_to(harness.CHECKOUT)} anew"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, harness.workspace(Path(scratch)) as made:
        outer, inner = plans(made)
    text = page(outer, inner)
    if given.write:
        TABLE.write_text(text)
    else:
        print(text)
    missing = unneeded((*inward(inner), *inside(inner), *outward(outer)))
    print(*missing, sep="\n", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
