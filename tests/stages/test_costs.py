"""What a run costs, in its document: estimated as it begins, billed as its VMs end, and how the kept one is entered."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from functions.outer import main as outer_main
from functions.outer import stage
from shared import entry, vm_stages
from shared.errors import Permanent
from shared.events import Event, RunRequested
from shared.machines import vm_name
from shared.model import costs
from shared.model.workload import Provisioning
from shared.ports.store import Put
from shared.settings import Settings
from tests.stages.failing import failed, silent
from tests.stages.world import WORKLOAD, World

ZONES = ("us-central1-a", "europe-west4-b")


def billed(world: World, run_id: str) -> dict[str, Any]:
    return dict(world.run(run_id)["cost"]["vms"])


def record(world: World, run_id: str, kind: Any) -> dict[str, Any]:
    return world.store.get("vms", vm_name(kind, run_id)) or {}


def test_a_run_is_estimated_as_it_begins(world: World) -> None:
    world.outer = silent
    run = world.run(world.request())
    assert run["cost"]["estimate"] == (
        "at most 2.08 USD for two VMs: v5litepod-1 (1 chip), on-demand in us-central1, at most 52 minutes each; "
        "from then on 1.20 USD an hour while the inner VM is kept (prices of 2026-11-22)"
    )
    assert "vms" not in run["cost"]


@pytest.mark.parametrize(
    ("provisioning", "said"),
    [("spot", "at most 0.43 USD for two VMs"), ("reserved", "paid for by the reservation")],
)
def test_the_estimate_goes_by_how_the_vms_are_paid_for(
    world: World, provisioning: Provisioning, said: str
) -> None:
    world.outer = silent
    run = world.run(world.request(WORKLOAD.model_copy(update={"provisioning": provisioning})))
    assert run["cost"]["estimate"].startswith(said)


def test_a_vm_that_the_watchdog_finds_at_its_next_look_costs_no_more_than_was_said(world: World) -> None:
    world.outer = silent
    run_id = world.request()
    asked, deadline = (record(world, run_id, "outer")[name] for name in ("asked", "deadline"))
    world.ahead = deadline - asked + 60
    world.sweep()
    each = Decimal(world.run(run_id)["cost"]["estimate"].split()[2]) / 2
    assert Decimal("1.02") <= Decimal(billed(world, run_id)["outer"]["at_most"].split()[0]) <= each


def ports(world: World, **changed: str) -> vm_stages.Ports:
    """What the stages of VMs are wired with, with other settings."""
    return vm_stages.Ports(
        store=world.store,
        blobs=world.blobs,
        vms=world.vms,
        settings=replace(world.settings, **changed),
        clock=world.clock,
        secret=lambda: "secret",
    )


def requested() -> Event:
    data = RunRequested(workload=WORKLOAD)
    return Event(type="run-requested", id="one", source="/test", time="2026-11-22T00:00:00Z", data=data)


def test_the_operators_own_list_counts(world: World, tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text(
        "currency: EUR\ndate: 2026-01-01\nurl: https://example.org/ours\nprices:\n"
        '  - {family: v5litepod, region: us-central1, on_demand: "6"}\n'
    )
    world.outer = silent
    stage.handle_event(requested(), ports(world, prices=str(path)))
    cost = world.run(requested().run_id)["cost"]
    assert cost["estimate"].startswith("at most 10.40 EUR for two VMs")
    assert cost["terms"]["rates"] == {"us-central1": "6"}


def test_no_service_starts_with_a_list_that_is_none(world: World, tmp_path: Path) -> None:
    path = tmp_path / "ours.yaml"
    path.write_text("currency: dollars\n")
    with pytest.raises(Permanent, match=r"The price list .* is not valid"):
        outer_main.wire(replace(world.settings, prices=str(path)))


def test_the_outer_vm_is_billed_when_it_is_deleted(world: World) -> None:
    run_id = world.request()
    outer = record(world, run_id, "outer")
    assert (outer["state"], outer["asked"] <= outer["ended"] <= world.clock()) == ("ended", True)
    terms = costs.of_run(world.run(run_id))
    assert terms is not None
    assert billed(world, run_id)["outer"] == {
        "zone": "us-central1-a",
        "until": outer["ended"],
        "at_most": "0.01 USD",
        "rate": "1.20 USD an hour",
        "why": "",
    }


def test_the_kept_vm_is_billed_so_far_and_the_watchdog_spares_it(world: World) -> None:
    run_id = world.request()
    assert billed(world, run_id)["inner"]["rate"] == "1.20 USD an hour"
    world.ahead = 30 * 24 * 3600
    world.sweep()
    assert [vm.name for vm in world.vms.all()] == [vm_name("inner", run_id)]
    inner = record(world, run_id, "inner")
    assert (inner["state"], inner.get("ended")) == ("reported", None)


def test_a_vm_that_is_not_kept_is_billed_to_its_end(world: World) -> None:
    run_id = world.request(WORKLOAD.model_copy(update={"after": "delete"}))
    assert billed(world, run_id)["inner"]["until"] == record(world, run_id, "inner")["ended"]
    assert world.run(run_id)["inner"]["enter"] == ""


def test_a_vm_that_never_reported_is_billed_until_the_watchdog_found_it(world: World) -> None:
    world.outer = silent
    run_id = world.request()
    world.ahead = 3600
    world.sweep()
    failed(world, run_id)
    assert 3600 <= record(world, run_id, "outer")["ended"] - record(world, run_id, "outer")["asked"] < 3700
    assert billed(world, run_id)["outer"]["at_most"] in ("1.21 USD", "1.22 USD", "1.23 USD", "1.24 USD")


def test_terms_that_cannot_be_read_keep_no_vm_alive(world: World) -> None:
    world.outer = silent
    run_id = world.request()
    world.store.put([Put("runs", run_id, {"cost": {"terms": {"currency": 1}}}, merge=True)])
    world.ahead = 3600
    world.sweep()
    failed(world, run_id)
    assert record(world, run_id, "outer")["state"] == "ended"


def test_an_end_that_is_told_twice_does_not_lengthen_the_bill(world: World) -> None:
    run_id = world.request()
    first = record(world, run_id, "outer")["ended"]
    world.ahead = 7200
    ports(world).machines("outer").end(run_id)
    assert record(world, run_id, "outer")["ended"] == first
    assert billed(world, run_id)["outer"]["until"] == first


def test_a_vm_that_outlives_its_end_is_billed_until_it_is_gone(world: World) -> None:
    run_id = world.request()
    name = vm_name("outer", run_id)
    (spec,) = [spec for spec in world.vms.specs.values() if spec.name == name]
    world.outer = silent
    world.vms.create(spec)  # the deletion was lost
    world.ahead = 7200
    world.sweep()
    assert record(world, run_id, "outer")["ended"] >= record(world, run_id, "outer")["asked"] + 7200
    assert billed(world, run_id)["outer"]["at_most"].startswith("2.4")


def test_a_preempted_vm_is_billed_beside_the_one_that_took_its_place(world: World) -> None:
    world.outer = silent
    run_id = world.request(WORKLOAD.model_copy(update={"zones": ZONES}))
    world.ahead = 1800
    world.vms.become(vm_name("outer", run_id), "PREEMPTED")
    world.sweep()
    (life,) = record(world, run_id, "outer")["lives"].values()
    assert (life["zone"], life["until"] - life["since"] >= 1800) == (ZONES[0], True)
    world.ahead = 3600
    world.vms.become(vm_name("outer", run_id), "PREEMPTED", ZONES[1])
    world.sweep()
    failed(world, run_id)
    # Half an hour here, half an hour there.
    assert billed(world, run_id)["outer"]["zone"] == ZONES[1]
    assert "1.38 USD" <= billed(world, run_id)["outer"]["at_most"] < "1.45 USD"


def test_the_runs_document_says_how_the_kept_vm_is_entered_and_what_seals_it(world: World) -> None:
    run_id = world.request()
    inner = world.run(run_id)["inner"]
    name = vm_name("inner", run_id)
    assert inner["enter"] == (
        f"gcloud alpha compute tpus tpu-vm ssh {name} --zone=us-central1-a --project=test "
        "--tunnel-through-iap --worker=0"
    )
    assert inner["sealed_by"] == ""
    assert inner["installed"] > 0


def test_gcloud_takes_the_command_that_is_written_down() -> None:
    """Against the installed SDK, without an account; its stable track has no `--tunnel-through-iap`."""
    if not shutil.which("gcloud"):
        pytest.skip("gcloud is not installed")
    line = entry.command("dmz-inner-1", "us-central1-a", Settings("outside", inner_project="inside"))
    words = ("gcloud", "meta", "lint-gcloud-commands", f"--command-string={line}")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    (found,) = json.loads(done.stdout)
    assert (found["success"], found["error_message"]) == (True, None)


def test_what_is_entered_is_where_the_vm_is() -> None:
    settings = Settings(
        "outside", inner_project="inside", zone="us-central1-a", sealed_by="sealed by route only"
    )
    put = entry.learned("run-1", "dmz-inner-1", {"zone": "europe-west4-b"}, settings)
    assert put.fields["inner"]["sealed_by"] == "sealed by route only"
    assert put.fields["inner"]["enter"] == (
        "gcloud alpha compute tpus tpu-vm ssh dmz-inner-1 --zone=europe-west4-b --project=inside "
        "--tunnel-through-iap --worker=0"
    )
    here = entry.command("dmz-inner-1", "us-central1-a", replace(settings, tpu_endpoint="127.0.0.1:1"))
    assert here == "./dmz enter dmz-inner-1"
    assert entry.learned("run-1", "", {}, settings).fields["inner"]["enter"] == ""
