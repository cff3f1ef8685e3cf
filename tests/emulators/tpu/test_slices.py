"""Slices of several hosts: one VM each, which knows its number and the others' addresses."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2
from google.rpc import error_details_pb2

from shared.emulators.tpu import TpuPlatform
from tests.emulators.tpu.conftest import Start
from tests.emulators.tpu.world import PARENT, PROJECT, State, client_of, create, log_of, node
from tests.emulators.vm.conftest import inside

BASE = "http://metadata.google.internal/computeMetadata/v1/instance"
TELL = "#!/bin/sh\n" + "".join(
    f"echo {name} $(curl -fsS -H Metadata-Flavor:Google {BASE}/attributes/{name})\n"
    for name in ("agent-worker-number", "worker-network-endpoints", "accelerator-type", "dmz-run-id")
)
WORKERS = ("vm", "vm-w-1", "vm-w-2", "vm-w-3")


def told(platform: TpuPlatform, vm: str) -> dict[str, str]:
    """What the startup script of a worker read."""
    words = [line.split(": ")[-1].split(" ", 1) for line in log_of(platform, vm).splitlines()]
    return {pair[0]: pair[1] for pair in words if len(pair) == 2}


def test_each_worker_is_told_its_number_and_all_addresses(
    client: tpu_v2.TpuClient, platform: TpuPlatform
) -> None:
    made = create(
        client, accelerator_type="v5litepod-16", metadata={"startup-script": TELL, "dmz-run-id": "r7"}
    )
    assert made.state == State.READY
    addresses = [each.ip_address for each in made.network_endpoints]
    assert len(set(addresses)) == 4
    assert all(ipaddress.ip_address(address).is_private for address in addresses)
    endpoints = ",".join(f"unknown:unknown:{address}" for address in addresses)
    for number, name in enumerate(WORKERS):
        found = told(platform, name)
        assert found["agent-worker-number"] == str(number)
        assert found["worker-network-endpoints"] == endpoints
        assert (found["accelerator-type"], found["dmz-run-id"]) == ("v5litepod-16", "r7")
    assert inside(platform.engine, "vm-w-3", "hostname").stdout == "vm-w-3\n"
    client.delete_node(name=made.name).result(timeout=120)
    assert not list((platform.engine.state / "vms").iterdir())


def test_the_users_metadata_does_not_speak_for_the_platform(
    client: tpu_v2.TpuClient, platform: TpuPlatform
) -> None:
    create(client, metadata={"agent-worker-number": "7", "worker-network-endpoints": "x"})
    vm = platform.engine.get("vm")
    assert vm
    assert vm.spec.attributes["agent-worker-number"] == "0"
    assert vm.spec.attributes["worker-network-endpoints"].startswith("unknown:unknown:10.")


def test_a_slice_of_which_one_worker_has_ended_is_stopped(
    client: tpu_v2.TpuClient, platform: TpuPlatform
) -> None:
    made = create(client, accelerator_type="v5p-16")
    worker = platform.engine.get("vm-w-1")
    assert worker
    worker.end("for the test")
    found = client.get_node(name=made.name)
    assert (found.state, found.health_description) == (State.STOPPED, "Workers that have ended: [1].")


def test_namesakes_in_two_zones_have_vms_of_their_own(
    client: tpu_v2.TpuClient, platform: TpuPlatform
) -> None:
    for zone in ("us-central1-a", "us-west1-a"):
        create(client, parent=f"projects/{PROJECT}/locations/{zone}", accelerator_type="v5p-16")
    assert len(list((platform.engine.state / "vms").iterdir())) == 4
    create(client, "vm-w-2")  # as a third worker would be called
    long = "a" * 63
    create(client, long, accelerator_type="v5p-16")
    assert {long, f"{'a' * 56}-w-1"} <= {path.name for path in (platform.engine.state / "vms").iterdir()}


def test_a_name_that_a_worker_has_is_not_given_again(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    create(client, accelerator_type="v5p-16")
    create(client, "vm-w-1")
    names = sorted(path.name for path in (platform.engine.state / "vms").iterdir())
    assert names[:2] == ["vm", "vm-w-1"]
    assert names[2].startswith("vm-w-1-")


def test_more_hosts_than_this_machine_boots_are_refused(start: Start) -> None:
    client = client_of(start(max_hosts=2).port)
    with pytest.raises(exceptions.ResourceExhausted, match=r"v5litepod-16: 4 hosts; .* at most 2") as caught:
        create(client, accelerator_type="v5litepod-16")
    assert isinstance(caught.value.details[0], error_details_pb2.QuotaFailure)
    spec = [{"parent": PARENT, "node_id": name, "node": node(accelerator_type="v5p-16")} for name in "ab"]
    request = tpu_v2.QueuedResource({"tpu": {"node_spec": spec}})
    with pytest.raises(exceptions.ResourceExhausted, match="2 nodes: 4 hosts"):
        client.create_queued_resource(parent=PARENT, queued_resource_id="q", queued_resource=request)
    offered = [each.type_ for each in client.list_accelerator_types(parent=PARENT)]
    assert "v5p-16" in offered
    assert "v5litepod-16" not in offered


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        ({"type_": "V5LITE_POD", "topology": "2x4"}, "v5litepod-8"),
        ({"type_": "V4", "topology": "2x2x1"}, "v4-8"),
    ],
)
def test_a_version_and_a_topology_are_an_accelerator_type(
    client: tpu_v2.TpuClient, config: Any, kind: str
) -> None:
    assert create(client, accelerator_type=None, accelerator_config=config).accelerator_type == kind


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"accelerator_type": "v9-8"}, 'accelerator type, "v9-8", could not be found'),
        ({"accelerator_type": "v5litepod-12"}, "v5litepod-12 was not found in zone us-central1-a"),
        ({"accelerator_type": "v6e-1"}, "v6e-1 was not found in zone us-central1-a"),
        ({"accelerator_config": {"type_": "V4", "topology": "2x2x1"}}, "mutually exclusive"),
        ({"accelerator_type": None, "accelerator_config": {"type_": "V4"}}, "a 'topology' like 4x4"),
        (
            {"accelerator_type": None, "accelerator_config": {"type_": "V6E", "topology": "3x3"}},
            "v6e-9 was not found",
        ),
    ],
)
def test_what_the_zone_has_not_is_refused_at_once(start: Start, fields: dict[str, Any], said: str) -> None:
    client = client_of(start(accelerator_types={"us-central1-a": ["v5litepod-8", "v4-8"]}).port)
    with pytest.raises(exceptions.InvalidArgument, match=said):
        create(client, **fields)


def test_the_catalogue_of_a_zone(start: Start) -> None:
    client = client_of(start(accelerator_types={"us-central1-a": ["v6e-1"]}).port)
    assert [each.type_ for each in client.list_accelerator_types(parent=PARENT)] == ["v6e-1"]
    assert client.get_accelerator_type(name=f"{PARENT}/acceleratorTypes/v6e-1").type_ == "v6e-1"
    version = client.list_runtime_versions(parent=PARENT).runtime_versions[0]
    assert client.get_runtime_version(name=version.name) == version
    for call, name in (
        (client.get_accelerator_type, f"{PARENT}/acceleratorTypes/v4-8"),
        (client.get_runtime_version, f"{PARENT}/runtimeVersions/none"),
    ):
        with pytest.raises(exceptions.NotFound):
            call(name=name)
