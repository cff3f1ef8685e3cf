"""An appraisal as a SLSA verification summary (https://slsa.dev/spec/v1.1/verification_summary), unsigned.

`verifiedLevels` holds a name of our own, which that page allows: an appraisal says which image runs where, and no SLSA
level by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from shared.model.appraisal import AppraisalResult

ACCEPTED = "CONFIDENTIAL_SPACE_WORKLOAD"
REBUILT = "INDEPENDENTLY_REBUILT"
"""Two or more builders agreed on the image."""


def summary(result: AppraisalResult, verifier: str) -> dict[str, object]:
    """The in-toto statement (https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/statement.md)."""
    accepted = result.decision == "accepted"
    # A token that was refused before its claims could be believed names no image: then it is about the token.
    known = result.image_digest.startswith("sha256:") and len(result.image_digest) == 71
    about = result.image_digest if known else result.token
    inputs = [{"uri": "urn:package-dmz:confidential-space-token", "digest": _digest(result.token)}]
    if result.reference:
        inputs.append({"uri": "urn:package-dmz:reference-value", "digest": _digest(result.reference)})
    levels = [ACCEPTED] + ([REBUILT] if len(result.builders) > 1 else [])
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": result.image if known else "token", "digest": _digest(about)}],
        "predicateType": "https://slsa.dev/verification_summary/v1",
        "predicate": {
            "verifier": {"id": verifier},
            "timeVerified": datetime.fromtimestamp(result.appraised_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "resourceUri": f"pkg:oci/{result.image}@{quote(about, safe='')}"
            if known
            else f"urn:package-dmz:service:{result.service}",
            "policy": {
                "uri": f"urn:package-dmz:appraisal-policy:{result.service}",
                "digest": _digest(result.policy),
            },
            "inputAttestations": inputs,
            "verificationResult": "PASSED" if accepted else "FAILED",
            "verifiedLevels": levels if accepted else ["FAILED"],
            "slsaVersion": "1.1",
        },
    }


def _digest(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}
