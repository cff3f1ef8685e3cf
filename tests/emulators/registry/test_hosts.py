"""Which host serves what, and who may."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.emulators.registry.support import (
    NOBODY,
    PROJECT,
    READER,
    WRITER,
    Registry,
    in_process,
    make_wheel,
    repository,
    upload_wheel,
)

PATHS = {
    "artifactregistry.googleapis.com": f"/v1/{repository('py')}",
    "us-central1-apt.pkg.dev": f"/projects/{PROJECT}/dists/trixie/InRelease",
    "us-central1-python.pkg.dev": f"/{PROJECT}/py/simple/",
}


@pytest.mark.parametrize("host", PATHS)
def test_each_host_serves_its_own_paths_alone(registry: Registry, host: str) -> None:
    client = registry.client(READER)
    for owner, path in PATHS.items():
        for name in (host, f"{host}:443", host.upper()):
            answer = client.get(path, headers={"Host": name})
            assert (answer.status_code == 200) == (owner == host), (owner, name)


@pytest.mark.parametrize("path", PATHS.values())
def test_the_loopback_address_serves_all(registry: Registry, path: str) -> None:
    client = registry.client(READER)
    assert client.get(path).status_code == 200
    assert client.get(path, headers={"Host": "localhost:1"}).status_code == 200
    assert client.get(path, headers={"Host": "[::1]:1"}).status_code == 200
    for other in ("europe-west1-python.pkg.dev", "example.com", ""):
        assert client.get(path, headers={"Host": other}).status_code == 404


@pytest.mark.parametrize("path", PATHS.values())
def test_tokens(registry: Registry, path: str) -> None:
    client = registry.client(None)

    def asked(authorization: str) -> int:
        return client.get(path, headers={"Authorization": authorization.encode()}).status_code

    def basic(user: str, password: str) -> str:
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    token = registry.token(READER)
    assert asked(f"Bearer {token}") == 200
    assert asked(basic("oauth2accesstoken", token)) == 200
    assert asked(basic("someone", token)) == 401
    assert asked(basic("oauth2accesstoken", token[:-1])) == 401
    assert asked(f"Bearer {registry.token(READER, lifetime=-1)}") == 401
    assert asked(f"Bearer {registry.token(NOBODY)}") == 403
    for malformed in (
        "Bearer",
        "Basic !!",
        "Digest x",
        "Bearer ya29.é",
        basic("oauth2accesstoken", ""),
        token,
    ):
        assert asked(malformed) == 401, malformed
    assert client.get(path).status_code == 401


def test_roles_on_one_repository(tmp_path: Path, signing_key: Path) -> None:
    iam = {"py": {"reader": [READER], "writer": [WRITER]}}
    with in_process(tmp_path, signing_key, iam=iam) as registry:
        wheel = make_wheel(tmp_path)
        assert upload_wheel(registry.client(READER), wheel).status_code == 403
        assert upload_wheel(registry.client(WRITER), wheel).status_code == 200
        reader = registry.client(READER)
        assert reader.get(f"/{PROJECT}/py/dmz-demo/{wheel.name}").status_code == 200
        assert reader.get(f"/v1/{repository('trixie')}").status_code == 403
        assert reader.get(f"/v1/{repository('absent')}").status_code == 403
        listed = reader.get(f"/v1/projects/{PROJECT}/locations/us-central1/repositories").json()
        assert [item["name"] for item in listed["repositories"]] == [repository("py")]
        assert registry.client(WRITER).delete(f"/v1/{repository('py')}/packages/dmz-demo").status_code == 403
