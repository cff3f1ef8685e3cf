"""The emulator with its API over the wire, and images that run in it."""

from __future__ import annotations

import base64
import datetime
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.emulators import tokens
from shared.emulators.confidential_space import config, keys
from shared.emulators.confidential_space.platform import Platform
from tests.emulators.confidential_space import images
from tests.emulators.vm.conftest import root  # noqa: F401 - a fixture

PROJECT, ZONE = "test-project", "us-central1-a"
HOST = "us-central1-docker.pkg.dev"
REFERENCE = f"{HOST}/{PROJECT}/services/sample:v1"
SERVICE = f"service@{PROJECT}.iam.gserviceaccount.com"
OPERATOR = f"operator@{PROJECT}.iam.gserviceaccount.com"
TOPIC = f"projects/{PROJECT}/topics/attestation-requested"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/sample-input"
FAMILY = "projects/confidential-space-images/global/images/family/confidential-space"
KEY = b"k" * 32
ZONE_PATH = f"/compute/v1/projects/{PROJECT}/zones/{ZONE}"

# What the programs of the tests begin with: a client for the launcher's socket, and for HTTPS.
TOOLS = r"""
import http.client, json, os, socket, ssl, sys, time, urllib.error, urllib.request

def tee(method, path, body=None):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect("/run/container_launcher/teeserver.sock")
    connection.request(method, path, body=None if body is None else json.dumps(body))
    answer = connection.getresponse()
    return answer.status, answer.read().decode()

def fetch(url, data=None, **headers):
    request = urllib.request.Request(url, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()

def access_token():
    found = fetch("http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token",
                  **{"Metadata-Flavor": "Google"})
    return json.loads(found[1])["access_token"]

def say(value):
    print("SAID " + json.dumps(value), flush=True)
"""


@pytest.fixture(scope="session")
def base(root: Path, tmp_path_factory: pytest.TempPathFactory) -> images.Blob:  # noqa: F811 - the fixture
    return images.python_layer(root, tmp_path_factory.mktemp("base") / "python.tar")


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of 4096 bits take seconds: one chain for all tests."""
    directory = tmp_path_factory.mktemp("ca")
    keys.authority(directory, datetime.datetime.now(datetime.UTC))
    return directory


@pytest.fixture(scope="session")
def authority(ca: Path) -> keys.Authority:
    return keys.authority(ca, datetime.datetime.now(datetime.UTC))


def configuration(directory: Path, **more: Any) -> dict[str, Any]:
    key = directory / "key"
    if not key.exists():
        key.write_bytes(KEY)
    return {
        "state_dir": str(directory / "state"),
        "ca_dir": str(directory / "ca"),
        "token_key": str(key),
        "project": PROJECT,
        "zone": ZONE,
        "service_accounts": {SERVICE: {"publish": [TOPIC], "pull": [SUBSCRIPTION]}},
        "operators": [OPERATOR],
        "registries": {HOST: f"layout:{directory / 'image'}"},
        "memory_bytes": 2**29,
        "processes": 256,
    } | more


def request(name: str = "sample", *, family: str = FAMILY, **items: str) -> dict[str, Any]:
    """The body of instances.insert; `items` are metadata, with `_` for `-` but in tee-env-NAME."""
    given = {"tee-image-reference": REFERENCE, **items}
    return {
        "name": name,
        "machineType": f"zones/{ZONE}/machineTypes/c3-standard-4",
        "disks": [{"boot": True, "initializeParams": {"sourceImage": family}}],
        "metadata": {"items": [{"key": key, "value": value} for key, value in given.items()]},
        "serviceAccounts": [{"email": SERVICE, "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}],
        "confidentialInstanceConfig": {"confidentialInstanceType": "TDX", "enableConfidentialCompute": True},
        "shieldedInstanceConfig": {"enableSecureBoot": True},
    }


def claims_of(token: str) -> dict[str, Any]:
    return json.loads(_decode(token.split(".")[1]))  # type: ignore[no-any-return]


def header_of(token: str) -> dict[str, Any]:
    return json.loads(_decode(token.split(".")[0]))  # type: ignore[no-any-return]


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Space:
    """A running emulator and a client of its API."""

    platform: Platform
    directory: Path

    def __post_init__(self) -> None:
        token = tokens.mint(KEY, OPERATOR, time.time())
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{self.platform.port}", headers={"Authorization": f"Bearer {token}"}
        )
        self.issuer = httpx.Client(base_url=f"http://127.0.0.1:{self.platform.issuer_port}")

    def insert(self, body: Mapping[str, Any], code: int = 200) -> dict[str, Any]:
        answer = self.api.post(f"{ZONE_PATH}/instances", json=body)
        assert answer.status_code == code, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def instance(self, name: str = "sample") -> dict[str, Any]:
        answer = self.api.get(f"{ZONE_PATH}/instances/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()  # type: ignore[no-any-return]

    def console(
        self, until: str = "launcher exiting", name: str = "sample", seconds: float = 60, times: int = 1
    ) -> str:
        """The serial port's output, once `until` is in it so many times."""
        deadline = time.monotonic() + seconds
        while True:
            said = self.api.get(f"{ZONE_PATH}/instances/{name}/serialPort").json()["contents"]
            if said.count(until) >= times:
                return str(said)
            assert time.monotonic() < deadline, said
            time.sleep(0.05)

    def status(self, wanted: str, name: str = "sample", seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while (found := self.instance(name)["status"]) != wanted:
            assert time.monotonic() < deadline, (found, self.console("", name))
            time.sleep(0.05)


def said(console: str) -> list[Any]:
    """What a program of ours said, in order."""
    lines = [line for line in console.splitlines() if line.startswith("SAID ")]
    return [json.loads(line.removeprefix("SAID ")) for line in lines]


Make = Callable[..., Space]


@pytest.fixture
def space(
    tmp_path: Path, authority: keys.Authority, base: images.Blob, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Make]:
    """`space(program, labels={}, config={}, **more)`: an emulator whose registry has that image; `more` configures
    it."""
    monkeypatch.setattr(keys, "authority", lambda *_: authority)
    running: list[Space] = []

    def make(
        program: str = "",
        labels: Mapping[str, str] | None = None,
        config_: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Space:
        allowed = {"tee.launch_policy.log_redirect": "always", **(labels or {})}
        images.layout(tmp_path / "image", base, TOOLS + program, labels=allowed, config=config_)
        made = Platform(config.parse(json.dumps(configuration(tmp_path, **more))))
        running.append(Space(made, tmp_path))
        return running[-1]

    yield make
    for each in running:
        each.api.close()
        each.issuer.close()
        each.platform.close()
