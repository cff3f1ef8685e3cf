"""The Cloud TPU API's messages from our words and back. Pure.

Sources: https://cloud.google.com/tpu/docs/reference/rpc/google.cloud.tpu.v2 and the comments of cloud_tpu.proto. What
v2alpha1 has and v2 lacks: `guaranteed.reserved`, `best_effort`, `provisioning_model`, `run_duration`. A reservation is
therefore named by `reservation_name`, where `-` stands for whichever the project has, as gcloud's `--reserved` does.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from google.cloud import tpu_v2
from google.rpc import code_pb2

from shared.ports.machines import Progress, Vm, VmSpec
from shared.settings import Settings

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_AT_ONCE = timedelta(minutes=5)
"""How long a request may wait that is not meant to: a named reservation can be asked for in the queue only."""
_FINAL = frozenset(
    {
        code_pb2.INVALID_ARGUMENT,
        code_pb2.NOT_FOUND,
        code_pb2.ALREADY_EXISTS,
        code_pb2.PERMISSION_DENIED,
        code_pb2.UNAUTHENTICATED,
        code_pb2.FAILED_PRECONDITION,
        code_pb2.UNIMPLEMENTED,
    }
)
"""Codes of a request that is wrong itself. A queue gives its other failures, a wait in vain among them, any code."""
_State = tpu_v2.QueuedResourceState.State
_ENDED = {_State.SUSPENDING: "suspended", _State.SUSPENDED: "suspended", _State.DELETING: "deleted"}


def queued(spec: VmSpec) -> bool:
    """Whether the VM is asked for in the queue."""
    return spec.queue_minutes > 0 or bool(spec.reservation)


def node(spec: VmSpec, settings: Settings) -> Any:
    """The TPU VM of `spec`. Its zone is the parent's, and with it the region of the subnetwork."""
    outer = spec.kind == "outer"
    network = tpu_v2.NetworkConfig(
        network=settings.outer_network if outer else settings.inner_network,
        subnetwork=settings.outer_subnetwork if outer else settings.inner_subnetwork,
        enable_external_ips=outer,
    )
    made = tpu_v2.Node(
        accelerator_type=spec.accelerator_type,
        runtime_version=spec.runtime_version,
        network_config=network,
        service_account=tpu_v2.ServiceAccount(email=settings.account(spec.kind), scope=[_SCOPE]),
        metadata=dict(spec.metadata),
        labels=dict(spec.labels),
    )
    if not queued(spec) and spec.provisioning != "on-demand":  # in the queue, the request says it
        made.scheduling_config = tpu_v2.SchedulingConfig(
            spot=spec.provisioning == "spot", reserved=spec.provisioning == "reserved"
        )
    return made


def queued_resource(spec: VmSpec, settings: Settings, parent: str) -> Any:
    """The request for that VM in the queue of its zone. On demand is what has neither tier nor reservation."""
    wanted = tpu_v2.QueuedResource.Tpu.NodeSpec(parent=parent, node_id=spec.name, node=node(spec, settings))
    wait = timedelta(minutes=spec.queue_minutes) or _AT_ONCE
    asked = tpu_v2.QueuedResource(
        tpu=tpu_v2.QueuedResource.Tpu(node_spec=[wanted]),
        queueing_policy=tpu_v2.QueuedResource.QueueingPolicy(valid_until_duration=wait),
    )
    if spec.provisioning == "spot":
        asked.spot = tpu_v2.QueuedResource.Spot()
    elif spec.provisioning == "reserved":
        asked.guaranteed = tpu_v2.QueuedResource.Guaranteed()
        short = spec.reservation or "-"
        asked.reservation_name = short if "/" in short else f"{parent}/reservations/{short}"
    return asked


def vm(found: Any) -> Vm:
    """A TPU VM as the API shows it."""
    return Vm(
        name=found.name.rsplit("/", 1)[-1],
        state=tpu_v2.Node.State(found.state).name,
        labels=dict(found.labels),
        zone=zone_of(found.name),
        workers=max(1, len(found.network_endpoints)),
    )


def waiting(found: Any) -> Vm:
    """A request in the queue whose VM is not there, with its VM's labels: requests have none of their own."""
    specs = found.tpu.node_spec
    return Vm(
        name=found.name.rsplit("/", 1)[-1],
        state=_State(found.state.state).name,
        labels=dict(specs[0].node.labels) if specs else {},
        zone=zone_of(found.name),
    )


def zone_of(name: str) -> str:
    """The zone in projects/P/locations/ZONE/…"""
    return str(name.split("/")[3])


def operation(found: Any) -> Progress:
    """What a long-running operation says of the creation."""
    if not found.done:
        return Progress("waiting")
    if not found.HasField("error"):
        return Progress("made")
    return Progress("failed", str(found.error.message), found.error.code == code_pb2.RESOURCE_EXHAUSTED)


def request(found: Any) -> Progress:
    """What a request in the queue says of itself."""
    state = found.state.state
    if state == _State.ACTIVE:
        return Progress("made")
    if state == _State.FAILED:
        error = found.state.failed_data.error
        why = str(error.message) or "The queue gave no VM in time, and no reason."
        return Progress("failed", why, error.code not in _FINAL)
    if state not in _ENDED:
        return Progress("waiting")
    by_user = found.state.state_initiator == tpu_v2.QueuedResourceState.StateInitiator.USER
    by_hand = by_user or state == _State.DELETING
    who = "by hand" if by_hand else "by the service"
    return Progress("failed", f"Its request was {_ENDED[state]} {who} before it reported.", not by_hand)
