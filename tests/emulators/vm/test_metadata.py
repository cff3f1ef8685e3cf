"""The metadata server, from inside a VM with the standard library and from outside with Google's own client."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from google.auth import compute_engine
from google.auth.compute_engine import _metadata
from google.auth.transport.requests import Request

from shared.emulators import tokens
from shared.emulators.vm import http1, metadata
from shared.emulators.vm.engine import Engine
from shared.emulators.vm.listen import Listeners
from shared.emulators.vm.spec import Network, VmSpec
from tests.emulators.vm.conftest import IDENTITY, KEY, PLACE, inside, spec
from tests.emulators.vm.support import listener

FLAVOR = {"Metadata-Flavor": "Google"}
V1 = "/computeMetadata/v1"
SPEC = VmSpec(
    "node-1", Network(False), IDENTITY, PLACE, {"startup-script": "#!/bin/sh\n", "dmz-run-id": "r1"}
)


@pytest.fixture
def address() -> Iterator[str]:
    listeners = Listeners("metadata")
    server, at = listener()
    answer = metadata.handler(SPEC, KEY)
    listeners.tcp(server, lambda connection: http1.serve(connection, answer))
    listeners.start()
    yield at
    listeners.close()


@pytest.fixture
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://{address}", headers=FLAVOR, trust_env=False) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/instance/name", "node-1"),
        ("/instance/id", "4242"),
        ("/instance/zone", "projects/123456789012/zones/us-central1-a"),
        ("/instance/hostname", "node-1.us-central1-a.c.test-project.internal"),
        ("/instance/attributes/", "dmz-run-id\nstartup-script\n"),
        ("/instance/attributes/startup-script", "#!/bin/sh\n"),
        ("/instance/attributes/dmz-run-id", "r1"),
        ("/instance/service-accounts/", f"default/\n{IDENTITY.email}/\n"),
        ("/instance/service-accounts/default/email", IDENTITY.email),
        (f"/instance/service-accounts/{IDENTITY.email}/email", IDENTITY.email),
        ("/instance/service-accounts/default/scopes", "https://www.googleapis.com/auth/cloud-platform\n"),
        ("/project/project-id", "test-project"),
        ("/project/numeric-project-id", "123456789012"),
        ("/project/project-id?alt=json", '"test-project"'),
    ],
)
def test_a_value_is_served_as_text(client: httpx.Client, path: str, text: str) -> None:
    response = client.get(V1 + path)
    assert (response.status_code, response.text) == (200, text)
    assert response.headers["Metadata-Flavor"] == "Google"


def test_recursive_answers_are_json_with_camel_case_keys(client: httpx.Client) -> None:
    found = client.get(f"{V1}/?recursive=true").json()
    assert found["project"]["projectId"] == "test-project"
    assert found["instance"]["attributes"] == dict(SPEC.attributes)
    account = found["instance"]["serviceAccounts"]["default"]
    assert account["aliases"] == ["default"]
    assert account["scopes"] == list(IDENTITY.scopes)
    assert "token" not in account
    assert client.get(f"{V1}/instance/attributes/?recursive=true").json() == dict(SPEC.attributes)


def test_the_token_is_this_vms_own(client: httpx.Client) -> None:
    answer = client.get(f"{V1}/instance/service-accounts/default/token").json()
    assert tokens.verify(KEY, answer["access_token"], time.time()) == IDENTITY.email
    assert answer["token_type"] == "Bearer"
    assert 0 < answer["expires_in"] <= 3600


def test_without_the_header_nothing_is_served(client: httpx.Client) -> None:
    for headers in ({}, {"Metadata-Flavor": "google"}):
        response = httpx.get(
            str(client.base_url) + V1 + "/project/project-id", headers=headers, trust_env=False
        )
        assert response.status_code == 403
        assert "Missing Metadata-Flavor:Google header" in response.text


def test_a_forwarded_request_is_refused(client: httpx.Client) -> None:
    assert client.get(f"{V1}/project/project-id", headers={"X-Forwarded-For": "10.0.0.1"}).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_written(client: httpx.Client, method: str) -> None:
    assert client.request(method, f"{V1}/instance/attributes/x", content=b"x").status_code == 405


@pytest.mark.parametrize(
    "path", ["/instance/attributes/absent", "/instance/name/deeper", "/instance/%2e%2e/x"]
)
def test_what_is_not_there_is_not_found(client: httpx.Client, path: str) -> None:
    assert client.get(V1 + path).status_code == 404


def test_a_directory_without_slash_redirects(client: httpx.Client) -> None:
    response = client.get(f"{V1}/instance/attributes")
    assert response.status_code == 301
    assert response.headers["Location"].endswith("/instance/attributes/")


def test_googles_client_finds_its_credentials_there(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", address)
    monkeypatch.setenv("GCE_METADATA_IP", address)
    assert _metadata.ping(Request())
    credentials = compute_engine.Credentials()
    credentials.refresh(Request())
    assert credentials.service_account_email == IDENTITY.email
    assert tokens.verify(KEY, credentials.token, time.time()) == IDENTITY.email
    assert _metadata.get_project_id(Request()) == "test-project"


def test_a_vm_reads_it_under_its_real_name(engine: Engine) -> None:
    engine.boot(spec(script="#!/bin/true\n"))
    url = f"http://metadata.google.internal{V1}/instance/?recursive=true"
    done = inside(engine, "vm", "curl", "-fsS", "-H", "Metadata-Flavor: Google", url)
    assert json.loads(done.stdout)["attributes"] == {"startup-script": "#!/bin/true\n"}
    assert inside(engine, "vm", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url).stdout == "403"
