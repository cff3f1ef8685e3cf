"""Google's own library finds its credentials at the platform's metadata servers, each account its own."""

from __future__ import annotations

import time
from collections.abc import Iterator

import google.auth
import pytest
from google.auth.transport.requests import Request

from functions.local import metadata, project
from functions.local.ports import choose
from shared.emulators import tokens

KEY = b"k" * 32


@pytest.fixture
def ports() -> Iterator[dict[str, int]]:
    chosen = choose(["sync", "operator"], None)
    servers = metadata.MetadataServers(chosen, project.settings({}, tpu=1, registry=2), KEY)
    yield chosen
    servers.close()


@pytest.mark.parametrize("name", ["sync", "operator"])
def test_default_credentials_are_the_account_of_the_port(
    ports: dict[str, int],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path_factory.mktemp("gcloud")))
    for variable, value in metadata.environment(ports[name]).items():
        monkeypatch.setenv(variable, value)
    # google-auth reads the variables when it is imported.
    from google.auth.compute_engine import _metadata

    monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", f"127.0.0.1:{ports[name]}")
    monkeypatch.setattr(_metadata, "_GCE_DEFAULT_MDS_IP", f"127.0.0.1:{ports[name]}", raising=False)
    credentials, found = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    credentials.refresh(Request())
    assert found == project.PROJECT
    assert tokens.verify(KEY, credentials.token, time.time()) == project.account(name)


def test_foreign_credentials_and_proxies_stay_outside() -> None:
    kept = project.base_environment(
        {
            "GOOGLE_APPLICATION_CREDENTIALS": "/home/a/key.json",
            "CLOUDSDK_CONFIG": "/home/a/.config/gcloud",
            "DMZ_POLICY": "lenient",
            "FUNCTION_TARGET": "other",
            "https_proxy": "http://proxy:3128",
            "no_proxy": "intranet",
            "PATH": "/bin",
        }
    )
    assert set(kept) == {"https_proxy", "no_proxy", "NO_PROXY", "PATH"}
    assert kept["no_proxy"] == "intranet,127.0.0.1,localhost"
