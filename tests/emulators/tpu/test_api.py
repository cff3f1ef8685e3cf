"""The TPU API with Google's own client, over the wire, with real VMs behind it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2

from shared.emulators import tokens, tpu
from shared.emulators.tpu import TpuPlatform
from shared.emulators.vm.engine import enter_command
from shared.errors import Permanent
from tests.emulators.tpu.world import (
    HOST,
    OUTER,
    PARENT,
    PROJECT,
    Node,
    State,
    client_of,
    configuration,
    create,
    log_of,
    node,
    until,
)
from tests.emulators.vm.support import origin, reply


def test_a_node_lives_through_its_states(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    operation = client.create_node(parent=PARENT, node_id="vm", node=node(labels={"dmz-run": "r1"}))
    assert (operation.metadata.verb, operation.metadata.target) == ("create", f"{PARENT}/nodes/vm")
    assert operation.metadata.api_version == "v2"
    made = operation.result(timeout=120)
    assert operation.metadata.end_time >= operation.metadata.create_time
    assert (made.name, made.state, made.health) == (f"{PARENT}/nodes/vm", State.READY, Node.Health.HEALTHY)
    assert dict(made.labels) == {"dmz-run": "r1"}
    assert client.get_node(name=made.name) == made
    vm = platform.engine.get("vm")
    assert vm
    gone = client.delete_node(name=made.name)
    assert gone.metadata.verb == "delete"
    gone.result(timeout=120)
    assert not vm.alive
    with pytest.raises(exceptions.NotFound):
        client.get_node(name=made.name)


def test_ready_means_booted_not_finished(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    assert create(client, script="#!/bin/sh\nsleep 3600\n").state == State.READY
    vm = platform.engine.get("vm")
    assert vm
    assert "Finished running" not in (vm.directory / "serial.log").read_text()


def test_a_node_that_still_boots_is_creating(client: tpu_v2.TpuClient) -> None:
    operation = client.create_node(parent=PARENT, node_id="vm", node=node())
    assert client.get_node(name=f"{PARENT}/nodes/vm").state in (State.CREATING, State.READY)
    client.delete_node(name=f"{PARENT}/nodes/vm").result(timeout=120)
    operation.result(timeout=120)
    assert list(client.list_nodes(parent=PARENT)) == []


@pytest.mark.parametrize(
    ("network", "external", "reached"),
    [
        ("outer-net", True, True),
        ("outer-net", False, False),
        ("inner-net", False, False),
        ("inner-net", True, False),
    ],
)
def test_only_an_outer_node_with_an_external_address_has_internet(
    client: tpu_v2.TpuClient, platform: TpuPlatform, network: str, external: bool, reached: bool
) -> None:
    script = "#!/bin/sh\ncurl -sS -m 20 -o /dev/null -w 'code %{http_code}\\n' https://pypi.org/simple/six/\n"
    create(client, network=network, external=external, script=script)
    assert ("code 200" in log_of(platform)) is reached


def test_a_node_has_its_accounts_token_and_its_metadata(
    client: tpu_v2.TpuClient, platform: TpuPlatform, tmp_path: Path
) -> None:
    base = "http://metadata.google.internal/computeMetadata/v1/instance/"
    fetch = "curl -fsS -H Metadata-Flavor:Google"
    script = f"#!/bin/sh\n{fetch} {base}service-accounts/default/token; echo\n"
    script += f"{fetch} {base}attributes/; {fetch} {base}zone\n"
    create(client, network="outer-net", metadata={"startup-script": script, "dmz-run-id": "r7"})
    text = log_of(platform)
    token = json.loads(next(line for line in text.splitlines() if line.startswith("{")))["access_token"]
    assert tokens.verify((tmp_path / "key").read_bytes(), token, time.time()) == OUTER
    assert "dmz-run-id\n" in text
    assert "accelerator-type\n" in text
    assert "/zones/us-central1-a" in text


def test_an_inner_node_reaches_the_backends_and_an_outer_one_does_not(root: Path, tmp_path: Path) -> None:
    with origin(lambda handler: reply(handler, b"the package")) as registry:
        config = configuration(tmp_path, backends={HOST: registry.url})
        running = TpuPlatform(tpu.parse_config(json.dumps(config)), root)
        script = f"#!/bin/sh\ncurl -sS https://{HOST}/p/r/simple/\n"
        for name, network in (("in", "inner-net"), ("out", "outer-net")):
            create(client_of(running.port), name, network=network, script=script)
        assert "the package" in log_of(running, "in")
        assert "Could not resolve host" in log_of(running, "out")
        assert len(registry.seen) == 1
        running.close()


def test_nodes_are_listed_in_pages(client: tpu_v2.TpuClient) -> None:
    for number in range(3):
        create(client, f"vm-{number}")
    create(client, "vm-0", parent=f"projects/{PROJECT}/locations/us-west1-a")  # a namesake elsewhere
    first = client.list_nodes(request={"parent": PARENT, "page_size": 2})
    assert [len(page.nodes) for page in first.pages] == [2, 1]
    assert [found.name[-4:] for found in client.list_nodes(parent=PARENT)] == ["vm-0", "vm-1", "vm-2"]
    assert len(list(client.list_nodes(parent=f"projects/{PROJECT}/locations/-"))) == 4
    client.delete_node(name=f"{PARENT}/nodes/vm-0").result(timeout=120)
    assert len(list(client.list_nodes(parent=f"projects/{PROJECT}/locations/-"))) == 3
    with pytest.raises(exceptions.InvalidArgument, match="page token"):
        client.list_nodes(request={"parent": PARENT, "page_token": "\x00"})


def test_what_exists_cannot_be_created_again(client: tpu_v2.TpuClient) -> None:
    create(client)
    with pytest.raises(exceptions.AlreadyExists) as caught:
        create(client)
    assert caught.value.details[0].resource_name == f"{PARENT}/nodes/vm"


def test_what_does_not_exist_is_not_found(client: tpu_v2.TpuClient) -> None:
    for call in (client.get_node, client.delete_node):
        with pytest.raises(exceptions.NotFound, match="was not found"):
            call(name=f"{PARENT}/nodes/absent")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"runtime_version": None}, "'runtime_version' is required"),
        ({"accelerator_type": None}, "'accelerator_type'"),
        ({"network_configs": [{"network": "inner-net"}]}, "mutually exclusive"),
        ({"network": "absent-net"}, "network 'absent-net' was not found"),
        ({"network_config": None}, "network 'default' was not found"),
        ({"service_account": {"email": "absent@p"}}, "service account 'absent@p' does not exist"),
        ({"node_id": "Bad_Id"}, "Invalid node id"),
        ({"metadata": {"big": "x" * (256 * 1024 + 1)}}, "'big' has 262145 bytes"),
        ({"metadata": {f"part-{n}": "x" * 200_000 for n in range(3)}}, "524288 are allowed"),
        ({"metadata": {"a/b": "x"}}, "metadata key 'a/b'"),
    ],
)
def test_a_bad_request_is_refused(client: tpu_v2.TpuClient, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=said):
        create(client, **fields)
    assert list(client.list_nodes(parent=PARENT)) == []


@pytest.mark.parametrize(
    "parent", ["projects/other/locations/us-central1-a", f"projects/{PROJECT}/locations/nowhere"]
)
def test_another_project_or_no_zone_is_forbidden(client: tpu_v2.TpuClient, parent: str) -> None:
    with pytest.raises(exceptions.PermissionDenied):
        create(client, parent=parent)


def test_no_capacity_comes_in_the_operation(client: tpu_v2.TpuClient) -> None:
    zone = f"projects/{PROJECT}/locations/us-central1-c"
    operation = client.create_node(parent=zone, node_id="vm", node=node())
    with pytest.raises(exceptions.ResourceExhausted, match='no more capacity in the zone "us-central1-c"'):
        operation.result(timeout=120)
    assert operation.operation.error.code == 8
    assert list(client.list_nodes(parent=zone)) == []


def test_quota_is_refused_at_once(client: tpu_v2.TpuClient) -> None:
    with pytest.raises(exceptions.ResourceExhausted, match="Quota limit") as caught:
        client.create_node(parent=f"projects/{PROJECT}/locations/us-east1-d", node_id="vm", node=node())
    assert isinstance(caught.value.details[0], error_details_pb2.QuotaFailure)


def test_operations_are_found_by_name(client: tpu_v2.TpuClient) -> None:
    operation = client.create_node(parent=PARENT, node_id="vm", node=node())
    operation.result(timeout=120)
    name = operation.operation.name
    assert client.get_operation({"name": name}).done
    listed = client.list_operations(operations_pb2.ListOperationsRequest(name=PARENT))
    assert [found.name for found in listed.operations] == [name]
    again = [client.create_node(parent=PARENT, node_id=each, node=node()).operation.name for each in "ab"]
    asked, pages = operations_pb2.ListOperationsRequest(name=PARENT, page_size=2), list[list[str]]()
    while not pages or asked.page_token:
        page = client.list_operations(asked)
        pages.append([found.name for found in page.operations])
        asked.page_token = page.next_page_token
    assert [len(each) for each in pages] == [2, 1]
    assert sorted(pages[0] + pages[1]) == sorted([name, *again])
    client.delete_operation({"name": name})
    with pytest.raises(exceptions.NotFound):
        client.get_operation({"name": name})


def test_what_the_stand_in_lacks_is_unimplemented(client: tpu_v2.TpuClient) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="changes no node"):
        client.update_node(node={"name": f"{PARENT}/nodes/vm"})
    with pytest.raises(exceptions.MethodNotImplemented):
        client.get_guest_attributes({"name": f"{PARENT}/nodes/vm"})


def test_a_node_whose_vm_ended_is_stopped(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    create(client)
    vm = platform.engine.get("vm")
    assert vm
    os.kill(vm.pid, signal.SIGKILL)
    until(lambda: client.get_node(name=f"{PARENT}/nodes/vm").state == State.STOPPED)
    client.delete_node(name=f"{PARENT}/nodes/vm").result(timeout=120)


def test_a_machine_that_cannot_boot_says_so_in_the_operation(
    client: tpu_v2.TpuClient, platform: TpuPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")  # so slirp4netns is missing
    with pytest.raises(exceptions.InternalServerError, match="slirp4netns is missing: install"):
        create(client, network="outer-net", external=True)
    assert list(client.list_nodes(parent=PARENT)) == []
    assert not list((platform.engine.state / "vms").iterdir())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"project": None}, "lacks `project`"),
        ({"colour": "red"}, "a field that nobody reads: `colour`"),
        ({"networks": []}, "`networks` in the configuration must be of type dict"),
        ({"networks": {}}, "at least one"),
        ({"networks": {"n": "sideways"}}, 'must be "outer", "inner"'),
        ({"networks": {"n": {"kind": "outer", "hosts": [HOST]}}}, "has no backend"),
        ({"backends": {"pypi.org": "http://127.0.0.1:1"}}, "not below"),
    ],
)
def test_a_bad_configuration_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    config = {key: value for key, value in (configuration(tmp_path) | change).items() if value is not None}
    with pytest.raises(Permanent, match=said):
        tpu.parse_config(json.dumps(config))


def test_it_serves_as_a_process_and_dies_with_its_vms(root: Path, tmp_path: Path) -> None:
    config, port_file = tmp_path / "config.json", tmp_path / "port"
    config.write_text(
        json.dumps(configuration(tmp_path, port_file=str(port_file), cache_dir=str(root.parent)))
    )
    command = [sys.executable, "-m", "shared.emulators.tpu", "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        assert port_file.read_text() == f"{port}\n"
        create(client_of(port))
        pid = int((tmp_path / "state/vms/vm/pid").read_text())
        entered = subprocess.run(
            enter_command(pid, ["hostname"]), capture_output=True, text=True, timeout=120
        )
        assert entered.stdout == "vm\n"
        second = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert second.returncode == 1
        assert (
            second.stderr == f"Another platform already uses {tmp_path}/state; stop it or choose another.\n"
        )
        process.terminate()
        assert process.wait(120) == 0
    assert not Path(f"/proc/{pid}").exists()
    assert not list((tmp_path / "state/vms").iterdir())
