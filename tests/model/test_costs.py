"""What VMs cost: never less than Google would ask, never a float, and never a guess."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.model import costs, prices
from shared.model.costs import Cost, Terms
from shared.model.workload import Workload

URL = "https://example.org/prices"
LINES = (
    {"family": "v5litepod", "region": "us-central1", "on_demand": "1.20", "spot": "0.244926"},
    {"family": "v5litepod", "region": "europe-west4", "on_demand": "1.56"},
)
LISTED = prices.Prices.check(
    {"currency": "USD", "date": "2026-11-22", "url": URL, "prices": list(LINES)}, "The list"
)
ZONE = "us-central1-a"


def workload(**given: Any) -> Workload:
    fields = {
        "name": "w",
        "runtime_version": "v2-alpha",
        "accelerator_type": "v5litepod-8",
        "install": "true",
        "smoke": "true",
    }
    return Workload.check(fields | given, "The workload")


def terms(**given: Any) -> Terms:
    return costs.terms(workload(**given), ZONE, LISTED)


def test_both_vms_for_as_long_as_they_may_take_and_then_the_kept_one() -> None:
    assert costs.estimated(terms(), 3000, True) == (
        "at most 16.00 USD for two VMs: v5litepod-8 (8 chips), on-demand in us-central1, at most 50 minutes each; "
        "from then on 9.60 USD an hour while the inner VM is kept (prices of 2026-11-22)"
    )
    assert "from then on" not in costs.estimated(terms(), 3000, False)


def test_spot_has_prices_of_its_own() -> None:
    found = costs.estimated(terms(provisioning="spot", accelerator_type="v5litepod-1"), 3600, True)
    assert found.startswith("at most 0.49 USD for two VMs: v5litepod-1 (1 chip), spot in us-central1")
    assert "0.244926 USD an hour" in found


def test_whoever_is_preempted_and_asked_for_again_costs_again() -> None:
    more = "and as much for each that is preempted"
    two = {"zones": [ZONE, "us-central1-b"]}
    assert more in costs.estimated(terms(provisioning="spot", **two), 3600, True)
    assert more not in costs.estimated(terms(provisioning="spot"), 3600, True)
    assert more not in costs.estimated(terms(**two), 3600, True)


def test_of_several_zones_the_dearest_counts() -> None:
    found = terms(zones=["us-central1-a", "europe-west4-b", "us-central1-b"])
    assert costs.estimate(found, 3600).amount == 2 * 8 * Decimal("1.56")
    assert "in us-central1 or europe-west4, at most 60 minutes each" in costs.estimated(found, 3600, True)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (
            {"zones": ["me-west1-b"]},
            f"no price known for v5litepod-8, on-demand, in me-west1; see {URL}",
        ),
        (
            {"zones": [ZONE, "me-west1-b"]},
            f"no price known for v5litepod-8, on-demand, in me-west1; see {URL}",
        ),
        (
            {"provisioning": "spot", "zones": ["europe-west4-a"]},
            f"no price known for v5litepod-8, spot, in europe-west4; see {URL}",
        ),
        (
            {"accelerator_type": "v6e-1"},
            f"no price known for v6e-1, on-demand, in us-central1; see {URL}",
        ),
        (
            {"accelerator_type": "v77x-3"},
            f"no price known for v77x-3, on-demand, in us-central1; see {URL}",
        ),
        ({"provisioning": "reserved"}, "paid for by the reservation"),
        ({"provisioning": "reserved", "reservation": "ours"}, "paid for by the reservation ours"),
    ],
)
def test_what_is_not_known_is_said_and_not_guessed(given: dict[str, Any], why: str) -> None:
    found = terms(**given)
    assert costs.estimated(found, 3000, True) == why
    assert costs.estimate(found, 3000).amount is None
    assert costs.vm(found, found.zones[-1], 0, 10) == Cost(None, None, why)


def test_every_second_that_has_begun_counts() -> None:
    second = Decimal("9.60") / 3600
    assert costs.vm(terms(), ZONE, 100.0, 100.0).amount == 0
    assert costs.vm(terms(), ZONE, 100.0, 100.001).amount == second
    assert costs.vm(terms(), ZONE, 100.0, 102.0).amount == Decimal("9.60") * 2 / 3600
    assert costs.vm(terms(), ZONE, 100.0, 50.0).amount == 0  # clocks differ


@given(st.floats(0, 1e7), st.floats(0, 1e7), st.decimals("0.000001", "99999", places=6))
def test_no_cent_is_forgotten(asked: float, lived: float, rate: Decimal) -> None:
    found = terms().model_copy(update={"rates": {"us-central1": f"{rate:f}"}})
    cost = costs.vm(found, ZONE, asked, asked + lived)
    assert isinstance(cost.amount, Decimal)
    said = Decimal(costs.money(cost.amount, found).removesuffix(" USD"))
    exact = rate * Decimal(asked + lived - asked) / 3600
    assert said >= exact.quantize(Decimal("0.0000001"))
    assert said - cost.amount < Decimal("0.01")


def test_amounts_as_people_write_them() -> None:
    found = terms()
    assert costs.money(Decimal("0.0001"), found) == "0.01 USD"
    assert costs.money(Decimal("12"), found) == "12.00 USD"
    assert costs.rate(Decimal("12"), found) == "12.00 USD an hour"
    assert costs.rate(Decimal("1200"), found) == "1200.00 USD an hour"
    assert costs.rate(Decimal("0.2449260"), found) == "0.244926 USD an hour"


# --- in documents -----------------------------------------------------------------------------------------------


def run() -> dict[str, Any]:
    return {"cost": costs.begun(terms(zones=[ZONE, "europe-west4-b"]), 3000, True)}


def test_the_runs_document_holds_what_a_store_takes_and_gives_it_back() -> None:
    found = run()["cost"]
    assert found["estimate"] == costs.estimated(terms(zones=[ZONE, "europe-west4-b"]), 3000, True)
    assert found["terms"]["rates"] == {"us-central1": "9.60", "europe-west4": "12.48"}
    assert costs.of_run(run()) == terms(zones=[ZONE, "europe-west4-b"])


@pytest.mark.parametrize(
    "damaged",
    [
        {},
        {"cost": None},
        {"cost": {}},
        {"cost": "1.20"},
        {"cost": {"terms": 1.2}},
        {"cost": {"terms": costs.begun(terms(), 1, True)["terms"] | {"rates": {"us-central1": 9.6}}}},
        {"cost": {"terms": costs.begun(terms(), 1, True)["terms"] | {"rates": {"us-central1": "nan"}}}},
        {"cost": {"terms": costs.begun(terms(), 1, True)["terms"] | {"of a later version": 1}}},
    ],
)
def test_terms_that_cannot_be_read_stand_in_nobodys_way(damaged: dict[str, Any]) -> None:
    assert costs.of_run(damaged) is None
    assert costs.billed(damaged, {"zone": ZONE, "asked": 0.0}, 60) == {}


def test_a_vm_is_billed_where_it_was_until_it_ended() -> None:
    record = {"zone": "europe-west4-b", "asked": 1000.0, "ended": 1000.0 + 1800, "tried": [{"zone": ZONE}]}
    assert costs.billed(run(), record, 1e9) == {
        "zone": "europe-west4-b",
        "until": 2800.0,
        "at_most": "6.24 USD",
        "rate": "12.48 USD an hour",
        "why": "",
    }
    assert costs.billed({}, record, 1e9) == {}
    going_on = {key: value for key, value in record.items() if key != "ended"}
    assert costs.billed(run(), going_on, 1000.0 + 3600)["at_most"] == "12.48 USD"


def test_a_reserved_vm_is_billed_to_its_reservation() -> None:
    found = {"cost": costs.begun(terms(provisioning="reserved", reservation="ours"), 3000, True)}
    billed = costs.billed(found, {"zone": ZONE, "asked": 0.0}, 60)
    assert (billed["at_most"], billed["rate"]) == ("", "")
    assert billed["why"] == "paid for by the reservation ours"


def test_vms_that_were_preempted_cost_too() -> None:
    begun = terms(zones=[ZONE, "europe-west4-b"])
    first = {"zone": ZONE, "asked": 0.0, "tried": []}
    record = {
        "zone": "europe-west4-b",
        "asked": 3600.0,
        "ended": 7200.0,
        "tried": [{}],
        "lives": {"0": costs.life(first, 3600.0)},
    }
    cost = costs.of_record(begun, record, 1e9)
    assert cost.amount == Decimal("9.60") + Decimal("12.48")
    assert cost.rate == Decimal("12.48")


def test_waiting_in_a_queue_costs_nothing() -> None:
    record = {"zone": ZONE, "asked": 0.0, "tried": [{}], "seen": {"1": 86_400.0}, "ended": 90_000.0}
    seconds = 90_000 - 86_400 + 120  # the watchdog saw the VM after it had come
    assert costs.of_record(terms(), record, 1e9).amount == Decimal("9.60") * seconds / 3600
    assert costs.of_record(terms(), record | {"seen": {"1": 30.0}}, 1e9).amount == Decimal("9.60") * 25
    assert costs.of_record(terms(), record | {"seen": {"0": 86_400.0}}, 1e9).amount == Decimal("9.60") * 25
