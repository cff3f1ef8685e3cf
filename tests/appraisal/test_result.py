"""What an appraisal answers: the same inputs the same bytes, nothing of the token, and a SLSA summary."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest

from shared.appraisal.appraise import CHECKS, DEFECT, appraise
from shared.appraisal.case import Case, Question
from shared.errors import Permanent
from shared.model.appraisal import AppraisalResult
from shared.model.value import sha256
from tests.appraisal import forge
from tests.appraisal.corpus import HOSTILE

STATEMENT = "https://in-toto.io/Statement/v1"


def test_an_accepted_token_has_every_check_passed() -> None:
    token = forge.oidc()
    result = appraise(*forge.good(token).all())
    assert [check.number for check in result.checks] == list(range(1, len(CHECKS) + 1))
    assert {check.answer for check in result.checks} == {"passed"}
    assert result.token == sha256(token.encode())
    assert result.policy == forge.policy().digest
    assert result.reference == forge.reference().digest
    assert result.builders == forge.reference().builders
    assert result.nonce == sha256(forge.NONCE.encode())
    assert result.valid_until == forge.NOW + 3590
    assert result.key_id == forge.KID


def test_an_acceptance_ends_with_the_reference_value() -> None:
    soon = forge.NOW + 100
    result = appraise(*forge.good(references=(forge.reference(expires=soon),)).all())
    assert result.valid_until == soon


def test_a_token_of_bytes_is_the_same_token() -> None:
    token = forge.oidc()
    assert appraise(*forge.good(token.encode()).all()) == appraise(*forge.good(token).all())


def test_the_same_inputs_give_the_same_bytes() -> None:
    for hostile in HOSTILE[::25]:
        first, second = (appraise(*hostile.bad().all()) for _ in range(2))
        assert first.canonical() == second.canonical()
        assert first.summary_bytes() == second.summary_bytes()


def test_the_order_of_references_changes_nothing() -> None:
    several = (forge.reference(), forge.reference(image="collector"), forge.reference(expires=forge.NOW + 99))
    one = appraise(*forge.good(references=several).all())
    other = appraise(*forge.good(references=several[::-1]).all())
    assert one.decision == "accepted"
    assert one.canonical() == other.canonical()


def test_a_result_reads_back() -> None:
    result = appraise(*forge.good().all())
    assert AppraisalResult.read(result.canonical(), "The result") == result


def test_a_decision_that_does_not_follow_from_its_checks_is_not_read() -> None:
    refused = appraise(*forge.good("x").all()).model_dump(mode="json")
    with pytest.raises(Permanent, match="does not follow from the checks"):
        AppraisalResult.check({**refused, "decision": "accepted"}, "The result")


@pytest.mark.parametrize("kind", ["OIDC", "PKI"])
def test_nothing_of_the_token_is_in_the_result(kind: str) -> None:
    token = forge.oidc() if kind == "OIDC" else forge.pki()
    text = appraise(*forge.good(token).all()).canonical().decode()
    signature = token.rpartition(".")[2]
    for part in token.split("."):
        for at in range(0, len(part) - 24, 8):
            assert part[at : at + 24] not in text
    assert base64.urlsafe_b64decode(signature + "==").hex()[:24] not in text
    assert forge.NONCE not in text
    assert "a b" not in text, "the value of an overridden variable"


def test_no_hostile_token_gets_its_bytes_into_the_result() -> None:
    for hostile in HOSTILE:
        inputs = hostile.bad()
        token = inputs.token if isinstance(inputs.token, str) else inputs.token.decode(errors="replace")
        text = appraise(*inputs.all()).canonical().decode()
        for part in token.split("."):
            if len(part) > 40:
                assert part[:40] not in text, hostile.name


def test_the_summary_of_an_accepted_token() -> None:
    result = appraise(*forge.good().all())
    assert result.summary("https://dmz.example.com/attestation") == {
        "_type": STATEMENT,
        "subject": [{"name": "aggregator", "digest": {"sha256": forge.MANIFEST[7:]}}],
        "predicateType": "https://slsa.dev/verification_summary/v1",
        "predicate": {
            "verifier": {"id": "https://dmz.example.com/attestation"},
            "timeVerified": "2026-09-21T14:13:20Z",
            "resourceUri": f"pkg:oci/aggregator@sha256%3A{forge.MANIFEST[7:]}",
            "policy": {
                "uri": "urn:package-dmz:appraisal-policy:aggregator",
                "digest": {"sha256": forge.policy().digest[7:]},
            },
            "inputAttestations": [
                {"uri": "urn:package-dmz:confidential-space-token", "digest": {"sha256": result.token[7:]}},
                {
                    "uri": "urn:package-dmz:reference-value",
                    "digest": {"sha256": forge.reference().digest[7:]},
                },
            ],
            "verificationResult": "PASSED",
            "verifiedLevels": ["CONFIDENTIAL_SPACE_WORKLOAD", "INDEPENDENTLY_REBUILT"],
            "slsaVersion": "1.1",
        },
    }


def test_the_summary_of_a_refused_token_is_about_what_is_known() -> None:
    unknown = appraise(*forge.good("x.y.z").all())
    predicate: Any = unknown.summary()
    assert predicate["subject"] == [{"name": "token", "digest": {"sha256": unknown.token[7:]}}]
    assert predicate["predicate"]["verificationResult"] == "FAILED"
    assert predicate["predicate"]["verifiedLevels"] == ["FAILED"]
    other = forge.claims(lambda found: found.update(dbgstat="enabled"))
    known: Any = appraise(*forge.good(forge.oidc(other)).all()).summary()
    assert known["subject"][0]["digest"] == {"sha256": forge.MANIFEST[7:]}
    assert known["predicate"]["verificationResult"] == "FAILED"
    assert json.loads(json.dumps(known)) == known


def test_a_defect_of_a_check_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(case: Case) -> str:
        raise ZeroDivisionError

    changed = tuple(
        Question(each.name, broken, each.holds) if each.name == "maker" else each for each in CHECKS
    )
    forge.asked(monkeypatch, changed)
    result = appraise(*forge.good().all())
    assert result.decision == "refused"
    assert [(each.name, each.sentence) for each in result.failed] == [("maker", DEFECT)]


@pytest.mark.parametrize("now", [math.nan, math.inf, -math.inf, -1.0])
def test_a_time_that_is_none_is_the_callers_mistake(now: float) -> None:
    with pytest.raises(Permanent, match="must be a number of seconds"):
        appraise(*forge.good(now=now).all())


def test_claims_are_not_read_before_the_signature() -> None:
    result = appraise(*forge.good(forge.oidc({"x": 1}, signing=forge.key("foreign"))).all())
    reached = [check.name for check in result.checks if check.answer != "not reached"]
    assert reached[-1] == "signature"
    assert (result.image_digest, result.image_id, result.key_id) == ("", "", "")


@pytest.mark.parametrize(
    ("path", "value"),
    [("cmd_override", None), ("cmd_override", []), ("env_override", None), ("env_override", {})],
    ids=str,
)
def test_overrides_that_are_none(path: str, value: object) -> None:
    content = forge.claims()
    container = content["submods"]["container"]
    container[path] = value
    if path == "env_override":
        del container["env"]["FCP_OPTS"]
    assert appraise(*forge.good(forge.oidc(content)).all()).decision == "accepted"


def test_other_nonces_where_the_policy_takes_them() -> None:
    content = forge.claims(
        lambda found: found.update(eat_nonce=["another nonce of 33 characters...", forge.NONCE])
    )
    held_to = forge.policy_with(nonce={"alone": False})
    assert appraise(*forge.good(forge.oidc(content), policy=held_to).all()).decision == "accepted"


def test_a_list_of_our_nonce_alone_is_our_nonce() -> None:
    content = forge.claims(lambda found: found.update(eat_nonce=[forge.NONCE]))
    assert appraise(*forge.good(forge.oidc(content)).all()).decision == "accepted"


def test_a_policy_without_a_nonce_still_holds_the_token_to_one_that_was_issued() -> None:
    held_to = forge.policy_with(nonce={"required": False})
    assert appraise(*forge.good(policy=held_to, nonce=None).all()).decision == "accepted"
    assert appraise(*forge.good(policy=held_to, nonce="another nonce").all()).failed[0].name == "nonce"


def test_a_pki_token_without_key_id_is_taken() -> None:
    header = forge.pki_header()
    del header["kid"]
    assert appraise(*forge.good(forge.pki(header=header)).all()).decision == "accepted"


def test_other_platforms_images_under_one_index_do_not_conflict() -> None:
    config = forge.CONFIG + " "
    other = forge.reference(
        index=forge.INDEX,
        manifest=sha256(b"arm64"),
        config=sha256(config.encode()),
        config_json=config,
        lock=sha256(b"arm64 lock"),
    )
    content = forge.claims(lambda found: found["submods"]["container"].update(image_digest=forge.INDEX))
    references = (other, forge.reference(index=forge.INDEX))
    result = appraise(*forge.good(forge.oidc(content), references=references).all())
    assert result.decision == "accepted"
    assert result.reference == references[1].digest
