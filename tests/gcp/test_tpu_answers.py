"""The client before a server that says what real ones say rarely: over the wire, without VMs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from google.cloud.tpu_v2.types import cloud_tpu
from google.longrunning import operations_pb2
from google.rpc import code_pb2, error_details_pb2

from shared.emulators.tpu_errors import ApiError, no_capacity, not_found, precondition, quota
from shared.emulators.tpu_server import OPERATIONS_SERVICE, TPU_SERVICE, handlers
from shared.errors import Permanent, Transient
from shared.gcp.tpu import TpuVms
from shared.ports.machines import NoCapacity, Progress, Unreachable, VmSpec
from shared.settings import Settings

A, B = "us-east1-a", "us-east1-b"
SPEC = VmSpec("vm", "inner", "v6e-1", "v2-alpha-tpuv6e", {}, {}, zone=A)
NODE, QUEUED = f"projects/p/locations/{A}/nodes/vm", f"projects/p/locations/{A}/queuedResources/vm"
_REQUESTS = {
    "CreateNode": cloud_tpu.CreateNodeRequest,
    "GetNode": cloud_tpu.GetNodeRequest,
    "ListNodes": cloud_tpu.ListNodesRequest,
    "DeleteNode": cloud_tpu.DeleteNodeRequest,
    "CreateQueuedResource": cloud_tpu.CreateQueuedResourceRequest,
    "GetQueuedResource": cloud_tpu.GetQueuedResourceRequest,
    "ListQueuedResources": cloud_tpu.ListQueuedResourcesRequest,
    "DeleteQueuedResource": cloud_tpu.DeleteQueuedResourceRequest,
}
Say = Callable[..., TpuVms]
Asked = list[tuple[str, Any]]


@pytest.fixture
def asked() -> Asked:
    """(method, request), in the order in which they came."""
    return []


@pytest.fixture
def say(asked: Asked) -> Iterator[Say]:
    """A client whose server answers each method with the given message, or error; NOT_FOUND where none is given."""
    servers: list[grpc.Server] = []

    def method(name: str, answer: Any) -> Callable[[Any], Any]:
        def answering(request: Any) -> Any:
            asked.append((name, request))
            found = answer(request) if callable(answer) else answer
            if isinstance(found, ApiError):
                raise found
            return found

        return answering

    def started(**answers: Any) -> TpuVms:
        server = grpc.server(ThreadPoolExecutor(2))
        missing = not_found("it")
        tpu = {name: (kind, method(name, answers.get(name, missing))) for name, kind in _REQUESTS.items()}
        operation = method("GetOperation", answers.get("GetOperation", missing))
        operations = {"GetOperation": (operations_pb2.GetOperationRequest, operation)}
        server.add_generic_rpc_handlers(tuple(handlers({TPU_SERVICE: tpu, OPERATIONS_SERVICE: operations})))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        return TpuVms(Settings("p", zone=B, tpu_endpoint=f"127.0.0.1:{port}"))

    yield started
    for server in servers:
        server.stop(None).wait()


def operation(name: str = "op") -> Any:
    return operations_pb2.Operation(name=name)


def node(zone: str, name: str, state: str = "READY") -> Any:
    return cloud_tpu.Node(name=f"projects/p/locations/{zone}/nodes/{name}", state=cloud_tpu.Node.State[state])


def queued(zone: str, name: str, state: str, **labels: str) -> Any:
    parent = f"projects/p/locations/{zone}"
    spec = {"parent": parent, "node_id": name, "node": {"labels": labels}}
    resource = cloud_tpu.QueuedResource(name=f"{parent}/queuedResources/{name}", tpu={"node_spec": [spec]})
    resource.state.state = cloud_tpu.QueuedResourceState.State[state]
    return resource


# --- creation ---


@pytest.mark.parametrize("error", [no_capacity(A), quota(f"projects/p/locations/{A}", 0, A)])
def test_no_room_at_the_call_is_another_zones_chance(say: Say, error: ApiError) -> None:
    with pytest.raises(NoCapacity) as raised:
        say(CreateNode=error).create(SPEC)
    assert str(raised.value) == error.status.message


def test_calls_that_come_too_often_are_no_zone_without_room(say: Say) -> None:
    """They have the same code, and the next zone would say the same."""
    info = error_details_pb2.ErrorInfo(reason="RATE_LIMIT_EXCEEDED", domain="googleapis.com")
    with pytest.raises(Transient, match="did not succeed for now"):
        say(CreateNode=ApiError(code_pb2.RESOURCE_EXHAUSTED, "Quota exceeded for 'writes'", info)).create(
            SPEC
        )


def test_a_request_that_is_wrong_is_final_and_names_the_zone(say: Say) -> None:
    with pytest.raises(Permanent, match=f"Creating the VM vm in {A} was refused: .*no such type") as raised:
        say(CreateNode=ApiError(code_pb2.INVALID_ARGUMENT, "no such type")).create(SPEC)
    assert not isinstance(raised.value, NoCapacity)


def test_without_a_zone_it_is_that_of_the_settings(say: Say, asked: Asked) -> None:
    vms = say(CreateNode=operation())
    assert vms.create(VmSpec("vm", "inner", "v6e-1", "r", {}, {})) == "op"
    assert asked[0][1].parent == f"projects/p/locations/{B}"


def test_a_request_in_the_queue_is_known_by_itself_and_by_its_creation(say: Say, asked: Asked) -> None:
    waits = VmSpec("vm", "inner", "v6e-1", "r", {}, {}, zone=A, queue_minutes=5)
    assert say(CreateQueuedResource=operation("op")).create(waits) == f"{QUEUED} op"
    assert (asked[0][1].parent, asked[0][1].queued_resource_id) == (f"projects/p/locations/{A}", "vm")
    there = ApiError(code_pb2.ALREADY_EXISTS, "there")
    assert say(CreateQueuedResource=there).create(waits) == QUEUED


def test_a_request_that_the_queue_never_had_says_why_by_its_creation(say: Say) -> None:
    failed = operation()
    failed.done = True
    failed.error.code, failed.error.message = code_pb2.RESOURCE_EXHAUSTED, "no quota"
    vms = say(GetOperation=failed)
    assert vms.progress(f"{QUEUED} op") == Progress("failed", "no quota", elsewhere=True)
    assert say().progress(f"{QUEUED} op") == Progress("unknown")
    assert say().progress(QUEUED) == Progress("unknown")
    assert say().progress("op") == Progress("unknown")


# --- what there is ---


def test_the_list_covers_all_zones_and_all_pages(say: Say, asked: Asked) -> None:
    def pages(request: Any) -> Any:
        if not request.page_token:
            return cloud_tpu.ListNodesResponse(nodes=[node(A, "one")], next_page_token="2")
        return cloud_tpu.ListNodesResponse(nodes=[node(B, "two"), node(A, "two")])

    found = say(ListNodes=pages, ListQueuedResources=cloud_tpu.ListQueuedResourcesResponse()).all()
    assert [(vm.name, vm.zone) for vm in found] == [("one", A), ("two", B), ("two", A)]
    assert {request.parent for _, request in asked} == {"projects/p/locations/-"}


def test_a_request_that_waits_is_listed_with_the_labels_of_its_vm(say: Say) -> None:
    requests = [
        queued(A, "one", "WAITING_FOR_RESOURCES", run="r"),
        queued(A, "two", "ACTIVE"),
        queued(B, "two", "SUSPENDED"),
    ]
    found = say(
        ListNodes=cloud_tpu.ListNodesResponse(nodes=[node(A, "two")]),
        ListQueuedResources=cloud_tpu.ListQueuedResourcesResponse(queued_resources=requests),
    ).all()
    assert [(vm.name, vm.zone, vm.state) for vm in found] == [
        ("two", A, "READY"),
        ("one", A, "WAITING_FOR_RESOURCES"),
        ("two", B, "SUSPENDED"),
    ]
    assert dict(found[1].labels) == {"run": "r"}


@pytest.mark.parametrize("which", ["ListNodes", "ListQueuedResources"])
def test_a_place_that_was_not_reached_is_told_with_what_was(say: Say, which: str) -> None:
    far = [f"projects/p/locations/{B}"]
    nodes = cloud_tpu.ListNodesResponse(nodes=[node(A, "one")])
    requests = cloud_tpu.ListQueuedResourcesResponse()
    (nodes if which == "ListNodes" else requests).unreachable = far
    with pytest.raises(Unreachable, match=f"could not reach {B}") as raised:
        say(ListNodes=nodes, ListQueuedResources=requests).all()
    assert [vm.name for vm in raised.value.found] == ["one"]


def test_a_queue_that_is_not_listed_hides_no_vm(say: Say) -> None:
    nodes = cloud_tpu.ListNodesResponse(nodes=[node(A, "one")])
    refused = ApiError(code_pb2.INVALID_ARGUMENT, "no such location")
    with pytest.raises(Unreachable, match="did not list its queue: no such location") as raised:
        say(ListNodes=nodes, ListQueuedResources=refused).all()
    assert [vm.name for vm in raised.value.found] == ["one"]


def test_a_zone_that_is_down_does_not_say_that_a_vm_is_gone(say: Say) -> None:
    with pytest.raises(Transient):
        say(GetNode=ApiError(code_pb2.UNAVAILABLE, "down")).get("vm", A)
    assert say().get("vm", A) is None


# --- deletion ---


def test_a_request_is_deleted_with_its_node(say: Say, asked: Asked) -> None:
    say(DeleteQueuedResource=operation()).delete("vm", A)
    ((name, request),) = asked
    assert (name, request.name, request.force) == ("DeleteQueuedResource", QUEUED, True)


def test_a_node_without_a_request_is_deleted_by_itself(say: Say, asked: Asked) -> None:
    say(DeleteNode=operation()).delete("vm", A)
    assert [(name, request.name) for name, request in asked] == [
        ("DeleteQueuedResource", QUEUED),
        ("DeleteNode", NODE),
    ]


def test_what_does_not_exist_is_deleted(say: Say) -> None:
    say().delete("vm", A)


@pytest.mark.parametrize("kind", ["node", "request"])
def test_what_is_being_deleted_is_deleted_and_what_cannot_be_is_said(say: Say, kind: str) -> None:
    refused = precondition("it is busy")
    names = ("DeleteNode", "GetNode") if kind == "node" else ("DeleteQueuedResource", "GetQueuedResource")

    def standing(state: str) -> Any:
        return node(A, "vm", state) if kind == "node" else queued(A, "vm", state)

    say(**dict(zip(names, (refused, standing("DELETING")), strict=True))).delete("vm", A)
    busy = standing("REPAIRING" if kind == "node" else "PROVISIONING")
    with pytest.raises(Permanent, match=r"Deleting the VM vm was refused: .*it is busy"):
        say(**dict(zip(names, (refused, busy), strict=True))).delete("vm", A)
