"""The real gcloud command line, by REST: what an operator types is what happens."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.emulators import tpu
from shared.emulators.tpu import TpuPlatform
from shared.errors import Permanent
from tests.emulators.tpu.conftest import Start
from tests.emulators.tpu.world import INNER, PARENT, PROJECT, configuration, until

ZONE = "--zone=us-central1-a"
NODE = (
    "--accelerator-type=v5litepod-8",
    f"--service-account={INNER}",
    "--network=inner-net",
    "--internal-ips",
)
VERSION = "v2-alpha-tpuv5-lite"


@pytest.fixture
def served(start: Start) -> TpuPlatform:
    return start(rest_listen="127.0.0.1:0", reservations={"us-central1-a": {"mine": 1}})


class Gcloud:
    """`gcloud compute tpus`, with a configuration of its own."""

    def __init__(self, port: int, folder: Path) -> None:
        tool = shutil.which("gcloud")
        assert tool, "gcloud is missing: install google-cloud-cli"
        self._command = (tool, "compute", "tpus")
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CLOUDSDK_CONFIG": str(folder / "gcloud"),
            "CLOUDSDK_CORE_PROJECT": PROJECT,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "true",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
            "CLOUDSDK_AUTH_ACCESS_TOKEN": "x",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_TPU": f"http://127.0.0.1:{port}/",
            "no_proxy": "127.0.0.1",
        }

    def __call__(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            (*self._command, *arguments, ZONE),
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stderr

    def shown(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--format=json"))


@pytest.fixture
def gcloud(served: TpuPlatform, tmp_path: Path) -> Gcloud:
    return Gcloud(served.rest_port, tmp_path)


def test_an_operator_makes_stops_starts_and_deletes_a_vm(gcloud: Gcloud, served: TpuPlatform) -> None:
    gcloud("tpu-vm", "create", "vm", *NODE, f"--version={VERSION}", "--spot", "--metadata=dmz-run-id=r7")
    vm = served.engine.get("vm")
    assert vm
    assert vm.spec.attributes["dmz-run-id"] == "r7"
    shown = gcloud.shown("tpu-vm", "describe", "vm")
    assert (shown["state"], shown["schedulingConfig"]) == ("READY", {"spot": True})
    assert "already exists" in gcloud("tpu-vm", "create", "vm", *NODE, f"--version={VERSION}", status=1)
    gcloud("tpu-vm", "stop", "vm")
    assert [each["state"] for each in gcloud.shown("tpu-vm", "list")] == ["STOPPED"]
    gcloud("tpu-vm", "start", "vm")
    assert gcloud.shown("tpu-vm", "describe", "vm")["state"] == "READY"
    gcloud("tpu-vm", "delete", "vm", "--quiet")
    assert gcloud.shown("tpu-vm", "list") == []
    assert "NOT_FOUND" in gcloud("tpu-vm", "describe", "vm", status=1)


def test_an_operator_asks_in_the_queue(gcloud: Gcloud, served: TpuPlatform) -> None:
    served.capacity.set_empty({"us-central1-a"})
    assert "no more capacity" in gcloud("tpu-vm", "create", "x", *NODE, f"--version={VERSION}", status=1)
    words = ("--node-id=vm", f"--runtime-version={VERSION}", *NODE)
    gcloud("queued-resources", "create", "q", *words, "--valid-until-duration=6h")
    until(lambda: _state(gcloud, "q") == "WAITING_FOR_RESOURCES")
    served.capacity.set_empty(())
    until(lambda: _state(gcloud, "q") == "ACTIVE")
    assert gcloud.shown("tpu-vm", "describe", "vm")["queuedResource"] == f"{PARENT}/queuedResources/q"
    assert "have not been deleted" in gcloud("queued-resources", "delete", "q", "--quiet", status=1)
    gcloud("queued-resources", "delete", "q", "--quiet", "--force")
    assert gcloud.shown("queued-resources", "list") == []


def test_a_reservation_by_gclouds_flag_is_any_of_the_projects(gcloud: Gcloud, served: TpuPlatform) -> None:
    served.capacity.set_empty({"us-central1-a"})
    words = ("--node-id=vm", f"--runtime-version={VERSION}", *NODE)
    gcloud("queued-resources", "create", "q", *words, "--reserved")
    until(lambda: _state(gcloud, "q") == "ACTIVE")


def _state(gcloud: Gcloud, name: str) -> str:
    return str(gcloud.shown("queued-resources", "describe", name)["state"]["state"])


def asked(
    port: int, verb: str, path: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """Status and JSON of a plain request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request(verb, path, body, {"Authorization": "Bearer x"} if headers is None else headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


@pytest.mark.parametrize(
    ("verb", "path", "body", "status", "said"),
    [
        ("GET", "/v2/projects/p", "", 404, "There is nothing at"),
        ("GET", f"/v2/{PARENT}/dogs", "", 404, "There is nothing at"),
        ("GET", f"/v2/{PARENT}/nodes/absent", "", 404, "was not found"),
        ("PUT", f"/v2/{PARENT}/nodes", "", 501, "has no PUT here"),
        ("DELETE", f"/v2/{PARENT}/nodes", "", 501, "has no DELETE here"),
        ("POST", f"/v2/{PARENT}/nodes/vm:dance", "", 501, "has no DanceNode here"),
        ("PATCH", f"/v2/{PARENT}/nodes/vm?updateMask=labels", "{}", 501, "changes no node"),
        ("POST", f"/v2/{PARENT}/nodes?nodeId=vm", "{", 400, "Invalid JSON payload"),
        ("POST", f"/v2/{PARENT}/nodes?nodeId=vm", '{"colour": "red"}', 400, "colour"),
        ("POST", f"/v2/{PARENT}/nodes?nodeId=vm", "[]", 400, "Invalid JSON payload"),
        ("POST", f"/v2/{PARENT}/nodes/vm:stop", "[]", 400, "Invalid JSON payload"),
        ("POST", f"/v2/{PARENT}/nodes?nodeId=vm", "{}", 400, "'runtime_version' is required"),
        ("GET", f"/v2/{PARENT}/nodes?pageSize=many", "", 400, "Invalid JSON payload"),
        ("GET", "/v2/projects/other/locations/us-central1-a/acceleratorTypes", "", 403, "Permission denied"),
    ],
)
def test_a_bad_request_is_answered_with_a_reason(
    served: TpuPlatform, verb: str, path: str, body: str, status: int, said: str
) -> None:
    found, answer = asked(served.rest_port, verb, path, body)
    assert (found, answer["error"]["code"]) == (status, status)
    assert said in answer["error"]["message"]


def test_a_web_page_can_ask_for_nothing(served: TpuPlatform) -> None:
    status, answer = asked(served.rest_port, "GET", f"/v2/{PARENT}/nodes", headers={})
    assert (status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("headers", [{"Content-Length": "9999999"}, {"Content-Length": "x"}])
def test_a_body_without_measure_is_refused(served: TpuPlatform, headers: dict[str, str]) -> None:
    headers["Authorization"] = "Bearer x"
    status, answer = asked(served.rest_port, "POST", f"/v2/{PARENT}/nodes", headers=headers)
    assert (status, "Content-Length" in answer["error"]["message"]) == (400, True)


def test_lists_and_operations_as_json(served: TpuPlatform) -> None:
    status, kinds = asked(served.rest_port, "GET", f"/v2/{PARENT}/acceleratorTypes")
    assert (status, "v6e-1" in [each["type"] for each in kinds["acceleratorTypes"]]) == (200, True)
    body = {
        "acceleratorType": "v5litepod-8",
        "runtimeVersion": VERSION,
        "networkConfig": {"network": "inner-net"},
        "serviceAccount": {"email": INNER},
    }
    status, begun = asked(served.rest_port, "POST", f"/v2/{PARENT}/nodes?nodeId=vm", json.dumps(body))
    assert (status, begun["metadata"]["target"]) == (200, f"{PARENT}/nodes/vm")
    done = until(
        lambda: (found := asked(served.rest_port, "GET", f"/v2/{begun['name']}")[1]).get("done") and found
    )
    assert done["response"]["state"] == "READY"
    listed = asked(served.rest_port, "GET", f"/v2/{PARENT}/operations")[1]
    assert [each["name"] for each in listed["operations"]] == [begun["name"]]


@pytest.mark.parametrize("address", ["127.0.0.1", ":80", "127.0.0.1:99999", "127.0.0.1:x"])
def test_where_rest_listens_is_checked(tmp_path: Path, address: str) -> None:
    with pytest.raises(Permanent, match="must be HOST:PORT"):
        tpu.parse_config(json.dumps(configuration(tmp_path, rest_listen=address)))
