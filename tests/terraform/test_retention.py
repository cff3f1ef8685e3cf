"""The table of retention, the code's collections, and Terraform's policies are of one mind, and its rules hold."""

from __future__ import annotations

from typing import Any

import pytest

from shared import retention
from shared.model.appraisal import AppraisalPolicy
from shared.model.attestation_payloads import NonceRegistered
from shared.model.workload import Workload
from shared.retention import DAY, EXPIRING, FOR_EVER
from tests.terraform import queries
from tests.terraform.harness import CHECKOUT
from tests.terraform.plans import resources


def test_every_collection_that_the_code_writes_has_its_place() -> None:
    unknown = {
        name: place for name, place in queries.collections().items() if name not in {*EXPIRING, *FOR_EVER}
    }
    assert unknown == {}, "say in shared/retention.py how long it is kept, and why"
    assert not EXPIRING.keys() & FOR_EVER.keys()


def test_every_collection_of_the_table_is_one_of_the_code() -> None:
    """A misspelt one would keep documents for ever without a word."""
    code = "\n".join(path.read_text() for path in queries.sources() if path.name != "retention.py")
    assert {name for name in {*EXPIRING, *FOR_EVER} if f'"{name}"' not in code} == set()


def test_terraform_sweeps_what_the_table_says(outer_plan: dict[str, Any]) -> None:
    swept = {
        (one.values["collection"], one.values["field"])
        for one in resources(outer_plan, "google_firestore_field")
        if one.values.get("ttl_config")
    }
    assert swept == {(collection, retention.FIELD) for collection in EXPIRING}


def test_no_field_of_ours_has_the_name_of_the_stores() -> None:
    """Nonces have `expires`, as seconds: a policy on that field would keep them for ever."""
    users = [path for path in queries.sources() if f'"{retention.FIELD}"' in path.read_text()]
    assert users == [CHECKOUT / "shared" / "retention.py"]


def test_claims_outlive_every_message(outer_plan: dict[str, Any]) -> None:
    """The longest that a subscription keeps messages, acknowledged ones too, and two weeks more."""
    kept = [
        int(str(one.values["message_retention_duration"]).removesuffix("s"))
        for one in resources(outer_plan, "google_pubsub_subscription")
    ]
    assert max(kept) == retention.HELD_DAYS * DAY
    assert EXPIRING["claims"].days * DAY >= max(kept) + 14 * DAY
    topics = [
        one.values.get("message_retention_duration") for one in resources(outer_plan, "google_pubsub_topic")
    ]
    assert set(topics) == {None}, "a topic that keeps messages can be sought back to as well"


@pytest.mark.parametrize(
    "guard", ["nonce-requests", "nonce-uses", "nonce-values", "token-uses", "shards", "endings"]
)
def test_what_happens_once_is_remembered_as_long_as_its_event(guard: str) -> None:
    assert EXPIRING[guard].days >= EXPIRING["claims"].days


def test_uses_outlive_every_nonce_and_token() -> None:
    longest = max(
        _most(AppraisalPolicy, "max_lifetime"),
        _most(AppraisalPolicy, "max_age"),
        _most(NonceRegistered, "seconds"),
    )
    for guard in ("nonce-uses", "nonce-values", "token-uses"):
        assert EXPIRING[guard].days * DAY > 24 * longest


def _most(model: Any, field: str) -> int:
    return int(next(each.le for each in model.model_fields[field].metadata if hasattr(each, "le")))


@pytest.mark.parametrize("named", ["blobs", "chunks", "endings", "verdicts", "vms", "workers"])
def test_what_a_run_names_outlives_its_document(named: str) -> None:
    """Written before the run's last word: by two installs and the watchdog's patience, and a seek back at the most."""
    hours = 2 * _most(Workload, "install_minutes") / 60 + 24
    assert EXPIRING[named].days * DAY >= EXPIRING["runs"].days * DAY + hours * 3600 + 7 * DAY


def test_content_and_its_parts_end_together() -> None:
    assert EXPIRING["blobs"].days == EXPIRING["chunks"].days > EXPIRING["appraisals"].days


def test_a_kept_machines_run_is_renewed_long_before_it_ends() -> None:
    assert EXPIRING["runs"].days >= retention.RENEW_DAYS + 60


def test_what_an_appraisal_tallies_has_no_end() -> None:
    assert {"votes", "revocations", "references", "lasting"} <= FOR_EVER.keys()


def test_the_reader_of_the_source_sees_writes_and_questions() -> None:
    source = """
def f(store, many):
    store.put([Put("a", "id", {}), Create("b", "id", {}), Increment("c", "id", "n", 1)])
    store.put_many("d" if many else "e", {})
    store.find("f", "state", "x")
    store.find("f", "state", "x", by="n", limit=2)
    readings.within("h", "of", "x", "at", 9, down=True)
    readings.total("i", {"of": "x", "gone": None}, "size")
    db.collection("g").where(filter=FieldFilter("since", "<", 1)).order_by("until").stream()
"""
    assert {name for name, _ in queries.written(source, "functions/x.py")} == {"a", "b", "c", "d", "e"}
    found = {(one.collection, one.fields) for one in queries.asked(source, "shared/gcp/x.py")}
    assert {("f", ("state",)), ("g", ("since", "until"))} < found
    found = {(one.collection, one.fields) for one in queries.asked(source, "functions/x.py")}
    assert found == {
        ("f", ("state",)),
        ("f", ("n", "state")),
        ("h", ("of", "at DESCENDING")),
        ("i", ("of", "gone", "size")),
    }
