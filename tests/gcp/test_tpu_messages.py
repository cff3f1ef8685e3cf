"""What of a workload reaches the Cloud TPU API, in which field; and what its answers mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from google.cloud import tpu_v2
from google.longrunning import operations_pb2
from google.rpc import code_pb2, status_pb2

from shared.gcp import tpu_messages as messages
from shared.ports.machines import Progress, VmSpec
from shared.settings import Settings

SETTINGS = Settings("p", outer_subnetwork="out-sub", inner_subnetwork="in-sub")
PARENT = "projects/p/locations/us-east1-a"
SPEC = VmSpec("vm", "inner", "v6e-4", "v2-alpha-tpuv6e", {"k": "v"}, {"dmz-run": "r"}, zone="us-east1-a")
State, By = tpu_v2.QueuedResourceState.State, tpu_v2.QueuedResourceState.StateInitiator


@pytest.mark.parametrize(
    ("kind", "network", "subnetwork", "external"),
    [("outer", "dmz-outer", "out-sub", True), ("inner", "dmz-inner", "in-sub", False)],
)
def test_each_kind_has_its_network_and_subnetwork(
    kind: Any, network: str, subnetwork: str, external: bool
) -> None:
    made = messages.node(replace(SPEC, kind=kind), SETTINGS).network_config
    assert (made.network, made.subnetwork, made.enable_external_ips) == (network, subnetwork, external)


def test_without_a_subnetwork_in_the_settings_none_is_named() -> None:
    assert messages.node(SPEC, Settings("p")).network_config.subnetwork == ""


def test_accelerator_runtime_metadata_labels_and_account_are_the_specs() -> None:
    made = messages.node(SPEC, SETTINGS)
    assert (made.accelerator_type, made.runtime_version) == ("v6e-4", "v2-alpha-tpuv6e")
    assert (dict(made.metadata), dict(made.labels)) == ({"k": "v"}, {"dmz-run": "r"})
    assert made.service_account.email == "inner-vm@p.iam.gserviceaccount.com"


@pytest.mark.parametrize(
    ("provisioning", "spot", "reserved"),
    [("on-demand", False, False), ("spot", True, False), ("reserved", False, True)],
)
def test_how_a_vm_is_paid_for_that_comes_at_once(provisioning: Any, spot: bool, reserved: bool) -> None:
    spec = replace(SPEC, provisioning=provisioning)
    made = messages.node(spec, SETTINGS)
    assert not messages.queued(spec)
    assert (made.scheduling_config.spot, made.scheduling_config.reserved) == (spot, reserved)
    assert not made.scheduling_config.preemptible
    assert ("scheduling_config" in made) == (provisioning != "on-demand")


@pytest.mark.parametrize(
    ("provisioning", "reservation", "tier", "named"),
    [
        ("on-demand", "", None, ""),
        ("spot", "", "spot", ""),
        ("reserved", "", "guaranteed", f"{PARENT}/reservations/-"),
        ("reserved", "ours", "guaranteed", f"{PARENT}/reservations/ours"),
        (
            "reserved",
            "projects/q/locations/us-east1-a/reservations/theirs",
            "guaranteed",
            "projects/q/locations/us-east1-a/reservations/theirs",
        ),
    ],
)
def test_how_a_vm_is_paid_for_that_waits(provisioning: Any, reservation: str, tier: Any, named: str) -> None:
    spec = replace(SPEC, provisioning=provisioning, reservation=reservation, queue_minutes=90)
    asked = messages.queued_resource(spec, SETTINGS, PARENT)
    # As the server reads it: an empty tier must survive the wire.
    asked = tpu_v2.QueuedResource.deserialize(tpu_v2.QueuedResource.serialize(asked))
    assert {each for each in ("spot", "guaranteed") if each in asked} == ({tier} if tier else set())
    assert asked.reservation_name == named
    assert asked.queueing_policy.valid_until_duration == timedelta(minutes=90)
    (wanted,) = asked.tpu.node_spec
    assert (wanted.parent, wanted.node_id) == (PARENT, "vm")
    assert wanted.node == messages.node(spec, SETTINGS)
    assert "scheduling_config" not in wanted.node


def test_a_named_reservation_is_asked_for_in_the_queue_and_hardly_waits() -> None:
    spec = replace(SPEC, provisioning="reserved", reservation="ours")
    assert messages.queued(spec)
    asked = messages.queued_resource(spec, SETTINGS, PARENT)
    assert asked.queueing_policy.valid_until_duration == timedelta(minutes=5)


def test_a_slice_has_as_many_workers_as_endpoints() -> None:
    found = tpu_v2.Node(name=f"{PARENT}/nodes/vm", state=tpu_v2.Node.State.READY, labels={"a": "b"})
    assert messages.vm(found).workers == 1
    found.network_endpoints = [{"ip_address": f"10.0.0.{n}"} for n in range(4)]
    vm = messages.vm(found)
    assert (vm.name, vm.state, vm.zone, vm.workers, vm.labels) == ("vm", "READY", "us-east1-a", 4, {"a": "b"})


# --- answers ---


def operation(done: bool, code: int = 0, message: str = "") -> Any:
    if not code:
        return operations_pb2.Operation(done=done)
    return operations_pb2.Operation(done=done, error=status_pb2.Status(code=code, message=message))


@pytest.mark.parametrize(
    ("found", "means"),
    [
        (operation(False), Progress("waiting")),
        (operation(True), Progress("made")),
        (
            operation(True, code_pb2.RESOURCE_EXHAUSTED, "no more"),
            Progress("failed", "no more", elsewhere=True),
        ),
        (operation(True, code_pb2.INTERNAL, "oh"), Progress("failed", "oh")),
        (operation(True, code_pb2.INVALID_ARGUMENT, "bad"), Progress("failed", "bad")),
    ],
)
def test_what_an_operation_means(found: Any, means: Progress) -> None:
    assert messages.operation(found) == means


def request(state: Any, by: Any = 0, **data: Any) -> Any:
    written = tpu_v2.QueuedResourceState(state=state, state_initiator=by, **data)
    return tpu_v2.QueuedResource(name=f"{PARENT}/queuedResources/vm", state=written)


@pytest.mark.parametrize(
    "state",
    [
        State.STATE_UNSPECIFIED,
        State.CREATING,
        State.ACCEPTED,
        State.WAITING_FOR_RESOURCES,
        State.PROVISIONING,
    ],
)
def test_a_request_that_has_not_ended_is_waited_for(state: Any) -> None:
    assert messages.request(request(state)) == Progress("waiting")


def test_an_active_request_has_its_vm() -> None:
    assert messages.request(request(State.ACTIVE)) == Progress("made")


@pytest.mark.parametrize(
    ("code", "elsewhere"),
    [
        (code_pb2.RESOURCE_EXHAUSTED, True),
        (code_pb2.DEADLINE_EXCEEDED, True),
        (code_pb2.INTERNAL, True),
        (code_pb2.INVALID_ARGUMENT, False),
        (code_pb2.PERMISSION_DENIED, False),
        (code_pb2.FAILED_PRECONDITION, False),
    ],
)
def test_a_failed_request_says_why_and_whether_another_zone_may_do(code: int, elsewhere: bool) -> None:
    error = status_pb2.Status(code=code, message="why")
    found = request(State.FAILED, failed_data={"error": error})
    assert messages.request(found) == Progress("failed", "why", elsewhere)


def test_a_failed_request_without_a_reason_is_one_that_waited_in_vain() -> None:
    found = messages.request(request(State.FAILED))
    assert (found.state, found.elsewhere, bool(found.reason)) == ("failed", True, True)


@pytest.mark.parametrize(
    ("state", "by", "elsewhere", "words"),
    [
        (State.SUSPENDED, By.SERVICE, True, "suspended by the service"),
        (State.SUSPENDING, By.SERVICE, True, "suspended by the service"),
        (State.SUSPENDED, By.USER, False, "suspended by hand"),
        (State.DELETING, 0, False, "deleted by hand"),
    ],
)
def test_what_was_taken_away_by_hand_is_not_made_again(
    state: Any, by: Any, elsewhere: bool, words: str
) -> None:
    found = messages.request(request(state, by))
    assert (found.state, found.elsewhere) == ("failed", elsewhere)
    assert words in found.reason
