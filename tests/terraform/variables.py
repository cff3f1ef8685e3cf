"""Values of the variables that the tests plan with: everything on, everybody there."""

from __future__ import annotations

from typing import Any

DIGEST = "sha256:" + "ab" * 32
PROJECT = "dmz-outer-test"
_INNER = "dmz-inner-test.iam.gserviceaccount.com"

OUTER: dict[str, Any] = {
    "advisories_in_bucket": True,
    "alert_emails": ["oncall@example.com"],
    "billing_account": "012345-6789AB-CDEF01",
    "console_readers": ["group:readers@example.com"],
    "image": f"us-central1-docker.pkg.dev/{PROJECT}/dmz-services/services@{DIGEST}",
    "inner": {
        "data_services": {
            "aggregator": f"serviceAccount:data-aggregator@{_INNER}",
            "collector": f"serviceAccount:data-collector@{_INNER}",
        },
        "deployer": "group:deployers@example.com",
        "function": f"serviceAccount:inner-stage@{_INNER}",
        "number": "222222222222",
        "project": "dmz-inner-test",
        "pubsub_agent": "serviceAccount:service-2@gcp-sa-pubsub.iam.gserviceaccount.com",
        "run_agent": "serviceAccount:service-2@serverless-robot-prod.iam.gserviceaccount.com",
        "vm": f"serviceAccount:inner-vm@{_INNER}",
    },
    "notify_version": "3",
    "operators": ["group:operators@example.com"],
    "policy_editors": ["group:security@example.com"],
    "project": PROJECT,
    "rebuilders": ["serviceAccount:rebuilder@elsewhere.iam.gserviceaccount.com"],
    "relying_parties": ["serviceAccount:data-owner@elsewhere.iam.gserviceaccount.com"],
    "run_schedule": {"workload": "quickstart"},
}

FIRST: dict[str, Any] = {"operators": ["group:operators@example.com"], "project": PROJECT}
"""The first apply: no image yet, no inner project."""

_OUTER = f"{PROJECT}.iam.gserviceaccount.com"
MEMBERS: dict[str, list[str]] = {
    "attestation": [f"serviceAccount:attestation-stage@{_OUTER}"],
    "Cloud Build": [f"serviceAccount:builder@{_OUTER}", f"serviceAccount:rebuilder@{_OUTER}"],
    "Cloud Scheduler": ["serviceAccount:service-123456789012@gcp-sa-cloudscheduler.iam.gserviceaccount.com"],
    "data services": list(OUTER["inner"]["data_services"].values()),
    "independent rebuilders": OUTER["rebuilders"],
    "inner": [OUTER["inner"]["function"]],
    "inner Pub/Sub": [OUTER["inner"]["pubsub_agent"]],
    "inner VM": [OUTER["inner"]["vm"]],
    "operator": OUTER["operators"],
    "outer": [f"serviceAccount:outer-stage@{_OUTER}"],
    "outer VM": [f"serviceAccount:outer-vm@{_OUTER}"],
    "relying parties": OUTER["relying_parties"],
    "scanner": [f"serviceAccount:scanner-stage@{_OUTER}"],
    "sync": [f"serviceAccount:sync-stage@{_OUTER}"],
}
"""Who the names in shared.events.PUBLISHERS are, with the variables above."""
