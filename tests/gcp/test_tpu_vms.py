"""The client before the TPU API's stand-in, which boots VMs: from the request to the deletion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.gcp.tpu import TpuVms
from shared.ports.machines import NoCapacity, Progress, VmSpec
from shared.settings import Settings
from tests.emulators.tpu.conftest import Start
from tests.emulators.tpu.world import INNER, OUTER, PROJECT, until

A, EMPTY, NO_QUOTA = "us-central1-a", "us-central1-c", "us-east1-d"
SPEC = VmSpec(
    "vm",
    "inner",
    "v5litepod-8",
    "v2-alpha-tpuv5-lite",
    {"startup-script": "#!/bin/sh\nsleep 600\n"},
    {"dmz-run": "r", "dmz-kind": "inner"},
    zone=A,
)


@pytest.fixture
def vms(start: Start) -> TpuVms:
    platform = start(reservations={A: {"ours": 1}})
    return TpuVms(
        Settings(
            PROJECT,
            outer_network="outer-net",
            inner_network="inner-net",
            outer_service_account=OUTER,
            inner_service_account=INNER,
            tpu_endpoint=f"127.0.0.1:{platform.port}",
        )
    )


def ended(vms: TpuVms, request: str) -> Progress:
    """What became of it, once it is known."""
    return until(lambda: found if (found := vms.progress(request)).state != "waiting" else None)


def gone(vms: TpuVms) -> bool:
    return bool(until(lambda: not vms.all()))


@pytest.mark.parametrize("provisioning", ["on-demand", "spot"])
def test_a_vm_from_its_request_to_its_deletion(vms: TpuVms, provisioning: Any) -> None:
    spec = replace(SPEC, provisioning=provisioning)
    request = vms.create(spec)
    assert vms.create(spec) == "", "there is one of that name"
    assert ended(vms, request) == Progress("made")
    (vm,) = vms.all()
    assert vm == vms.get("vm", A)
    assert (vm.name, vm.state, vm.zone, vm.workers, dict(vm.labels)) == (
        "vm",
        "READY",
        A,
        1,
        dict(SPEC.labels),
    )
    assert vms.get("vm", EMPTY) is None
    vms.delete("vm", EMPTY)
    assert vms.get("vm", A), "a namesake elsewhere was meant"
    vms.delete("vm", A)
    vms.delete("vm", A)
    assert gone(vms)


def test_a_zone_without_room_says_so_in_the_operation_and_one_without_quota_at_once(vms: TpuVms) -> None:
    found = ended(vms, vms.create(replace(SPEC, zone=EMPTY)))
    assert (found.state, found.elsewhere) == ("failed", True)
    assert f'There is no more capacity in the zone "{EMPTY}"' in found.reason
    with pytest.raises(NoCapacity, match="Quota limit"):
        vms.create(replace(SPEC, zone=NO_QUOTA))
    assert gone(vms)


def test_a_request_waits_in_the_queue_until_there_is_room(vms: TpuVms, tmp_path: Path) -> None:
    spec = replace(SPEC, zone=EMPTY, queue_minutes=60)
    request = vms.create(spec)
    assert vms.create(spec) == request.split()[0]
    until(lambda: [vm.state for vm in vms.all()] == ["WAITING_FOR_RESOURCES"])
    (vm,) = vms.all()
    assert (vm.zone, dict(vm.labels), vms.get("vm", EMPTY)) == (EMPTY, dict(SPEC.labels), None)
    assert vms.progress(request) == Progress("waiting")
    control(tmp_path, no_capacity_zones=[])
    assert ended(vms, request) == Progress("made")
    (vm,) = vms.all()
    assert vm == vms.get("vm", EMPTY)
    vms.delete("vm", EMPTY)
    vms.delete("vm", EMPTY)
    assert gone(vms)
    assert vms.get("vm", EMPTY) is None
    assert vms.progress(request.split()[0]) == Progress("unknown")


def test_a_request_that_waits_is_deleted_and_no_vm_comes_of_it(vms: TpuVms, tmp_path: Path) -> None:
    vms.create(replace(SPEC, zone=EMPTY, queue_minutes=60))
    vms.delete("vm", EMPTY)
    assert gone(vms)
    control(tmp_path, no_capacity_zones=[])
    assert ended(vms, vms.create(replace(SPEC, name="other", zone=EMPTY, queue_minutes=60))) == Progress(
        "made"
    )
    assert [vm.name for vm in vms.all()] == ["other"]


@pytest.mark.parametrize("reservation", ["ours", ""])
@pytest.mark.parametrize("minutes", [0, 60])
def test_a_reservation_holds_as_many_as_it_holds(vms: TpuVms, reservation: str, minutes: int) -> None:
    spec = replace(SPEC, provisioning="reserved", reservation=reservation, queue_minutes=minutes)
    assert ended(vms, vms.create(spec)) == Progress("made")
    request = vms.create(replace(spec, name="second"))
    if minutes or reservation:
        until(lambda: "WAITING_FOR_RESOURCES" in [vm.state for vm in vms.all() if vm.name == "second"])
        assert vms.progress(request) == Progress("waiting")
    else:
        found = ended(vms, request)
        assert (found.state, found.elsewhere) == ("failed", True)
        assert "Insufficient reserved capacity" in found.reason


def test_a_spot_vm_that_is_taken_back(vms: TpuVms, tmp_path: Path) -> None:
    spec = replace(SPEC, provisioning="spot", queue_minutes=60)
    queued, plain = vms.create(spec), vms.create(replace(spec, name="plain", queue_minutes=0))
    assert (ended(vms, queued), ended(vms, plain)) == (Progress("made"), Progress("made"))
    control(tmp_path, preempt=["vm", "plain"])
    for name in ("vm", "plain"):
        until(lambda name=name: (found := vms.get(name, A)) and found.state == "PREEMPTED")
    found = until(lambda: found if (found := vms.progress(queued)).state == "failed" else None)
    assert found == Progress("failed", "Its request was suspended by the service before it reported.", True)
    for name in ("vm", "plain"):
        vms.delete(name, A)
    assert gone(vms)


def control(directory: Path, **content: Any) -> None:
    path = directory / "state" / "control.json"
    partial = path.with_suffix(".new")
    partial.write_text(json.dumps(content))
    partial.rename(path)
