"""TPU VMs through the Cloud TPU API (https://cloud.google.com/tpu/docs/reference/rest/v2/projects.locations.nodes)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import grpc
from google.api_core import exceptions
from google.cloud import tpu_v2
from google.cloud.tpu_v2.services.tpu.transports import TpuGrpcTransport

from shared.gcp.errors import translated
from shared.ports import Vm, VmSpec
from shared.settings import Settings

_TIMEOUT = 60.0
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class TpuVms:
    """Port `Vms` for the one zone that the settings name."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parent = f"projects/{settings.project}/locations/{settings.zone}"

    @cached_property
    def _client(self) -> Any:
        if not self._settings.tpu_endpoint:
            return tpu_v2.TpuClient()
        channel = grpc.insecure_channel(self._settings.tpu_endpoint)
        return tpu_v2.TpuClient(transport=TpuGrpcTransport(channel=channel))

    def create(self, spec: VmSpec) -> str:
        outer = spec.kind == "outer"
        node = tpu_v2.Node(
            accelerator_type=spec.accelerator_type,
            runtime_version=spec.runtime_version,
            network_config=tpu_v2.NetworkConfig(
                network=self._settings.outer_network if outer else self._settings.inner_network,
                enable_external_ips=outer,
            ),
            service_account=tpu_v2.ServiceAccount(email=self._settings.account(spec.kind), scope=[_SCOPE]),
            metadata=dict(spec.metadata),
            labels=dict(spec.labels),
        )
        with translated(f"Creating the VM {spec.name}"):
            try:
                creation = self._client.create_node(
                    parent=self._parent, node_id=spec.name, node=node, timeout=_TIMEOUT
                )
            except exceptions.AlreadyExists:
                return ""
            return str(creation.operation.name)

    def get(self, name: str) -> Vm | None:
        with translated(f"Looking up the VM {name}"):
            try:
                return _vm(self._client.get_node(name=f"{self._parent}/nodes/{name}", timeout=_TIMEOUT))
            except exceptions.NotFound:
                return None

    def failure(self, operation: str) -> str:
        with translated(f"Looking up the operation {operation}"):
            try:
                found = self._client.get_operation({"name": operation}, timeout=_TIMEOUT)
            except exceptions.NotFound:
                return ""
            return str(found.error.message) if found.done and found.HasField("error") else ""

    def all(self) -> Sequence[Vm]:
        with translated("Listing the VMs"):
            return [_vm(node) for node in self._client.list_nodes(parent=self._parent, timeout=_TIMEOUT)]

    def delete(self, name: str) -> None:
        with translated(f"Deleting the VM {name}"):
            try:
                self._client.delete_node(name=f"{self._parent}/nodes/{name}", timeout=_TIMEOUT)
            except exceptions.NotFound:
                return
            except exceptions.FailedPrecondition:
                # Deleting what is being deleted already is refused, and is what was asked for.
                vm = self.get(name)
                if vm is not None and vm.state != "DELETING":
                    raise


def _vm(node: Any) -> Vm:
    return Vm(node.name.rsplit("/", 1)[-1], tpu_v2.Node.State(node.state).name, dict(node.labels))
