"""What VMs cost, as the summary and the status say it: nobody shall forget a TPU that costs money."""

from __future__ import annotations

import json
from typing import Any

import pytest

from functions.ctl import bill, summary
from functions.ctl.report import Facts, report
from shared.model import costs, prices
from shared.model.workload import Workload, find
from shared.ports.machines import Vm
from shared.settings import Settings
from tests.ctl.samples import RUN_ID, run

NAME = "dmz-inner-0123456789ab"
ENTER = f"gcloud alpha compute tpus tpu-vm ssh {NAME} --zone=us-central1-a --project=p --tunnel-through-iap --worker=0"
SETTINGS = Settings("p")
HOUR = 3600.0


def workload(**changed: Any) -> Workload:
    return find("quickstart").model_copy(update=changed)


def begun(**changed: Any) -> dict[str, Any]:
    """The document of a completed run whose VMs are paid for as `changed` says."""
    terms = costs.terms(workload(**changed), "us-central1-a", prices.read(""))
    inner = run()["inner"] | {"enter": ENTER, "sealed_by": "sealed by route only"}
    return run(cost=costs.begun(terms, 3000, True), after="keep", inner=inner)


def records(**inner: Any) -> dict[str, dict[str, Any]]:
    zone = {"zone": "us-central1-a", "tried": []}
    return {
        "outer": {"kind": "outer", "asked": 0.0, "ended": 0.5 * HOUR} | zone,
        "inner": {"kind": "inner", "asked": 0.5 * HOUR} | zone | inner,
    }


def test_the_estimate_says_who_pays() -> None:
    paid = bill.estimate(workload(), SETTINGS, True)
    assert paid.startswith(
        "at most 2.00 USD for two VMs: v5litepod-1 (1 chip), on-demand in us-central1, at most 50"
    )
    here = bill.estimate(workload(), SETTINGS, False)
    assert here == f"on Google Cloud {paid}; nothing is paid here"
    europe = bill.estimate(workload(zones=("europe-west4-b",)), SETTINGS, True)
    assert europe.startswith("at most 2.60 USD")


def test_what_the_vms_have_cost() -> None:
    assert bill.spent(begun(), records(), 1.5 * HOUR, True, False) == (
        "at most 1.80 USD (outer VM 0.60 USD, inner VM 1.20 USD; prices of 2026-11-22)"
    )
    assert bill.spent(begun(), records(ended=HOUR), 9 * HOUR, False, False) == (
        "on Google Cloud at most 1.20 USD (outer VM 0.60 USD, inner VM 0.60 USD; prices of 2026-11-22); "
        "nothing was paid here"
    )


def test_the_whole_is_the_sum_of_what_is_shown() -> None:
    said = bill.spent(
        begun(),
        records(asked=0.0, ended=10.0) | {"outer": records(asked=0.0, ended=10.0)["inner"]},
        99.0,
        True,
        False,
    )
    assert said.startswith("at most 0.02 USD (outer VM 0.01 USD, inner VM 0.01 USD;")


def test_a_kept_vm_goes_on_costing() -> None:
    more = "; from now on 1.20 USD an hour until the inner VM is deleted"
    assert bill.spent(begun(), records(), HOUR, True, True).endswith(more)
    assert more not in bill.spent(begun(), records(), HOUR, True, False)
    assert more not in bill.spent(begun(), records(ended=HOUR), HOUR, True, True)
    assert more not in bill.spent(begun(), {"outer": records()["outer"]}, HOUR, True, True)


def test_what_is_not_known_or_paid_otherwise_is_said() -> None:
    reserved = begun(provisioning="reserved", reservation="ours")
    assert bill.spent(reserved, records(), HOUR, True, True) == "paid for by the reservation ours"
    nowhere = bill.spent(begun(), records(zone="me-west1-b"), HOUR, True, True)
    assert nowhere == (
        "no price known for v5litepod-1, on-demand, in me-west1; see https://cloud.google.com/tpu/pricing"
    )
    assert bill.spent(run(), records(), HOUR, True, True) == ""  # a run that was begun without
    assert bill.spent(begun(), {}, HOUR, True, True) == ""


def test_the_summary_has_the_notes_and_the_report_keeps_its_form() -> None:
    document = begun()
    made = report(Facts(RUN_ID, "quickstart", "emulators", 3.0, 45.0, 145.0), document, None, None)
    cost = bill.spent(document, records(), HOUR, True, False)
    lines = summary.text(made, notes=bill.notes(document, cost)).splitlines()
    assert "  seal        sealed by route only" in lines
    assert f"  cost        {cost}" in lines
    assert lines.index(f"  cost        {cost}") < lines.index("  time")
    assert "cost" not in json.dumps(made.document())
    plain = summary.text(made).splitlines()
    assert plain == [line for line in lines if not line.startswith(("  seal ", "  cost "))]


def test_an_unknown_seal_is_not_passed_over() -> None:
    document = begun()
    document["inner"]["sealed_by"] = ""
    assert dict(bill.notes(document, "")) == {"seal": "not known; the inner stage has no setting sealed_by"}
    assert dict(bill.notes(run(inner=None), "")) == {}


def shown(
    document: dict[str, Any], vm: Vm, record: dict[str, Any] | None, now: float, paid: bool = True
) -> list[str]:
    return list(bill.shown(vm, record, document, now, paid))


def test_a_kept_vm_is_shown_with_its_age_and_its_price() -> None:
    vm = Vm(NAME, "READY", {}, "us-central1-a")
    now = 0.5 * HOUR + 3 * HOUR + 12 * 60
    assert shown(begun(), vm, records()["inner"], now) == [
        f"  VM {NAME} READY, us-central1-a, on-demand, 3 h 12 min old, kept (after: keep): at most 3.84 USD so far, "
        "1.20 USD an hour from now on.",
        f"    enter it with {ENTER}",
    ]
    here = shown(begun(), vm, records()["inner"], now, paid=False)[0]
    assert here.endswith(
        ": on Google Cloud at most 3.84 USD so far, 1.20 USD an hour from now on; nothing is paid here."
    )


def test_the_zone_is_where_the_vm_is() -> None:
    vm = Vm(NAME, "READY", {}, "europe-west4-b")
    (line, _) = shown(begun(), vm, records(zone="us-central1-a")["inner"], 1.5 * HOUR)
    assert "READY, europe-west4-b, on-demand, 1 h 0 min old" in line
    assert "at most 1.56 USD so far" in line


def test_a_vm_at_work_cannot_be_entered_and_a_preempted_one_costs_no_more() -> None:
    vm = Vm(NAME, "READY", {}, "us-central1-a")
    (line,) = shown(begun() | {"state": "running"}, vm, records()["inner"], HOUR)
    assert "at work (after: keep)" in line
    (line,) = shown(begun() | {"after": "delete"}, vm, records()["inner"], HOUR)
    assert "at work (after: delete)" in line
    (line,) = shown(begun(), Vm(NAME, "PREEMPTED", {}, "us-central1-a"), records()["inner"], HOUR)
    assert line.endswith("at most 0.60 USD so far.")
    (line,) = shown(begun(), Vm(NAME, "WAITING_FOR_RESOURCES", {}, "us-central1-a"), records()["inner"], HOUR)
    assert line.endswith("nothing so far, 1.20 USD an hour once it is there.")


def test_a_vm_of_which_nothing_is_known_is_shown_too() -> None:
    (line,) = shown({}, Vm("a\x1bb", "READY", {}, "us-central1-a"), None, HOUR)
    assert (
        line == "  VM a\\u001bb READY: no run that is known here asked for it; delete it if nobody needs it."
    )
    (line,) = shown(run(), Vm(NAME, "CREATING", {}), records()["outer"], 60.0)
    assert line == (
        f"  VM {NAME} CREATING, us-central1-a, 1 min old, at work (after: unknown): what it costs is not known."
    )
    (line,) = shown(begun(provisioning="reserved"), Vm(NAME, "CREATING", {}), records()["outer"], 60.0)
    assert line.endswith("paid for by the reservation.")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5.0, "0 min"),
        (59.9, "0 min"),
        (60.0, "1 min"),
        (3600.0, "1 h 0 min"),
        (86_399.0, "23 h 59 min"),
        (190_000.0, "2 d 4 h"),
    ],
)
def test_ages(seconds: float, said: str) -> None:
    assert bill.age(seconds) == said
