"""Google's own tokens, at their own time."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.appraisal import policy
from shared.appraisal.appraise import appraise
from shared.appraisal.keys import GOOGLE_ROOT, google, read_jwks
from shared.model.appraisal import AppraisalPolicy
from tests.appraisal import forge
from tests.appraisal.forge import Inputs

DATA = Path(__file__).parent / "data"
PRODUCTION = (DATA / "production-tdx-pki.jwt").read_text()
ISSUED, DEBUG_ISSUED = 1757060250, 1764708636
NONCE = "75a91c8dbe289f190d5e70ab1cb70c93cc14d7243f0ef3ff5326a622ead220a6"


def production(**changes: Any) -> Inputs:
    inputs = Inputs(PRODUCTION, policy.find("pinned"), google(), (), NONCE, ISSUED + 60)
    return replace(inputs, **changes)


def test_the_production_token_is_accepted() -> None:
    result = appraise(*production().all())
    assert [check.sentence for check in result.failed] == []
    assert result.decision == "accepted"
    assert result.token_type == "PKI"
    assert result.image_digest == "sha256:e2e5e3672f416ac9ca71aa639abf86db0b713729a48c125a925af6c808b20b5d"
    assert result.key_id == "tBvfKLw3ee1p4Uak5wCdr23m-1P71an7qz1EdlDu82g"
    assert result.valid_until == ISSUED + 3600


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"now": ISSUED - 31}, "current"),
        ({"now": ISSUED + 631}, "age"),
        ({"nonce": NONCE[:-1] + "7"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"keys": google().model_copy(update={"roots": (forge.MANIFEST,)})}, "pinned root"),
        ({"token": PRODUCTION[:-40] + "A" * 40}, "signature"),
        ({"token": PRODUCTION + "\n"}, "encoding"),
    ],
    ids=str,
)
def test_and_refused_with_one_thing_changed(change: dict[str, Any], check: str) -> None:
    assert [each.name for each in appraise(*production(**change).all()).failed] == [check]


def test_its_chain_ends_before_the_root() -> None:
    late = production(now=1762145666 + 1)
    assert [each.name for each in appraise(*late.all()).failed] == ["chain validity"]


def debug_policy(claims: dict[str, Any], **changes: Any) -> AppraisalPolicy:
    """Fits the debug tokens in all but what a policy cannot allow."""
    container = claims["submods"]["container"]
    env = {name: container["env"][name] for name in ("PATH", "RUST_LOG", "SSL_CERT_FILE")}
    fits = {
        "format": "package-dmz/appraisal-policy/v1",
        "service": "sequencer",
        "image": "sequencer",
        "audience": claims["aud"],
        "token_types": ["OIDC"],
        "nonce": {"required": "eat_nonce" in claims},
        "hwmodel": ["GCP_AMD_SEV"],
        "swversion_minimum": 251001,
        "projects": [{"id": "synd-db-testing", "number": "297985297894"}],
        "service_accounts": ["cs-attestation-workload@synd-db-testing.iam.gserviceaccount.com"],
        "env_overrides": {"ATTESTATION_AUDIENCE": "https://[a-z.-]+", "OUTPUT_BUCKET": "[a-z-]+"},
        "reference": {
            "rule": "digests",
            "images": [
                {
                    "image_digest": container["image_digest"],
                    "image_id": container["image_id"],
                    "env": env,
                    "args": container["args"],
                }
            ],
        },
    }
    return AppraisalPolicy.check({**fits, **changes}, "The policy")


def debug(name: str, **changes: Any) -> Inputs:
    token = (DATA / name).read_text()
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    keys = read_jwks((DATA / "google-jwks-2025-12-02.json").read_bytes(), "The key set")
    policy = debug_policy(claims, **changes)
    return Inputs(token, policy, keys, (), claims.get("eat_nonce"), DEBUG_ISSUED + 60)


@pytest.mark.parametrize("name", ["debug-sev-oidc.jwt", "debug-sev-oidc-nonce.jwt"])
def test_a_debug_token_is_refused_for_being_one_and_nothing_else(name: str) -> None:
    result = appraise(*debug(name).all())
    assert result.decision == "refused"
    # A debug image says so twice: by dbgstat, and by having no support attributes.
    assert [(check.name, check.input) for check in result.failed] == [
        ("debugging", "enabled"),
        ("support", "None"),
    ]
    assert "dbgstat is not disabled-since-boot" in result.failed[0].sentence
    assert result.image_digest == "sha256:57c5946e1067c9c019d82554416a2fa98438858f5ab8033a2575abfdcd24fb32"
    assert {check.answer for check in result.checks} == {"passed", "failed"}


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"audience": "https://ours.example"}, "audience"),
        ({"env_overrides": {"OUTPUT_BUCKET": "[a-z-]+"}}, "environment overrides"),
        ({"hwmodel": ["GCP_INTEL_TDX"]}, "hardware"),
        ({"swversion_minimum": 251002}, "software version"),
        ({"memory_monitoring": "forbidden", "gpu": "confidential"}, "GPU"),
    ],
    ids=str,
)
def test_and_for_more_under_a_policy_that_does_not_fit(changes: dict[str, Any], check: str) -> None:
    failed = {each.name for each in appraise(*debug("debug-sev-oidc-nonce.jwt", **changes).all()).failed}
    assert failed == {"debugging", "support", check}


def test_the_root_that_comes_with_the_project_is_googles() -> None:
    assert google().roots == (GOOGLE_ROOT,)
    assert google().oidc == ()
