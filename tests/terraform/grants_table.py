"""The table of rights in the outer project, written from the plan: terraform/outer/grants.md.

    .venv/bin/python -m tests.terraform.grants_table    # writes it anew, and says what no code needs

Every right names the code that needs it; a right that no rule below knows makes the test fail.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.terraform import custom_roles, harness, variables
from tests.terraform.plans import Grant, Plan, grants

TABLE = harness.TERRAFORM / "outer" / "grants.md"
_MODULE = "terraform/modules/function/subscriptions.tf"
_CONSOLE = "terraform/outer/console.tf"
_HEAD = """# Who may do what in the outer project

Written by `.venv/bin/python -m tests.terraform.grants_table` from a plan with everything on; a test fails when this
table and the plan differ. `outer: NAME` and `inner: NAME` are service accounts of these projects; nobody has a key.
Nothing stands on the project that could stand on a resource: Firestore databases, TPU nodes and logs have no policies
of their own (`ON_PROJECT` in `tests/terraform/checks.py`).

| identity | role | on | needed by |
|---|---|---|---|
"""

# Role, resource, identity (regular expressions, the first that fits counts) to what needs the right.
_NEEDS = (
    ("pubsub.publisher", "topic dead-letters", "Google: pubsub.*", _MODULE),
    ("pubsub.publisher", "topic dead-letters", ".*", "shared/delivery.py"),
    ("pubsub.publisher", "topic .*", "outer: outer-vm|inner: inner-vm", "shared/guest/report.py"),
    ("pubsub.publisher", "topic .*", "outer: (re)?builder", "functions/ctl/voting.py"),
    ("pubsub.publisher", "topic .*", "Google: cloudscheduler", "terraform/outer/schedule.tf"),
    ("pubsub.publisher", "topic .*", "inner: data-.*", "shared/data/images/python/attestation.py"),
    (
        "pubsub.publisher",
        "topic .*",
        "(outer|inner): (?P<stage>outer|scanner|sync|inner|attestation)-stage",
        "functions/{stage}/stage.py",
    ),
    ("pubsub.publisher", "topic image-built", ".*", "functions/ctl/rebuild.py"),
    ("pubsub.publisher", "topic nonce-.*", ".*", "docs/attestation.md"),
    ("pubsub.publisher", "topic .*", "operators", "events/README.md"),
    ("pubsub.subscriber", "subscription dead-letters-hold", "operators", "shared/dead_letters.py"),
    (
        "pubsub.subscriber",
        "subscription .*--nonce-issued",
        "inner: data-.*",
        "shared/data/images/python/attestation.py",
    ),
    ("pubsub.subscriber", "subscription .*", "Google: pubsub", _MODULE),
    ("pubsub.subscriber", "topic .*", "inner's deployer", _MODULE),
    ("run.servicesInvoker", ".*", "outer: .*-push", _MODULE),
    ("run.servicesInvoker", "service console", "Google: iap", _CONSOLE),
    (
        "iap.httpsResourceAccessor",
        "IAP before service console",
        "console readers",
        "functions/console/site.py",
    ),
    ("iam.serviceAccountOpenIdTokenCreator", "service account .*-push@.*", "Google: pubsub", _MODULE),
    (
        "iam.serviceAccountUser",
        "service account outer-vm@.*",
        "outer: outer-stage",
        "shared/gcp/tpu_messages.py",
    ),
    ("packageDmzVmKeeper", "project .*", "outer: outer-stage", "shared/gcp/tpu.py"),
    ("packageDmzVmViewer", "project .*", "operators", "functions/ctl/fleet.py"),
    ("datastore.user", "project .*", ".*", "shared/gcp/firestore.py"),
    ("datastore.viewer", "project .*", "operators", "functions/ctl/follow.py"),
    ("datastore.viewer", "project .*", "outer: console", "shared/gcp/readings.py"),
    (
        "telemetry.tracesWriter",
        "project .*",
        "outer: (outer|scanner|sync|attestation)-stage",
        "shared/otlp.py",
    ),
    ("serviceusage.serviceUsageConsumer", "project .*", "outer: .*-stage", "shared/serving.py"),
    ("logging.logWriter", "project .*", "outer: (re)?builder", "cloudbuild.yaml"),
    ("artifactregistry.reader", "repository dmz-staging", "outer: sync-stage", "shared/gcp/registry.py"),
    ("artifactregistry.reader", "repository dmz-staging", "outer: outer-vm", "shared/guest/outer.py"),
    ("artifactregistry.writer", "repository dmz-staging", "operators", "functions/ctl/run.py"),
    (
        "artifactregistry.reader",
        "repository dmz-services",
        "Google: serverless.*|inner's deployer",
        "terraform/modules/function/service.tf",
    ),
    (
        "artifactregistry.writer",
        "repository dmz-services",
        "outer: builder",
        "cloudbuild.yaml",
    ),
    ("cloudkms.*", "key builder", "outer: builder", "shared/gcp/kms.py"),
    ("cloudkms.*", "key rebuilder", "outer: rebuilder", "shared/gcp/kms.py"),
    ("cloudkms.publicKeyViewer", "key rebuilder", "outer: builder", "functions/ctl/voting.py"),
    ("cloudkms.*", "key verification-summaries", "outer: attestation-stage", "shared/gcp/kms.py"),
    ("secretmanager.secretAccessor", "secret dmz-notify", "outer: outer-stage", "shared/upstream/sink.py"),
    ("secretmanager.secretVersionAdder", "secret dmz-notify", "operators", "docs/operations.md"),
    ("storage.objectViewer", "bucket .*-advisories", "outer: (scanner|sync)-stage", "shared/judgement.py"),
    ("storage.objectViewer", "bucket .*-builds", "outer: (re)?builder", "cloudbuild.yaml"),
    ("storage.objectCreator", "bucket .*-provenance", "outer: (re)?builder", "cloudbuild.yaml"),
    ("storage.objectViewer", "bucket .*-provenance", "outer: (re)?builder", "cloudbuild.yaml"),
    ("storage.objectViewer", "bucket .*-policies", "outer: (scanner|sync)-stage", "shared/judgement.py"),
    ("storage.objectViewer", "bucket .*-policies", "outer: attestation-stage", "shared/trust.py"),
    ("storage.objectViewer", "bucket .*-policies", "outer: outer-stage", "shared/model/prices.py"),
    ("storage.objectUser", "bucket .*-policies", "policy editors", "shared/policy/read.py"),
    ("storage.*", "bucket .*-advisories", "Google: storage transfer", "terraform/outer/advisories.tf"),
)
_KINDS = {
    "artifact registry repository": "repository",
    "cloud run v2 service": "service",
    "iap web cloud run service": "IAP before service",
    "kms crypto key": "key",
    "pubsub subscription": "subscription",
    "pubsub topic": "topic",
    "secret manager secret": "secret",
    "storage bucket": "bucket",
}


def needed_by(role: str, on: str, identity: str) -> str:
    """The file that needs a right; empty if none is known to."""
    for role_like, on_like, identity_like, file in _NEEDS:
        found = re.fullmatch(identity_like, identity)
        if found and re.fullmatch(role_like, role) and re.fullmatch(on_like, on):
            return file.format(**found.groupdict())
    return ""


def rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Identity, role, resource, what needs it; sorted."""
    return sorted(set(map(_row, grants(plan))))


def table(plan: Plan) -> str:
    lines = (f"| {identity} | `{role}` | {on} | `{file}` |\n" for identity, role, on, file in rows(plan))
    return _HEAD + "".join(lines) + custom_roles.table("outer")


def unneeded(found: Iterable[tuple[str, str, str, str]]) -> list[str]:
    """Rights that no code needs, or whose code is not there."""
    return [
        f"{identity}: {role} on {on}, for {file or 'nothing'}"
        for identity, role, on, file in found
        if not file or not (harness.CHECKOUT / file).is_file()
    ]


def _row(grant: Grant) -> tuple[str, str, str, str]:
    kind = next((kind for kind in _KINDS if grant.on.startswith(kind)), "")
    on = _KINDS[kind] + grant.on.removeprefix(kind) if kind else grant.on
    on = on.replace(f"@{variables.PROJECT}.iam.gserviceaccount.com", "@").replace(
        variables.PROJECT, "PROJECT"
    )
    role = grant.role.removeprefix("roles/").rsplit("/", 1)[-1]
    identity = _identity(grant.member)
    return identity, role, on + (" (one database)" if grant.condition else ""), needed_by(role, on, identity)


def _identity(member: str) -> str:
    known = {
        **dict.fromkeys(variables.OUTER["operators"], "operators"),
        **dict.fromkeys(variables.OUTER["console_readers"], "console readers"),
        **dict.fromkeys(variables.OUTER["policy_editors"], "policy editors"),
        **dict.fromkeys(variables.OUTER["rebuilders"], "rebuilders"),
        **dict.fromkeys(variables.OUTER["relying_parties"], "relying parties"),
        variables.OUTER["inner"]["deployer"]: "inner's deployer",
    }
    if member in known:
        return known[member]
    name, _, domain = member.removeprefix("serviceAccount:").partition("@")
    project = domain.removesuffix(".iam.gserviceaccount.com")
    if project.startswith(("gcp-sa-", "serverless-")):
        inner = "" if name.endswith("123456789012") else " (inner)"
        return f"Google: {project.removeprefix('gcp-sa-')}{inner}"
    if "storage_transfer" in member:
        return "Google: storage transfer"
    return f"{'outer' if project == variables.PROJECT else 'inner'}: {name}"


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch, harness.workspace(Path(scratch)) as made:
        made.init("outer")
        done, plan = made.plan("outer", variables.OUTER)
    if not plan:
        print(done.output, file=sys.stderr)
        return 1
    TABLE.write_text(table(plan))
    for line in unneeded(rows(plan)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
