"""A run's data service on the real platform: built twice, launched, appraised; tampered with; killed in between."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.local.services import Services
from functions.local.trust import BUILDERS
from shared.appraisal import dsse
from shared.appraisal.builders import read as read_builders
from shared.model.appraisal import AppraisalResult
from shared.ports.store import Document
from tests.chain.system import System, eventually

SERVICE = "quickstart_data"
SERVED = {"data_services": [SERVICE]}

pytestmark = pytest.mark.network  # the image's inputs are real packages


@pytest.fixture(scope="module")
def served(system: System) -> str:
    """The digest of the service's image, which runs from now on."""
    return Services(system.layout, system.up).bring_up(SERVICE, False, lambda _: None)


@pytest.fixture(scope="module")
def accepted(system: System, served: str) -> Document:
    """A run that has ended, with the service that it served."""
    return system.ended(system.request("accepted", **SERVED))


def answer(run: Document) -> dict[str, Any]:
    found: dict[str, Any] = run["attestation"][SERVICE]
    return found


def test_a_run_ends_with_its_service_accepted_and_one_byte_is_refused(system: System, tmp_path: Path) -> None:
    done, report = system.run(tmp_path, **SERVED)
    assert done.returncode == 0, done.stdout + done.stderr
    good = report["attestation"]
    assert good == {
        "image_digest": good["image_digest"],
        "builders": sorted(BUILDERS),
        "decision": "accepted",
        "failed_checks": [],
    }
    assert "attestation accepted" in done.stdout
    assert report["stages"]["attestation"] > 0

    done, report = system.run(tmp_path, "--tamper", **SERVED)
    assert done.returncode == 1
    refused = report["attestation"]
    assert refused["decision"] == "refused"
    assert refused["image_digest"] != good["image_digest"]
    assert any("image digest" in check for check in refused["failed_checks"])
    assert "image digest" in report["reason"]
    assert system.vms() == {}

    # The platform goes on without the image that was tampered with.
    run = system.ended(system.request("after-tampering", **SERVED))
    assert (run["state"], answer(run)["image_digest"]) == ("completed", good["image_digest"])


def test_the_stored_result_explains_itself_and_its_summary_is_signed(
    system: System, served: str, accepted: Document
) -> None:
    told = answer(accepted)
    result = AppraisalResult.read(system.connection.blobs.get(told["result"]), "The result")
    assert (result.decision, result.image_digest, result.failed) == ("accepted", served, ())
    assert told["checks"] == len(result.checks) > 40
    envelope = dsse.read(system.connection.blobs.get(told["summary"]))
    said = json.loads(envelope.unverified_payload)
    assert said["predicate"]["verificationResult"] == "PASSED"
    assert said["subject"][0]["digest"]["sha256"] == served.removeprefix("sha256:")
    builders = read_builders(system.layout.home / "trust" / "builders.yaml")
    assert [each.id for each in builders.builders] == list(BUILDERS)


@pytest.mark.parametrize("victim", ["attestation", "inner"])
def test_a_stage_killed_while_a_service_is_awaited_changes_nothing(
    system: System, served: str, victim: str
) -> None:
    run_id = system.request(f"killed-{victim}", **SERVED)
    eventually(lambda: system.get("runs", run_id).get("stage") in ("inner", "attestation"))
    ended: Callable[[], bool] = lambda: system.get("runs", run_id).get("state") != "running"  # noqa: E731
    deaths = 0
    while not ended() and deaths < 4:
        if system.get("runs", run_id).get("stage") == "attestation":
            system.kill(victim)
            deaths += 1
        time.sleep(0.3)
    run = system.ended(run_id)
    assert (run["state"], answer(run)["decision"], answer(run)["image_digest"]) == (
        "completed",
        "accepted",
        served,
    )


def test_a_service_that_stands_still_is_waited_for(system: System, served: str) -> None:
    """Its answer comes late, but within the nonce's time."""
    run_id = ""
    with system.paused("confidential-space"):
        run_id = system.request("late", **SERVED)
        eventually(lambda: system.get("runs", run_id).get("stage") == "attestation")
        time.sleep(3)
        assert system.get("runs", run_id)["state"] == "running"
    assert system.ended(run_id)["state"] == "completed"


def test_no_token_is_in_any_log(system: System, accepted: Document) -> None:
    """Tokens begin like every JSON Web Token; nothing else does."""
    assert answer(accepted)["decision"] == "accepted"
    for log in system.layout.logs.glob("*.log"):
        assert "eyJhbGciOi" not in log.read_text(errors="replace"), log
