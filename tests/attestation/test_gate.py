"""A run that names a data service completes only after that service's token was accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import Permanent
from shared.events import derived_id, run_id_of
from shared.machines import vm_name
from shared.model.value import sha256
from tests.appraisal import forge
from tests.attestation.world import SERVED, SERVICE, Attested, honest, silent, token
from tests.stages.world import WORKLOAD

Make = Callable[..., Attested]


def test_an_accepted_service_completes_the_run(world: Attested) -> None:
    world.agreed()
    run_id = world.request(SERVED)
    run = world.run(run_id)
    assert (run["state"], run["stage"], world.bus.dead, world.raised) == ("completed", "attestation", [], [])
    answer = run["attestation"][SERVICE]
    assert (answer["decision"], answer["failed_checks"]) == ("accepted", [])
    assert answer["image_digest"] == sha256(b"manifest")
    assert answer["builders"] == ["https://builders.example/alice", "https://builders.example/bob"]
    (completed,) = world.events("run-completed")
    assert (completed.lock, completed.inner_vm) == (run["lock"], vm_name("inner", run_id))
    assert run["stages"]["attestation"]["started"] <= run["stages"]["attestation"]["ended"]
    assert world.vms.get(vm_name("inner", run_id))
    world.sweep()
    assert world.vms.get(vm_name("inner", run_id)), "the watchdog spares it"


def test_an_attestation_stands_in_its_runs_trace(world: Attested) -> None:
    """A token speaks for no run, and its bringer places it nowhere: the answer does, by the nonce."""
    caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    world.agreed()
    run_id = world.request(SERVED, {"traceparent": caller})
    assert world.run(run_id)["state"] == "completed"
    found = {fields["name"]: fields for _, fields in world.store.find("spans", "run_id", run_id)}
    asked, answered = found["attestation nonce-requested"], found["attestation attestation-requested"]
    assert found["inner attestation-appraised"]["parent"] == answered["id"]
    assert found["inner inner-install-completed"]["id"] == asked["parent"]
    assert {fields["trace"] for fields in found.values()} == {caller[3:35]}


def test_without_a_data_service_nobody_is_asked(world: Attested) -> None:
    run_id = world.request(WORKLOAD)
    assert world.run(run_id)["state"] == "completed"
    assert world.events("nonce-requested") == []


def test_two_services_are_asked_one_after_the_other(world: Attested) -> None:
    world.agreed()
    run_id = world.request(WORKLOAD.model_copy(update={"data_services": ("second", SERVICE)}))
    run = world.run(run_id)
    assert run["state"] == "completed"
    assert [each.service for each in world.appraised()] == ["second", SERVICE]
    assert {name: each["decision"] for name, each in run["attestation"].items()} == {
        "second": "accepted",
        SERVICE: "accepted",
    }


def test_a_refused_service_fails_the_run_with_its_checks(make: Make) -> None:
    def other_image(issued: dict[str, Any]) -> dict[str, Any]:
        def change(claims: dict[str, Any]) -> None:
            claims["submods"]["container"]["image_digest"] = sha256(b"tampered")

        return honest(issued) | {"token": token(issued, change)}

    world = make(answer=other_image)
    world.agreed()
    run_id = world.request(SERVED)
    run = world.run(run_id)
    assert (run["state"], run["stage"]) == ("failed", "attestation")
    assert "image digest" in run["reason"]
    assert run["attestation"][SERVICE]["image_digest"] == sha256(b"tampered")
    assert run["attestation"][SERVICE]["decision"] == "refused"
    assert world.events("run-completed") == []
    assert world.vms.get(vm_name("inner", run_id)) is None, (
        "nobody may process data beside an unknown service"
    )


def test_a_service_whose_image_nobody_rebuilt_is_refused(world: Attested) -> None:
    world.build()
    run = world.run(world.request(SERVED))
    assert run["state"] == "failed"
    assert "image digest" in run["reason"]


def test_a_silent_service_fails_the_run_in_time(make: Make) -> None:
    world = make(answer=silent)
    world.agreed()
    run_id = world.request(SERVED)
    world.sweep()
    assert (world.run(run_id)["state"], world.run(run_id)["stage"]) == ("running", "attestation")
    assert world.vms.get(vm_name("inner", run_id)), "the VM waits with the run"
    world.ahead += 601
    world.sweep()
    run = world.run(run_id)
    assert run["state"] == "failed"
    assert run["reason"].startswith(f"The data service {SERVICE} did not hand in a token in time")
    world.sweep()
    assert world.vms.get(vm_name("inner", run_id)) is None


def test_a_service_without_a_policy_fails_the_run(world: Attested) -> None:
    run = world.run(world.request(WORKLOAD.model_copy(update={"data_services": ("unknown",)})))
    assert (run["state"], run["reason"]) == ("failed", "There is no data service 'unknown'.")


@pytest.mark.parametrize("seed", range(4))
def test_delivered_three_times_and_shuffled_it_ends_the_same(make: Make, seed: int) -> None:
    world = make(copies=3, max_delay=0.1, seed=seed)
    world.agreed()
    run_id = world.request(SERVED)
    assert (world.run(run_id)["state"], world.bus.dead, world.raised) == ("completed", [], [])
    # A service that hears its nonce twice answers twice; only the first answer speaks for the run.
    assert {each.decision for each in world.appraised() if each.run_id} == {"accepted"}
    assert len(world.events("nonce-issued")) == 1


def test_a_service_that_sends_its_token_twice_does_not_end_its_own_run(make: Make) -> None:
    """Pub/Sub may publish one request twice: the second is refused as a replay, and speaks for nobody's run."""
    world = make(answer=silent)
    world.agreed()
    run_id = world.request(SERVED)
    issued = world.events("nonce-issued")[0].model_dump(mode="json")
    handed = honest(issued)
    world.send("attestation-requested", handed)
    world.send("attestation-requested", handed)
    assert world.run(run_id)["state"] == "completed"
    assert [(each.decision, each.run_id) for each in world.appraised()] == [
        ("accepted", run_id),
        ("refused", ""),
    ]


def test_a_forged_answer_about_another_service_changes_nothing(make: Make) -> None:
    world = make(answer=silent)
    run_id = world.request(SERVED)
    forged = {
        "run_id": run_id,
        "service": "second",
        "nonce_id": "x" * 16,
        "decision": "accepted",
        "failed_checks": [],
        "image_digest": "",
        "builders": [],
        "token": sha256(b""),
        "result": sha256(b""),
        "summary": None,
        "checks": 1,
    }
    world.send("attestation-appraised", forged)
    assert world.run(run_id)["state"] == "running"


def test_the_watchdog_does_not_read_runs_that_have_ended(make: Make) -> None:
    """Runs are kept for ever; the watchdog comes every minute."""
    world = make()
    world.agreed()
    world.request(SERVED)
    find, read = world.store.find, []

    def noted(collection: str, field: str, equals: Any) -> Any:
        found = find(collection, field, equals)
        read.extend(found if collection == "runs" else ())
        return found

    world.store.find = noted  # type: ignore[method-assign]
    world.sweep()
    assert read == []


# --- nobody ends the run of another ------------------------------------------------------------------------------


def test_a_request_for_a_nonce_that_no_run_waits_for_ends_no_run(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relying party may ask for nonces too, and can name any run."""
    made = forge.policy_with
    monkeypatch.setattr(forge, "policy_with", lambda **more: made(token_types=["PKI"], **more))
    world = make(answer=silent)
    run_id = world.request(SERVED)
    world.send("nonce-requested", {"run_id": run_id, "service": "unknown"})
    world.send("nonce-requested", {"run_id": run_id, "service": "second", "token_type": "OIDC"})
    awaited = {"run_id": run_id, "service": SERVICE, "token_type": "OIDC"}
    world.send("nonce-requested", awaited, **{"replay-id": "another"})
    assert len(world.bus.dead) == 3
    assert world.run(run_id)["state"] == "running"


def test_a_token_that_cannot_be_appraised_ends_no_run_that_it_merely_names(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that cannot be had are the stage's trouble; the run in the request is its sender's word."""
    world = make(answer=silent)
    run_id = world.request(SERVED)
    monkeypatch.setattr(forge, "keys", _unreadable)
    world.hand_in({**world.ask(), "run_id": run_id})
    assert world.bus.dead[-1][2] == "The root cannot be read."
    assert world.run(run_id)["state"] == "running"


def _unreadable() -> None:
    raise Permanent("The root cannot be read.")


def test_who_knows_a_run_does_not_know_its_nonce(make: Make) -> None:
    """Who uses a nonce speaks for its run: its id must not follow from what many know, run and service."""
    world = make(answer=silent)
    world.agreed()
    run_id = world.request(SERVED)
    (issued,) = (each.model_dump(mode="json") for each in world.events("nonce-issued"))
    asked = derived_id(run_id, "nonce-requested", SERVICE)
    guessed = sha256(f"nonce {asked}".encode())[7:39]
    world.hand_in({**issued, "nonce_id": guessed}, "no.token.atall")
    assert world.run(run_id)["state"] == "running"
    world.hand_in(issued)
    assert world.run(run_id)["state"] == "completed"


def test_who_asks_before_the_run_does_not_take_its_place(world: Attested) -> None:
    """Whoever may ask for nonces can name a run, also one that does not wait yet: its own question must still count."""
    world.agreed()
    world.send("nonce-requested", {"run_id": run_id_of("known"), "service": SERVICE})
    world.request(SERVED, {"ce-id": "known"})
    assert world.run(run_id_of("known"))["state"] == "completed"
