"""Queued resources with Google's own client: they wait, are served, expire, are suspended, and go."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2

from shared.emulators.tpu import TpuPlatform
from tests.emulators.tpu.conftest import Start
from tests.emulators.tpu.world import PARENT, PROJECT, State, client_of, create, node, until

Request, Queued = tpu_v2.QueuedResource, tpu_v2.QueuedResourceState.State
By = tpu_v2.QueuedResourceState.StateInitiator
EMPTY = f"projects/{PROJECT}/locations/us-central1-c"
NAME, NODE = f"{PARENT}/queuedResources/q", f"{PARENT}/nodes/vm"


def asked(*nodes: str, parent: str = PARENT, described: Any = None, **fields: Any) -> Any:
    spec = [{"parent": parent, "node_id": name, "node": described or node()} for name in nodes or ("vm",)]
    return Request({"tpu": {"node_spec": spec}, **fields})


def queue(client: tpu_v2.TpuClient, *nodes: str, parent: str = PARENT, **fields: Any) -> Any:
    """Ask, and wait until the request stands in the queue."""
    request = asked(*nodes, parent=parent, **fields)
    return client.create_queued_resource(
        parent=parent, queued_resource_id="q", queued_resource=request
    ).result(timeout=120)


def reaches(client: tpu_v2.TpuClient, state: Any, name: str = NAME) -> Any:
    """The queued resource once it is in `state`; another end than that fails at once."""

    def look() -> Any:
        found = client.get_queued_resource(name=name)
        if found.state.state in (Queued.FAILED, Queued.SUSPENDED, Queued.ACTIVE):
            assert found.state.state == state, found
        return found if found.state.state == state else None

    return until(look)


def test_a_request_is_served_and_its_node_names_it(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    written = queue(client)
    assert (written.name, written.create_time is not None) == (NAME, True)
    assert written.state.state in (Queued.ACCEPTED, Queued.PROVISIONING)
    reaches(client, Queued.ACTIVE)
    made = client.get_node(name=NODE)
    assert (made.state, made.queued_resource) == (State.READY, NAME)
    vm = platform.engine.get("vm")
    assert vm
    assert vm.alive
    assert [each.name for each in client.list_queued_resources(parent=PARENT)] == [NAME]
    with pytest.raises(exceptions.AlreadyExists):
        queue(client)
    with pytest.raises(exceptions.FailedPrecondition, match="is ACTIVE and its nodes have not been deleted"):
        client.delete_queued_resource(name=NAME)
    client.delete_queued_resource(request={"name": NAME, "force": True}).result(timeout=120)
    assert not vm.alive
    for call, name in ((client.get_node, NODE), (client.get_queued_resource, NAME)):
        with pytest.raises(exceptions.NotFound):
            call(name=name)


def test_a_request_waits_for_capacity_and_is_served_when_there_is_some(
    client: tpu_v2.TpuClient, platform: TpuPlatform
) -> None:
    name = f"{EMPTY}/queuedResources/q"
    queue(client, parent=EMPTY)
    waiting = reaches(client, Queued.WAITING_FOR_RESOURCES, name)
    assert waiting.state.state_initiator == By.STATE_INITIATOR_UNSPECIFIED
    with pytest.raises(exceptions.NotFound):
        client.get_node(name=f"{EMPTY}/nodes/vm")
    platform.capacity.set_empty(())
    reaches(client, Queued.ACTIVE, name)
    assert client.get_node(name=f"{EMPTY}/nodes/vm").state == State.READY


def test_what_waits_can_be_deleted_without_force(client: tpu_v2.TpuClient) -> None:
    name = f"{EMPTY}/queuedResources/q"
    queue(client, parent=EMPTY)
    reaches(client, Queued.WAITING_FOR_RESOURCES, name)
    client.delete_queued_resource(name=name).result(timeout=120)
    assert list(client.list_queued_resources(parent=EMPTY)) == []


@pytest.mark.parametrize(
    "policy",
    [
        {"valid_until_duration": datetime.timedelta(seconds=1)},
        {"valid_until_time": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)},
        {"valid_interval": {"start_time": {"seconds": 1}, "end_time": {"seconds": 2}}},
    ],
)
def test_a_request_that_is_not_served_in_time_fails(client: tpu_v2.TpuClient, policy: dict[str, Any]) -> None:
    name = f"{EMPTY}/queuedResources/q"
    queue(client, parent=EMPTY, queueing_policy=policy)
    failed = reaches(client, Queued.FAILED, name)
    assert failed.state.failed_data.error.code == 4
    assert "not served before" in failed.state.failed_data.error.message
    client.delete_queued_resource(name=name).result(timeout=120)


@pytest.mark.parametrize(
    "policy",
    [
        {"valid_after_duration": datetime.timedelta(hours=1)},
        {"valid_after_time": datetime.datetime(2099, 1, 1, tzinfo=datetime.UTC)},
    ],
)
def test_a_request_for_later_is_not_served_now(
    client: tpu_v2.TpuClient, platform: TpuPlatform, policy: dict[str, Any]
) -> None:
    queue(client, queueing_policy=policy)
    sooner = asked("other", parent=PARENT)
    client.create_queued_resource(parent=PARENT, queued_resource_id="sooner", queued_resource=sooner)
    reaches(client, Queued.ACTIVE, f"{PARENT}/queuedResources/sooner")
    assert client.get_queued_resource(name=NAME).state.state == Queued.ACCEPTED
    assert platform.engine.get("vm") is None


def test_what_turns_out_late_fails_with_its_reason(client: tpu_v2.TpuClient) -> None:
    queue(client, described=node(network="absent-net"))
    failed = reaches(client, Queued.FAILED)
    assert failed.state.failed_data.error.code == 3
    assert "network 'absent-net' was not found" in failed.state.failed_data.error.message
    assert list(client.list_nodes(parent=PARENT)) == []


def test_one_node_that_cannot_be_made_takes_the_others_with_it(
    client: tpu_v2.TpuClient, platform: TpuPlatform
) -> None:
    create(client, "b")
    queue(client, "a", "b")
    failed = reaches(client, Queued.FAILED)
    assert failed.state.failed_data.error.code == 6
    assert [each.name for each in client.list_nodes(parent=PARENT)] == [f"{PARENT}/nodes/b"]
    client.delete_queued_resource(request={"name": NAME, "force": True}).result(timeout=120)
    assert client.get_node(name=f"{PARENT}/nodes/b").state == State.READY  # it was never the request's
    assert platform.engine.get("a") is None


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (Request(), "'tpu.node_spec' is required"),
        (asked(parent=EMPTY), "is not 'projects/test-project/locations/us-central1-a'"),
        (asked(""), "needs a 'node_id'"),
        (asked("a", "a"), "the same id"),
        (asked("Bad_Id"), "Invalid node id"),
        (asked(described=node(runtime_version=None)), "'runtime_version' is required"),
        (
            asked(described=node(accelerator_type="v5litepod-3")),
            "v5litepod-3 was not found in zone us-central1-a",
        ),
        (asked(reservation_name="mine"), "write projects/PROJECT/locations/us-central1-a/reservations/"),
        (
            asked(reservation_name="projects/p/locations/us-west1-a/reservations/r"),
            "is not one of us-central1-a",
        ),
        (
            asked(spot={}, reservation_name="projects/p/locations/us-central1-a/reservations/r"),
            "either reserved, or spot",
        ),
    ],
)
def test_a_bad_request_is_refused_at_once(client: tpu_v2.TpuClient, resource: Any, said: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=said):
        client.create_queued_resource(parent=PARENT, queued_resource_id="q", queued_resource=resource)
    assert list(client.list_queued_resources(parent=PARENT)) == []


def test_a_bad_name_and_another_project_are_refused(client: tpu_v2.TpuClient) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Invalid queued resource id"):
        client.create_queued_resource(parent=PARENT, queued_resource_id="a b", queued_resource=asked())
    elsewhere = "projects/other/locations/us-central1-a"
    with pytest.raises(exceptions.PermissionDenied):
        client.create_queued_resource(parent=elsewhere, queued_resource_id="q", queued_resource=asked())
    for call in (client.get_queued_resource, client.delete_queued_resource, client.reset_queued_resource):
        with pytest.raises(exceptions.NotFound):
            call(name=NAME)


def test_a_request_sent_twice_with_one_id_is_one(client: tpu_v2.TpuClient) -> None:
    request = {
        "parent": EMPTY,
        "queued_resource_id": "q",
        "queued_resource": asked(parent=EMPTY),
        "request_id": "8f1e",
    }
    first, second = (client.create_queued_resource(request=request).operation.name for _ in range(2))
    assert first == second


def test_queued_resources_count_against_the_quota_until_they_are_deleted(start: Start) -> None:
    client = client_of(start(quotas={"us-central1-a": 1}).port)
    queue(client, described=node(network="absent-net"))
    reaches(client, Queued.FAILED)
    with pytest.raises(exceptions.ResourceExhausted, match="Quota limit"):
        create(client, "other")
    client.delete_queued_resource(name=NAME).result(timeout=120)
    create(client, "other")
    with pytest.raises(exceptions.ResourceExhausted, match="Quota limit"):
        queue(client)


def test_the_preemption_of_its_node_suspends_it(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    queue(client, spot={})
    reaches(client, Queued.ACTIVE)
    assert client.get_node(name=NODE).scheduling_config.spot
    platform.nodes.preempt(NODE)
    suspended = reaches(client, Queued.SUSPENDED)
    assert suspended.state.state_initiator == By.SERVICE
    assert client.get_node(name=NODE).state == State.PREEMPTED
    client.reset_queued_resource(name=NAME).result(timeout=120)
    until(lambda: client.get_queued_resource(name=NAME).state.state == Queued.ACTIVE)
    assert client.get_node(name=NODE).state == State.READY
    with pytest.raises(exceptions.FailedPrecondition, match="only one that is SUSPENDED or FAILED"):
        client.reset_queued_resource(name=NAME)


def test_the_deletion_of_a_node_suspends_it_and_ends_its_other_nodes(
    client: tpu_v2.TpuClient, platform: TpuPlatform
) -> None:
    slices = {"node_count": 2, "node_id_prefix": "s"}
    spec = {"parent": PARENT, "multislice_params": slices, "node": node()}
    request = Request({"tpu": {"node_spec": [spec]}})
    client.create_queued_resource(parent=PARENT, queued_resource_id="q", queued_resource=request)
    reaches(client, Queued.ACTIVE)
    assert [each.multislice_node for each in client.list_nodes(parent=PARENT)] == [True, True]
    client.delete_node(name=f"{PARENT}/nodes/s-0").result(timeout=120)
    until(lambda: client.get_queued_resource(name=NAME).state.state == Queued.SUSPENDED)
    assert client.get_queued_resource(name=NAME).state.state_initiator == By.USER
    assert list(client.list_nodes(parent=PARENT)) == []
    client.delete_queued_resource(name=NAME).result(timeout=120)
    assert platform.engine.get("s-1") is None


def test_what_is_being_made_can_be_deleted_by_force(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    queue(client, "a", "b")
    until(lambda: client.get_queued_resource(name=NAME).state.state != Queued.ACCEPTED)
    client.delete_queued_resource(request={"name": NAME, "force": True}).result(timeout=120)
    assert list(client.list_nodes(parent=PARENT)) == []
    assert not list((platform.engine.state / "vms").iterdir())
