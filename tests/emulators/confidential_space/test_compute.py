"""The Compute Engine API: what it takes, what it refuses and how."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx
import pytest

from shared.emulators import tokens
from shared.emulators.confidential_space import config
from shared.errors import Permanent
from tests.emulators.confidential_space.conftest import (
    FAMILY,
    HOST,
    KEY,
    OPERATOR,
    PROJECT,
    SERVICE,
    ZONE,
    ZONE_PATH,
    Make,
    Space,
    claims_of,
    configuration,
    request,
    said,
)

ASLEEP = "say('up')\ntime.sleep(600)\n"
SERIAL = {"tee-container-log-redirect": "serial"}


@pytest.fixture
def running(space: Make) -> Space:
    return space(ASLEEP)


def test_an_instance_from_insert_to_delete(running: Space) -> None:
    operation = running.insert(request(**SERIAL))
    assert (operation["kind"], operation["operationType"]) == ("compute#operation", "insert")
    got = running.api.get(f"{ZONE_PATH}/operations/{operation['name']}").json()
    assert (got["status"], got["targetLink"]) == ("DONE", operation["targetLink"])
    running.console("SAID")
    shown = running.instance()
    assert shown["status"] == "RUNNING"
    assert (shown["id"], shown["machineType"]) == (operation["targetId"], request()["machineType"])
    listed = running.api.get(f"{ZONE_PATH}/instances").json()["items"]
    assert [each["name"] for each in listed] == ["sample"]
    aggregated = running.api.get(f"/compute/v1/projects/{PROJECT}/aggregated/instances").json()["items"]
    assert [each["name"] for each in aggregated[f"zones/{ZONE}"]["instances"]] == ["sample"]
    running.insert(request(**SERIAL), 409)
    deleted = running.api.delete(f"{ZONE_PATH}/instances/sample").json()
    done = running.api.post(f"{ZONE_PATH}/operations/{deleted['name']}/wait", timeout=60).json()
    assert (done["status"], done["progress"]) == ("DONE", 100)
    assert running.api.get(f"{ZONE_PATH}/instances/sample").status_code == 404
    running.insert(request(**SERIAL))


def test_serial_output_goes_on_where_one_left_off(running: Space) -> None:
    running.insert(request(**SERIAL))
    running.console("SAID")
    path = f"{ZONE_PATH}/instances/sample/serialPort"
    whole = running.api.get(path).json()
    rest = running.api.get(path, params={"start": str(int(whole["next"]) - 5)}).json()
    assert rest["contents"] == whole["contents"][-5:]
    assert running.api.get(path, params={"start": "x"}).status_code == 400


@pytest.mark.parametrize(
    ("change", "code", "reason", "words"),
    [
        ({"name": "Sample"}, 400, "invalid", "resource.name"),
        ({"name": None}, 400, "invalid", "resource.name"),
        ({"name": "../x"}, 400, "invalid", "resource.name"),
        ({"machineType": ""}, 400, "invalid", "resource.machineType"),
        ({"disks": []}, 400, "invalid", "sourceImage"),
        ({"disks": "x"}, 400, "invalid", "wrong type"),
        (
            {"disks": [{"initializeParams": {"sourceImage": "projects/debian-cloud/global/images/family/debian-12"}}]},
            404, "notFound", "was not found",
        ),
        (
            {"disks": [{"initializeParams": {"sourceImage": FAMILY + "_x"}}]},
            404, "notFound", "was not found",
        ),
        ({"serviceAccounts": []}, 400, "invalid", "exactly one service account"),
        ({"serviceAccounts": [{"email": f"other@{PROJECT}.iam.gserviceaccount.com"}]}, 400, "invalid", "was not found"),
        ({"confidentialInstanceConfig": {"confidentialInstanceType": "SGX"}}, 400, "invalid", "one of SEV, TDX"),
        ({"metadata": {"items": [{"key": "a b"}]}}, 400, "invalid", "metadata.items[0].key"),
        ({"metadata": {"items": [{"key": "a"}, {"key": "a"}]}}, 400, "invalid", "Duplicate metadata keys"),
        ({"metadata": {"items": [{"key": "a", "value": "x" * 262_145}]}}, 400, "invalid", "too large"),
        ({"metadata": {"items": [{"key": n, "value": "x" * 200_000} for n in "abc"]}}, 400, "invalid", "too large"),
    ],
)  # fmt: skip
def test_refused_bodies(running: Space, change: dict[str, Any], code: int, reason: str, words: str) -> None:
    error = running.insert(request() | change, code)["error"]
    assert (error["code"], error["errors"][0]["reason"]) == (code, reason)
    assert words in error["message"]
    assert running.api.get(f"{ZONE_PATH}/instances").json()["items"] == []


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 100_000, b"\xff"])
def test_bodies_that_are_no_instances(running: Space, body: bytes) -> None:
    answer = running.api.post(f"{ZONE_PATH}/instances", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_who_may_call(running: Space) -> None:
    url = f"http://127.0.0.1:{running.platform.port}{ZONE_PATH}/instances"
    assert httpx.get(url).status_code == 401
    for token in (
        "x",
        tokens.mint(b"x" * 32, OPERATOR, time.time()),
        tokens.mint(KEY, OPERATOR, time.time() - 7200),
    ):
        assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 401
    workload = tokens.mint(KEY, SERVICE, time.time())
    answer = httpx.get(url, headers={"Authorization": f"Bearer {workload}"})
    assert (answer.status_code, answer.json()["error"]["errors"][0]["reason"]) == (403, "forbidden")
    assert running.api.get(f"/compute/v1/projects/other/zones/{ZONE}/instances").status_code == 403
    unknown = running.api.get(f"/compute/v1/projects/{PROJECT}/zones/mars-a/instances")
    assert (unknown.status_code, "Unknown zone" in unknown.text) == (400, True)
    assert running.api.put(f"{ZONE_PATH}/instances").status_code == 404
    assert running.api.get("/healthz").text == running.issuer.get("/healthz").text == "ok\n"


def test_the_issuer_serves_keys_and_root_and_nothing_else(running: Space) -> None:
    discovery = running.issuer.get("/.well-known/openid-configuration").json()
    assert discovery["issuer"] == "https://confidentialcomputing.googleapis.com"
    assert httpx.get(discovery["jwks_uri"]).json()["keys"]
    root = running.issuer.get("/.well-known/attestation-pki-root").json()
    assert httpx.get(root["root_ca_uri"]).text == running.platform.signer.pki.root_pem
    assert running.issuer.get(f"{ZONE_PATH}/instances").status_code == 404
    assert running.issuer.post("/.well-known/openid-configuration").status_code == 405


@pytest.mark.parametrize(
    ("change", "hardware"),
    [
        ({"confidentialInstanceConfig": {"enableConfidentialCompute": True}}, ("GCP_AMD_SEV", True, False)),
        ({"confidentialInstanceConfig": {"confidentialInstanceType": "TDX"}}, ("GCP_INTEL_TDX", True, True)),
        ({"confidentialInstanceConfig": {}, "shieldedInstanceConfig": {}}, ("GCP_SHIELDED_VM", False, False)),
    ],
)
def test_tokens_say_what_the_machine_is(
    space: Make, change: dict[str, Any], hardware: tuple[str, bool, bool]
) -> None:
    running = space("say(tee('GET', '/v1/token')[1])\n")
    running.insert(request(**SERIAL) | change)
    (token,) = said(running.console())
    claims = claims_of(token)
    assert (claims["hwmodel"], claims["secboot"], "tdx" in claims) == hardware


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"backends": {"example.com": "http://127.0.0.1:1"}}, "not below"),
        ({"registries": {HOST: "ftp://x"}}, "must be http://"),
        ({"registries": {}}, "must not be empty"),
        ({"operators": []}, "must not be empty"),
        ({"operators": [1]}, "list of strings"),
        ({"service_accounts": {"a@b": ["x"]}}, "`publish` and `pull`"),
        ({"service_accounts": {"a@b": {"admin": []}}}, "`publish` and `pull`"),
        ({"listen": "8080"}, "HOST:PORT"),
        ({"zones": []}, "nobody reads"),
        ({"project": 1}, "must be of type str"),
    ],
)
def test_configurations_that_are_refused(tmp_path: Any, change: dict[str, Any], words: str) -> None:
    with pytest.raises(Permanent) as error:
        config.parse(json.dumps(configuration(tmp_path, **change)))
    assert words in str(error.value)


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_configurations_that_are_none(text: str) -> None:
    with pytest.raises(Permanent):
        config.parse(text)
