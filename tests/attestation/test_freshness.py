"""Nonces and tokens count once; a token is a credential and is kept nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.appraisal import dsse
from shared.model.value import sha256
from tests.appraisal import forge
from tests.attestation.world import SERVICE, Attested, honest, silent, token
from tests.provenance import makers

Make = Callable[..., Attested]
FRESH = ("nonce issued", "nonce unused", "token unused")


@pytest.fixture
def world(make: Make) -> Attested:
    made = make(answer=silent)
    made.agreed()
    return made


def failed(world: Attested) -> list[str]:
    """Names of the checks that the last appraisal failed."""
    return [check.name for check in world.result(world.appraised()[-1]).failed]


def test_an_accepted_token_has_a_result_with_every_numbered_check(world: Attested) -> None:
    world.hand_in(world.ask())
    (told,) = world.appraised()
    result = world.result(told)
    assert (told.decision, told.failed_checks, result.decision) == ("accepted", (), "accepted")
    assert [check.number for check in result.checks] == list(range(1, len(result.checks) + 1))
    assert tuple(check.name for check in result.checks[-3:]) == FRESH
    assert told.checks == len(result.checks) > 40
    document = world.store.find("appraisals", "service", SERVICE)[0][1]
    assert (document["decision"], document["result"]) == ("accepted", told.result)


def test_the_verification_summary_is_signed_by_the_stage(world: Attested) -> None:
    world.hand_in(world.ask())
    envelope = dsse.read(world.blobs.get(world.appraised()[0].summary))
    ((keyid, signature),) = envelope.signatures
    assert keyid == makers.keyid("verifier")
    key = dsse.public_key(makers.pem("verifier"), "The key")
    assert key.verifies(signature, envelope.unverified_payload)
    said = json.loads(envelope.unverified_payload)
    assert said["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert said["predicate"]["verificationResult"] == "PASSED"


def test_a_stage_without_a_key_answers_without_a_summary(make: Make) -> None:
    world = make(answer=silent, signer=None)
    world.agreed()
    world.hand_in(world.ask())
    (told,) = world.appraised()
    assert (told.decision, told.summary) == ("accepted", None)


def test_a_redelivered_request_gets_its_stored_appraisal(world: Attested) -> None:
    handed = honest(world.ask())
    for _ in range(3):
        world.send("attestation-requested", handed, **{"ce-id": "one-request"})
    assert [each.decision for each in world.appraised()] == ["accepted"]
    assert world.bus.dead == []


def test_the_same_token_under_another_event_id_is_refused(world: Attested) -> None:
    first, second = world.ask(), world.ask()
    handed = honest(first)
    world.send("attestation-requested", handed, **{"ce-id": "first"})
    world.send("attestation-requested", handed, **{"ce-id": "second"})
    assert failed(world) == ["nonce unused", "token unused"]
    world.send("attestation-requested", honest(second) | {"token": handed["token"]})
    assert failed(world) == ["nonce", "token unused"]


def test_the_same_nonce_with_another_token_is_refused(world: Attested) -> None:
    issued = world.ask()
    world.hand_in(issued)
    world.hand_in(issued, token(issued, lambda claims: claims.update(exp=claims["exp"] - 1)))
    assert failed(world) == ["nonce unused"]


@pytest.mark.parametrize("copies", [1, 4])
def test_two_requests_at_once_over_two_instances_are_one_acceptance(make: Make, copies: int) -> None:
    world = make(answer=silent, copies=copies, max_delay=0.05)
    world.agreed()
    handed = honest(world.ask())
    for name in range(6):
        world.bus.send("attestation-requested", json.dumps(handed).encode(), {"ce-id": f"request-{name}"})
    world.quiet()
    decisions = [fields["decision"] for _, fields in world.store.find("appraisals", "service", SERVICE)]
    assert sorted(decisions) == ["accepted"] + ["refused"] * 5


def test_a_nonce_that_nobody_issued_proves_nothing(world: Attested) -> None:
    """The token carries it, and the request names it: both come from the sender."""
    issued = {"run_id": "", "service": SERVICE, "nonce_id": "made-up-by-sender", "nonce": "made-up-by-sender"}
    world.hand_in(issued)
    assert failed(world) == ["nonce", "nonce issued"]


def test_a_nonce_is_worthless_after_its_time(world: Attested) -> None:
    issued = world.ask()
    assert issued["expires"] - int(world.then()) in (299, 300)
    world.shift += 301
    world.hand_in(issued)
    assert "nonce issued" in failed(world)


def test_a_nonce_of_another_service_is_refused_and_not_used_up(world: Attested) -> None:
    issued = world.ask()
    world.hand_in({**issued, "service": "second"})
    assert "nonce issued" in failed(world)
    world.hand_in(issued, token(issued, lambda claims: claims.update(exp=claims["exp"] - 1)))
    assert world.appraised()[-1].decision == "accepted"


def test_a_nonce_of_one_run_does_not_serve_another(world: Attested) -> None:
    world.hand_in({**world.ask(), "run_id": "run-0123456789ab"})
    assert "nonce issued" in failed(world)
    assert world.appraised()[-1].run_id == ""


def test_one_request_gets_one_nonce_however_often_it_comes(make: Make) -> None:
    world = make(answer=silent, copies=3, max_delay=0.05)
    world.ask()
    assert len({each.nonce for each in world.events("nonce-issued")}) == 1
    world.ask()
    assert len({each.nonce for each in world.events("nonce-issued")}) == 2


def test_a_kind_of_token_that_the_policy_does_not_take_is_not_asked_for(
    world: Attested, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = forge.policy_with
    monkeypatch.setattr(forge, "policy_with", lambda **more: made(token_types=["PKI"], **more))
    world.send("nonce-requested", {"service": SERVICE, "token_type": "OIDC"})
    assert "takes tokens of the kind PKI, not OIDC" in world.bus.dead[-1][2]
    assert world.events("nonce-issued") == []


# --- a relying party's own nonce --------------------------------------------------------------------------------

OWN = {"service": SERVICE, "nonce_id": "relying-party-0001", "nonce": "brought-by-a-relying-party"}


def test_a_registered_nonce_counts_once(world: Attested) -> None:
    world.send("nonce-registered", OWN)
    issued = {**OWN, "run_id": ""}
    world.hand_in(issued)
    assert world.appraised()[-1].decision == "accepted"
    world.hand_in(issued, token(issued, lambda claims: claims.update(exp=claims["exp"] - 1)))
    assert failed(world) == ["nonce unused"]


@pytest.mark.parametrize("again", [{}, {"nonce_id": "relying-party-0002"}])
def test_a_nonce_that_was_known_is_not_registered_again(world: Attested, again: dict[str, Any]) -> None:
    world.send("nonce-registered", OWN)
    world.send("nonce-registered", OWN | again)
    assert "was registered before" in world.bus.dead[-1][2]


def test_an_id_is_not_given_to_another_nonce(world: Attested) -> None:
    world.send("nonce-registered", OWN)
    world.send("nonce-registered", OWN | {"nonce": "another-nonce-altogether"})
    assert "another nonce with the id" in world.bus.dead[-1][2]
    world.hand_in({**OWN, "run_id": ""})
    assert world.appraised()[-1].decision == "accepted"


# --- the token is kept nowhere ----------------------------------------------------------------------------------


def everything(world: Attested) -> bytes:
    """All that the store, the blobs, dead letters and published events hold."""
    kept = [repr(world.store._documents), repr(world.blobs._content), repr(world.bus.dead)]
    kept += [event.body().decode() for event in world.bus.published]
    return "\n".join(kept).encode()


def test_no_token_stays_anywhere(world: Attested, capsys: pytest.CaptureFixture[str]) -> None:
    issued = world.ask()
    good, bad = token(issued), forge.oidc(forge.claims(lambda claims: claims.update(aud="somebody else")))
    world.hand_in(issued, good)
    world.hand_in(issued, bad)
    world.hand_in({**issued, "service": "unknown"}, good)
    world.send("attestation-requested", {"token": good, "service": SERVICE})
    world.send("run-requested", {"workload": "small", "token": bad})
    world.bus.send("attestation-requested", good.encode(), {})
    world.quiet()
    assert len(world.bus.dead) == 4
    held = everything(world)
    out = capsys.readouterr()
    for each in (good, bad):
        for part in (each, each.partition(".")[2], each.rpartition(".")[2]):
            assert part.encode() not in held
            assert part not in out.out + out.err
        assert sha256(each.encode()).encode() in held


def test_a_token_that_never_gets_through_is_not_kept_either(make: Make) -> None:
    """Deliveries that all fail end in a dead letter: Pub/Sub's own would hold the whole message."""

    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("the store is gone")

    world = make(answer=silent)
    issued = world.ask()
    object.__setattr__(world.desks["attestation"], "store", Broken())
    world.hand_in(issued)
    ((body, _, _),) = world.bus.dead
    assert token(issued).rpartition(".")[2].encode() not in body
    assert b"hidden" in body


def test_a_nonce_is_marked_with_the_service_that_it_is_for(world: Attested) -> None:
    """By this each service's subscription takes its own alone."""
    world.ask()
    (issued,) = {event.id: event for event in world.bus.published if event.type == "nonce-issued"}.values()
    assert issued.attributes()["service"] == SERVICE
