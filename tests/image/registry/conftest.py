"""Both registries that pushes and pulls are tried against: Debian's docker-registry and our Artifact Registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.emulators.registry.openpgp import SigningKey
from shared.image.registry_auth import Login
from tests.emulators.registry.support import PROJECT, READER, WRITER, in_process
from tests.image.registry.scripted import Scripted, scripted
from tests.image.registry.support import Proxy, Target, docker_registry

USER = "oauth2accesstoken"


@pytest.fixture(scope="session")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signing") / "signing-key.json"
    SigningKey.load(path, "test")
    return path


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Target]:
    """Debian's docker-registry, with a user and his password."""
    folder = tmp_path / "docker-registry"
    folder.mkdir()
    with docker_registry(folder, user="pusher") as target:
        yield target


@pytest.fixture
def artifact(tmp_path: Path, signing_key: Path) -> Iterator[Target]:
    """Our stand-in for Artifact Registry."""
    folder = tmp_path / "artifact-registry"
    folder.mkdir()
    with in_process(folder, signing_key) as running:
        login = Login(USER, lambda: running.token(WRITER))
        reader = Login(USER, lambda: running.token(READER))
        yield Target(f"127.0.0.1:{running.port}", f"{PROJECT}/images/", login, reader)


@pytest.fixture(params=["docker", "artifact"])
def target(request: pytest.FixtureRequest) -> Target:
    """Each of the two."""
    found: Target = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def proxy(target: Target) -> Iterator[Proxy]:
    running = Proxy(int(target.host.rpartition(":")[2]))
    yield running
    running.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once."""
    for module in ("shared.patience", "shared.image.registry_upload"):
        monkeypatch.setattr(f"{module}.random.uniform", lambda _low, _high: 0.0)


@pytest.fixture
def hostile() -> Iterator[Scripted]:
    with scripted() as running:
        yield running


@pytest.fixture
def other() -> Iterator[Scripted]:
    """Another server, which must learn nothing."""
    with scripted() as running:
        yield running
