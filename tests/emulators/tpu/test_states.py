"""Nodes that are stopped and started, taken back by Google, or paid for by a reservation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import tpu_v2

from shared.emulators.tpu import TpuPlatform
from shared.errors import Permanent
from tests.emulators.tpu.conftest import Start
from tests.emulators.tpu.world import (
    PARENT,
    PROJECT,
    State,
    client_of,
    create,
    log_of,
    node,
    until,
)
from tests.emulators.vm.conftest import inside

NAME = f"{PARENT}/nodes/vm"
RESERVED = {"us-central1-a": {"mine": 1}}
Queued = tpu_v2.QueuedResourceState.State


def stop(client: tpu_v2.TpuClient) -> Any:
    return client.stop_node({"name": NAME}).result(timeout=120)


def start_again(client: tpu_v2.TpuClient) -> Any:
    return client.start_node({"name": NAME}).result(timeout=120)


def test_a_stopped_node_starts_again_with_its_disk(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    # What stands at the places of mounts is the guest's: a link there must not lead the next boot astray.
    script = "#!/bin/sh\necho boot >>/root/boots; echo boots: $(wc -l </root/boots)\nln -sfn / /.old-root\n"
    create(client, script=script)
    assert "boots: 1" in log_of(platform)
    vm = platform.engine.get("vm")
    assert vm
    assert stop(client).state == State.STOPPED
    assert not vm.alive
    assert client.get_node(name=NAME).state == State.STOPPED
    assert start_again(client).state == State.READY
    until(lambda: "boots: 2" in (vm.directory / "serial.log").read_text())
    assert "boots: 1" in (vm.directory / "serial.log").read_text()
    assert inside(platform.engine, "vm", "wc", "-l", "/root/boots").stdout == "2 /root/boots\n"
    client.delete_node(name=NAME).result(timeout=120)
    assert not list((platform.engine.state / "vms").iterdir())


def test_only_what_runs_is_stopped_and_only_what_is_stopped_starts(client: tpu_v2.TpuClient) -> None:
    create(client)
    with pytest.raises(exceptions.FailedPrecondition, match="start is not supported while in state READY"):
        start_again(client)
    stop(client)
    with pytest.raises(exceptions.FailedPrecondition, match="stop is not supported while in state STOPPED"):
        stop(client)
    client.delete_node(name=NAME).result(timeout=120)
    with pytest.raises(exceptions.NotFound):
        stop(client)


def test_a_slice_of_several_hosts_does_not_stop(client: tpu_v2.TpuClient) -> None:
    create(client, accelerator_type="v5p-16")
    with pytest.raises(exceptions.InvalidArgument, match="several hosts does not stop"):
        stop(client)
    assert client.get_node(name=NAME).state == State.READY


def test_a_start_may_find_no_capacity(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    create(client)
    stop(client)
    platform.capacity.set_empty({"us-central1-a"})
    with pytest.raises(exceptions.ResourceExhausted, match="no more capacity"):
        start_again(client)
    assert client.get_node(name=NAME).state == State.STOPPED
    platform.capacity.set_empty(())
    assert start_again(client).state == State.READY


def test_a_node_whose_vm_ended_starts_again(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    create(client)
    vm = platform.engine.get("vm")
    assert vm
    vm.end("for the test")
    assert start_again(client).state == State.READY
    assert client.get_node(name=NAME).health_description == ""


@pytest.mark.parametrize("terms", [{"spot": True}, {"preemptible": True}])
def test_a_preempted_node_stays_listed_until_it_is_deleted(
    client: tpu_v2.TpuClient, platform: TpuPlatform, terms: dict[str, bool]
) -> None:
    create(client, scheduling_config=terms)
    vm = platform.engine.get("vm")
    assert vm
    platform.nodes.preempt(NAME)
    assert not vm.alive
    assert "the platform ended this VM: preempted" in (vm.directory / "serial.log").read_text()
    assert [each.state for each in client.list_nodes(parent=PARENT)] == [State.PREEMPTED]
    with pytest.raises(exceptions.FailedPrecondition, match="not supported while in state PREEMPTED"):
        start_again(client)
    client.delete_node(name=NAME).result(timeout=120)
    assert list(client.list_nodes(parent=PARENT)) == []


def test_nobody_takes_an_ordinary_node_back(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    create(client)
    for name in (NAME, f"{PARENT}/nodes/absent"):
        with pytest.raises(Permanent, match="none can be preempted"):
            platform.nodes.preempt(name)
    assert client.get_node(name=NAME).state == State.READY


def test_reserved_capacity_is_there_for_those_who_have_reserved(start: Start) -> None:
    client = client_of(start(reservations=RESERVED, no_capacity_zones=["us-central1-a"]).port)
    create(client, scheduling_config={"reserved": True})
    with pytest.raises(exceptions.ResourceExhausted, match="Insufficient reserved capacity"):
        create(client, "second", scheduling_config={"reserved": True})
    client.delete_node(name=NAME).result(timeout=120)
    create(client, "second", scheduling_config={"reserved": True})


def test_without_a_reservation_nothing_is_reserved(client: tpu_v2.TpuClient) -> None:
    operation = client.create_node(
        parent=PARENT, node_id="vm", node=node(scheduling_config={"reserved": True})
    )
    with pytest.raises(exceptions.ResourceExhausted, match="Insufficient reserved capacity"):
        operation.result(timeout=120)
    assert list(client.list_nodes(parent=PARENT)) == []
    with pytest.raises(exceptions.InvalidArgument, match="either reserved, or spot"):
        create(client, scheduling_config={"reserved": True, "spot": True})


def test_a_queued_request_waits_for_its_reservation_and_not_for_one_that_is_not_there(start: Start) -> None:
    client = client_of(start(reservations=RESERVED, no_capacity_zones=["us-central1-a"]).port)
    create(client, scheduling_config={"reserved": True})

    def ask(name: str, reservation: str) -> None:
        spec = {"parent": PARENT, "node_id": name, "node": node()}
        reservation = f"projects/{PROJECT}/locations/us-central1-a/reservations/{reservation}"
        request = tpu_v2.QueuedResource({"tpu": {"node_spec": [spec]}, "reservation_name": reservation})
        client.create_queued_resource(parent=PARENT, queued_resource_id=name, queued_resource=request)

    def state(name: str) -> Any:
        return client.get_queued_resource(name=f"{PARENT}/queuedResources/{name}").state

    ask("q", "mine")
    ask("lost", "other")
    until(lambda: state("lost").state == Queued.FAILED)
    assert state("lost").failed_data.error.code == 8
    until(lambda: state("q").state == Queued.WAITING_FOR_RESOURCES)
    client.delete_node(name=NAME).result(timeout=120)
    until(lambda: state("q").state == Queued.ACTIVE)
    ask("any", "-")
    until(lambda: state("any").state == Queued.WAITING_FOR_RESOURCES)
    assert client.get_node(name=f"{PARENT}/nodes/q").scheduling_config.reserved


def control(platform: TpuPlatform, content: Any) -> None:
    path = Path(platform.engine.state) / "control.json"
    partial = path.with_suffix(".new")
    partial.write_text(content if isinstance(content, str) else json.dumps(content))
    partial.replace(path)


def test_a_file_takes_capacity_away_and_gives_it_back(
    client: tpu_v2.TpuClient, platform: TpuPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(name: str, zone: str) -> bool:
        parent = f"projects/{PROJECT}/locations/{zone}"
        try:
            client.delete_node(name=create(client, name, parent=parent).name).result(timeout=120)
        except exceptions.ResourceExhausted:
            return True
        return False

    assert refused("a", "us-central1-c")
    control(platform, {"no_capacity_zones": ["us-central1-a"]})
    until(lambda: refused("b", "us-central1-a"))
    assert not refused("c", "us-central1-c")
    for wrong in ("{", "[]", '{"no_capacity_zones": "us-central1-c"}', '{"colour": []}'):
        caplog.clear()
        control(platform, wrong)
        until(lambda: "is left as it is" in caplog.text)
    assert refused("d", "us-central1-a")
    (Path(platform.engine.state) / "control.json").unlink()
    until(lambda: refused("e", "us-central1-c"))


def test_a_platform_does_not_obey_what_an_earlier_one_was_told(start: Start, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/control.json").write_text('{"no_capacity_zones": ["us-central1-a"]}')
    create(client_of(start().port))
    assert not (tmp_path / "state/control.json").exists()


def test_a_file_preempts_each_named_node_once(client: tpu_v2.TpuClient, platform: TpuPlatform) -> None:
    spot = {"scheduling_config": {"spot": True}}
    control(platform, {"preempt": ["vm"]})
    create(client, "kept", **spot)
    create(client, **spot)
    until(lambda: client.get_node(name=NAME).state == State.PREEMPTED)
    client.delete_node(name=NAME).result(timeout=120)
    create(client, **spot)
    control(platform, {"preempt": ["vm", f"{PARENT}/nodes/kept"]})
    until(lambda: client.get_node(name=f"{PARENT}/nodes/kept").state == State.PREEMPTED)
    assert client.get_node(name=NAME).state == State.READY
