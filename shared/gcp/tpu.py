"""TPU VMs through the Cloud TPU API (https://cloud.google.com/tpu/docs/reference/rest/v2/projects.locations.nodes).

A VM is a node, or a node that a queued resource of the same name makes when there is room for it
(https://cloud.google.com/tpu/docs/queued-resources). IAM has no permissions of their own for queued resources: those of
nodes count (https://cloud.google.com/iam/docs/roles-permissions/tpu).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import grpc
from google.api_core import exceptions
from google.cloud import tpu_v2
from google.cloud.tpu_v2.services.tpu.transports import TpuGrpcTransport

from shared.gcp import tpu_messages as messages
from shared.gcp.errors import translated
from shared.model import accelerators
from shared.model.value import printable
from shared.ports.machines import NoCapacity, Progress, Unreachable, Vm, VmSpec
from shared.settings import Settings

_TIMEOUT = 60.0
_TOO_FAST = "RATE_LIMIT_EXCEEDED"
"""The reason (google.rpc.ErrorInfo) of a call that came too often: it has the code of a zone without capacity."""


class TpuVms:
    """Port `Vms` for the project that the settings name. Their zone is meant where none is given."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _client(self) -> Any:
        if not self._settings.tpu_endpoint:
            return tpu_v2.TpuClient()
        channel = grpc.insecure_channel(self._settings.tpu_endpoint)
        return tpu_v2.TpuClient(transport=TpuGrpcTransport(channel=channel))

    def hosts(self, accelerator_type: str) -> int:
        return accelerators.hosts(accelerator_type)

    def create(self, spec: VmSpec) -> str:
        parent = self._parent(spec.zone)
        with translated(f"Creating the VM {spec.name} in {messages.zone_of(parent)}"), _capacity():
            if messages.queued(spec):
                return self._queue(spec, parent)
            made = messages.node(spec, self._settings)
            try:
                creation = self._client.create_node(
                    parent=parent, node_id=spec.name, node=made, timeout=_TIMEOUT
                )
            except exceptions.AlreadyExists:
                return ""
            return str(creation.operation.name)

    def progress(self, request: str) -> Progress:
        """Of an operation; or of a queued resource, behind whose name the operation stands that made it."""
        name, _, creation = request.partition(" ")
        with translated(f"Looking up the request {name}"):
            if "/queuedResources/" not in name:
                return self._operation(name)
            try:
                return messages.request(self._client.get_queued_resource(name=name, timeout=_TIMEOUT))
            except exceptions.NotFound:
                return self._operation(creation) if creation else Progress("unknown")

    def get(self, name: str, zone: str) -> Vm | None:
        with translated(f"Looking up the VM {name}"):
            try:
                return messages.vm(
                    self._client.get_node(name=f"{self._parent(zone)}/nodes/{name}", timeout=_TIMEOUT)
                )
            except exceptions.NotFound:
                return None

    def all(self) -> Sequence[Vm]:
        everywhere = self._parent("-")
        with translated("Listing the VMs"):
            nodes, dark = _listed(self._client.list_nodes, everywhere, "nodes")
        vms = [messages.vm(node) for node in nodes]
        try:
            requests, dark_too = _listed(self._client.list_queued_resources, everywhere, "queued_resources")
        except exceptions.GoogleAPICallError as error:  # what is known of nodes is worth telling
            raise Unreachable(f"The TPU API did not list its queue: {_words(error)}", vms) from error
        there = {(vm.zone, vm.name) for vm in vms}
        vms += [vm for vm in map(messages.waiting, requests) if (vm.zone, vm.name) not in there]
        if unreachable := sorted({*dark, *dark_too}):
            raise Unreachable(
                f"The TPU API could not reach {', '.join(unreachable)}: what is there is not known and may cost money.",
                vms,
            )
        return vms

    def delete(self, name: str, zone: str) -> None:
        """The queued resource with its node; the node by itself if there is no such request."""
        parent = self._parent(zone)
        with translated(f"Deleting the VM {name}"):
            if self._delete_request(f"{parent}/queuedResources/{name}"):
                return
            try:
                self._client.delete_node(name=f"{parent}/nodes/{name}", timeout=_TIMEOUT)
            except exceptions.NotFound:
                return
            except exceptions.FailedPrecondition:
                # Deleting what is being deleted already is refused, and is what was asked for.
                vm = self.get(name, zone)
                if vm is not None and vm.state != "DELETING":
                    raise

    def _queue(self, spec: VmSpec, parent: str) -> str:
        name = f"{parent}/queuedResources/{spec.name}"
        try:
            creation = self._client.create_queued_resource(
                parent=parent,
                queued_resource_id=spec.name,
                queued_resource=messages.queued_resource(spec, self._settings, parent),
                timeout=_TIMEOUT,
            )
        except exceptions.AlreadyExists:
            return name
        return f"{name} {creation.operation.name}"

    def _operation(self, name: str) -> Progress:
        try:
            return messages.operation(self._client.get_operation({"name": name}, timeout=_TIMEOUT))
        except exceptions.NotFound:
            return Progress("unknown")

    def _delete_request(self, name: str) -> bool:
        """False if there is no such request. With `force` its node goes first, whatever state both are in."""
        request = tpu_v2.DeleteQueuedResourceRequest(name=name, force=True)
        try:
            self._client.delete_queued_resource(request=request, timeout=_TIMEOUT)
        except exceptions.NotFound:
            return False
        except exceptions.FailedPrecondition:
            found = self._client.get_queued_resource(name=name, timeout=_TIMEOUT)
            if found.state.state != tpu_v2.QueuedResourceState.State.DELETING:
                raise
        return True

    def _parent(self, zone: str) -> str:
        return f"projects/{self._settings.project}/locations/{zone or self._settings.zone}"


def _listed(method: Callable[..., Any], parent: str, field: str) -> tuple[list[Any], list[str]]:
    """Everything on every page, and the places that were not reached."""
    found: list[Any] = []
    dark: list[str] = []
    for page in method(parent=parent, timeout=_TIMEOUT).pages:
        found += getattr(page, field)
        dark += (place.rsplit("/", 1)[-1] for place in page.unreachable)
    return found, dark


@contextmanager
def _capacity() -> Iterator[None]:
    """Raise NoCapacity for a zone without room, and for a quota that is used up there."""
    try:
        yield
    except exceptions.ResourceExhausted as error:
        if error.reason == _TOO_FAST:
            raise
        raise NoCapacity(_words(error)) from error


def _words(error: exceptions.GoogleAPICallError) -> str:
    return printable(" ".join(str(error.message).split()), 500)
