"""What a stage logs: one JSON line each, as Cloud Run hands it to Cloud Logging.

`severity` and `message` are Cloud Logging's own fields
(https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields); the others become
`jsonPayload`, where the metrics of `terraform/outer/metrics.tf` count them by `event`. No line holds a credential.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Literal

Severity = Literal["INFO", "WARNING", "ERROR"]
Event = Literal[
    "attestation-appraised",
    "data-lacking",
    "decision-logged",
    "delivery-postponed",
    "package-alarm",
    "stage-misconfigured",
]


def line(
    event: Event, severity: Severity, message: str, stage: str, **fields: str | bool | Sequence[str]
) -> None:
    known = {"severity": severity, "message": message, "event": event, "stage": stage}
    print(json.dumps({**fields, **known}), file=sys.stderr, flush=True)
