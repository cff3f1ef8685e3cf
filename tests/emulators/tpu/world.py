"""A TPU platform with real VMs, and Google's own client before it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from google.cloud import tpu_v2
from google.cloud.tpu_v2.services.tpu.transports import TpuGrpcTransport

from shared.emulators import tpu
from shared.emulators.tpu import TpuPlatform

PROJECT = "test-project"
PARENT = f"projects/{PROJECT}/locations/us-central1-a"
OUTER, INNER = f"outer@{PROJECT}.iam.gserviceaccount.com", f"inner@{PROJECT}.iam.gserviceaccount.com"
HOST = "us-central1-python.pkg.dev"
Node, State = tpu_v2.Node, tpu_v2.Node.State


def configuration(directory: Path, **more: Any) -> dict[str, Any]:
    return {
        "state_dir": str(directory / "state"),
        "cache_dir": str(directory / "cache"),
        "token_key": str(directory / "key"),
        "project": PROJECT,
        "networks": {"outer-net": "outer", "inner-net": "inner"},
        "service_accounts": {OUTER: [f"projects/{PROJECT}/topics/outer-install-completed"], INNER: []},
        "no_capacity_zones": ["us-central1-c"],
        "quotas": {"us-east1-d": 0},
        "memory_bytes": 2**29,
    } | more


def started(root: Path, directory: Path, **more: Any) -> TpuPlatform:
    return TpuPlatform(tpu.parse_config(json.dumps(configuration(directory, **more))), root)


def client_of(port: int) -> tpu_v2.TpuClient:
    return tpu_v2.TpuClient(transport=TpuGrpcTransport(channel=grpc.insecure_channel(f"127.0.0.1:{port}")))


def node(network: str = "inner-net", external: bool = False, script: str = "", **fields: Any) -> Any:
    described = {
        "accelerator_type": "v5litepod-8",
        "runtime_version": "v2-alpha-tpuv5-lite",
        "network_config": {"network": network, "enable_external_ips": external},
        "service_account": {"email": OUTER if network == "outer-net" else INNER},
        "metadata": {"startup-script": script} if script else {},
    } | fields
    return Node({name: value for name, value in described.items() if value is not None})


def create(client: tpu_v2.TpuClient, node_id: str = "vm", parent: str = PARENT, **fields: Any) -> Any:
    return client.create_node(parent=parent, node_id=node_id, node=node(**fields)).result(timeout=120)


def until(found: Callable[[], Any], seconds: float = 120) -> Any:
    """What `found` returns, once it is true."""
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
    return result


def log_of(platform: TpuPlatform, name: str = "vm") -> str:
    """The serial log of the VM `name`, once its startup script has ended."""
    vm = platform.engine.get(name)
    assert vm
    path = vm.directory / "serial.log"
    return str(until(lambda: text if "Finished running" in (text := path.read_text()) else ""))
