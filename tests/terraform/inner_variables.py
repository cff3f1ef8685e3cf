"""Values of terraform/inner's variables that the tests plan with: everything on, everybody there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shared.appraisal import federation
from shared.model.reference import ReferenceValue
from tests.appraisal import forge
from tests.terraform.harness import TERRAFORM
from tests.terraform.variables import OUTER
from tests.terraform.variables import PROJECT as OUTER_PROJECT

PROJECT = "dmz-inner-test"
NUMBER = "123456789012"
"""What the schema stand-in answers for every project."""
SERVICE = "aggregator"
POOL = "dmz-attested"
EXPORT = "tests/aggregator.export.json"
"""Below terraform/inner, where Terraform's own tests read it too."""
TOPICS = (
    "attestation-appraised",
    "inner-install-completed",
    "run-failed",
    "sweep-requested",
    "sync-completed",
)


def export(*references: ReferenceValue) -> dict[str, Any]:
    """What `./dmz attestation export` prints for a policy and a reference value of the appraisal's own tests."""
    return federation.export(
        forge.policy(), list(references) or [forge.reference()], forge.NOW, project_number=NUMBER, pool=POOL
    )


def written(directory: Path) -> None:
    """Write the committed export anew."""
    (directory / EXPORT).write_text(json.dumps(export(), indent=2, sort_keys=True) + "\n")


IDENTITIES = {
    "data_services": {},
    "deployer": OUTER["inner"]["deployer"],
    "function": f"serviceAccount:inner-stage@{PROJECT}.iam.gserviceaccount.com",
    "number": NUMBER,
    "project": PROJECT,
    "pubsub_agent": f"serviceAccount:service-{NUMBER}@gcp-sa-pubsub.iam.gserviceaccount.com",
    "run_agent": f"serviceAccount:service-{NUMBER}@serverless-robot-prod.iam.gserviceaccount.com",
    "vm": f"serviceAccount:inner-vm@{PROJECT}.iam.gserviceaccount.com",
}
"""What terraform/inner tells terraform/outer after its first apply."""
SERVED = IDENTITIES | {
    "data_services": {SERVICE: f"serviceAccount:data-{SERVICE}@{PROJECT}.iam.gserviceaccount.com"}
}
"""And once it has a data service."""

CONTRACT: dict[str, Any] = {
    "dead_letter_topic": f"projects/{OUTER_PROJECT}/topics/dead-letters",
    "image": OUTER["image"],
    "location": "us-central1",
    "project": OUTER_PROJECT,
    "settings": {"lease_seconds": "25", "nonce_seconds": "600", "report_grace_seconds": "900"},
    "sync": f"serviceAccount:sync-stage@{OUTER_PROJECT}.iam.gserviceaccount.com",
    "topics": {topic: f"projects/{OUTER_PROJECT}/topics/{topic}" for topic in TOPICS},
}

FIRST: dict[str, Any] = {
    "deployer": OUTER["inner"]["deployer"],
    "outer": CONTRACT | {"image": None},
    "project": PROJECT,
}
"""The first apply: no image yet, no data service, no perimeter."""

INNER: dict[str, Any] = {
    "access_levels": ["accessPolicies/987654321/accessLevels/company"],
    "access_policy": "987654321",
    "alert_emails": ["tpu@example.com"],
    "data_owners": ["group:data@example.com"],
    "data_services": {SERVICE: {"export": EXPORT}},
    "deployer": OUTER["inner"]["deployer"],
    "eviction": True,
    "image_pushers": [f"serviceAccount:builder@{OUTER_PROJECT}.iam.gserviceaccount.com"],
    "more_names": ["storage.googleapis.com."],
    "multi_host": True,
    "operators": ["group:operators@example.com"],
    "outer": CONTRACT,
    "project": PROJECT,
}

if __name__ == "__main__":
    written(TERRAFORM / "inner")
