"""Artifact Registry as it is on a bad day: busy, failing late, and with other bytes under the name that is to come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from shared.emulators.registry.openpgp import SigningKey
from shared.errors import Permanent, Transient
from shared.gcp.registry import ArtifactRegistry
from shared.model.lock import LockedArchive, LockedPython
from shared.patience import Busy
from shared.settings import Settings
from tests.emulators.registry.support import LOCATION, PROJECT, WRITER, Registry, in_process
from tests.support import built
from tests.support.built import Built
from tests.support.pauses import noted

KINDS = ["python", "apt", "generic"]
UPLOADS = {"python": r"/dmz-inner/py/", "apt": "aptArtifacts:create", "generic": "genericArtifacts:create"}
STORES = {"python": "py", "apt": "trixie", "generic": "files"}


@dataclass
class Shop:
    """The real client over the emulator, and the pauses that it would have taken."""

    emulator: Registry
    client: ArtifactRegistry
    folder: Path
    pauses: list[float]

    def upload(self, kind: str, text: str = "") -> None:
        """Always the same file by name; `text` makes other bytes of it."""
        if kind == "python":
            wheel = built.wheel("thing", "1.0", text=text)
            (self.folder / wheel.filename).write_bytes(wheel.content)
            locked = LockedPython(
                name="thing",
                version="1.0",
                filename=wheel.filename,
                sha256=wheel.sha256,
                url="own:x",
                record=None,
            )
            self.client.upload_python("py", locked, self.folder / wheel.filename)
        elif kind == "apt":
            deb = made(text)
            (self.folder / deb.filename).write_bytes(deb.content)
            self.client.upload_apt("trixie", archive(deb), self.folder / deb.filename)
        else:
            (self.folder / "file").write_bytes(b"content" + text.encode())
            self.client.upload_generic("files", "generic", "1", "file", self.folder / "file")

    def held(self, kind: str) -> int:
        return len(self.client.stored(STORES[kind]))

    def fault(self, where: str, count: int, **action: Any) -> None:
        self.emulator.order(method="POST", path=UPLOADS[where], count=count, action=action)


@cache
def made(text: str, architecture: str = "amd64") -> Built:
    """Made once: dpkg-deb writes the time into it."""
    return built.deb("thing", "2:1.0-1", architecture, "thing", "2:1.0-1", text)


def archive(deb: Built, architecture: str = "amd64") -> LockedArchive:
    return LockedArchive(
        name="thing",
        version="2:1.0-1",
        architecture=architecture,
        source_name="thing",
        source_version="2:1.0-1",
        filename=deb.filename,
        url=f"https://deb.test/{deb.filename}",
        sha256=deb.sha256,
        size=len(deb.content),
        suite="trixie",
    )


@pytest.fixture(scope="module")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signing") / "signing-key.json"
    SigningKey.load(path, "test")
    return path


@pytest.fixture
def shop(tmp_path: Path, signing_key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with in_process(tmp_path, signing_key) as running:
        settings = Settings(project=PROJECT, location=LOCATION, registry_endpoint=running.url)
        client = ArtifactRegistry(settings)
        token = Credentials(running.token(WRITER))  # as google.auth.default
        client.__dict__["_credentials"] = token
        yield Shop(running, client, tmp_path, noted(monkeypatch))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_service_is_left_alone_and_asked_again(shop: Shop, kind: str, code: int) -> None:
    shop.fault(kind, 2, kind="status", code=code, retry_after=7)
    shop.upload(kind)
    assert shop.held(kind) == 1
    assert [7 < pause < 9 for pause in shop.pauses] == [True, True]


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_asks_for_longer_than_the_budget_ends_the_delivery(shop: Shop, kind: str) -> None:
    shop.fault(kind, 9, kind="status", code=429, retry_after=600)
    with pytest.raises(Busy, match=r"did not succeed for now \(429\).* asks to be left alone for 600 s\.$"):
        shop.upload(kind)
    assert (shop.pauses, shop.held(kind)) == ([], 0)


def test_one_that_never_recovers_ends_it_as_well(shop: Shop) -> None:
    shop.fault("python", 99, kind="status", code=500)
    with pytest.raises(Transient, match=r"did not succeed for now \(500\)"):
        shop.upload("python")
    assert len(shop.pauses) == 4


def test_a_refusal_is_not_asked_again(shop: Shop) -> None:
    shop.fault("generic", 1, kind="status", code=403)
    with pytest.raises(Permanent, match=r"was refused \(403\)"):
        shop.upload("generic")
    assert shop.pauses == []


def test_a_listing_that_fails_is_asked_again(shop: Shop) -> None:
    shop.emulator.order(method="GET", path="/files$", count=2, action={"kind": "status", "code": 503})
    assert shop.client.stored("py") == []
    assert len(shop.pauses) == 2


@pytest.mark.parametrize("kind", ["apt", "generic"])
def test_an_upload_whose_answer_was_lost_is_there_once(shop: Shop, kind: str) -> None:
    shop.fault(kind, 1, kind="cut_reply", after_bytes=1)
    shop.upload(kind)
    assert shop.held(kind) == 1
    assert len(shop.pauses) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_upload_that_broke_off_is_sent_again_as_a_whole(shop: Shop, kind: str) -> None:
    shop.fault(kind, 1, kind="cut_request", after_bytes=100)
    shop.upload(kind)
    assert shop.held(kind) == 1
    shop.upload(kind)  # what is there has the same bytes, or this would be refused


@pytest.mark.parametrize("kind", ["apt", "generic"])
def test_an_import_that_fails_late_is_begun_again(shop: Shop, kind: str) -> None:
    shop.fault(kind, 1, kind="operation", status="UNAVAILABLE", message="late")
    shop.upload(kind)
    assert (shop.held(kind), len(shop.pauses)) == (1, 1)
    shop.fault(kind, 99, kind="operation", status="UNAVAILABLE", message="late")
    with pytest.raises(Transient, match=r"failed in Artifact Registry after the upload: late\.$"):
        shop.upload(kind)


def test_an_import_that_is_refused_late_is_final(shop: Shop) -> None:
    shop.fault("apt", 1, kind="operation", status="INVALID_ARGUMENT", message="no package")
    with pytest.raises(Permanent, match=r"refused by Artifact Registry after the upload: no package\.$"):
        shop.upload("apt")
    assert (shop.held("apt"), shop.pauses) == (0, [])


@pytest.mark.parametrize("kind", KINDS)
def test_other_bytes_under_the_name_are_refused_with_both_hashes(shop: Shop, kind: str) -> None:
    """Of archives the service itself says nothing: it ignores what is there already, and reports success."""
    shop.upload(kind)
    shop.upload(kind)
    (there,) = shop.client.stored(STORES[kind])
    with pytest.raises(
        Permanent, match=r"already holds .* somebody put other bytes under this name"
    ) as caught:
        shop.upload(kind, text="other")
    assert there.sha256 in str(caught.value)
    assert shop.client.stored(STORES[kind]) == [there]


def test_the_same_version_for_another_architecture_is_no_other_bytes(shop: Shop) -> None:
    shop.upload("apt")
    deb = made("", "arm64")
    (shop.folder / deb.filename).write_bytes(deb.content)
    shop.client.upload_apt("trixie", archive(deb, "arm64"), shop.folder / deb.filename)
    assert shop.held("apt") == 2


@pytest.mark.parametrize("kind", ["python", "apt"])
def test_a_listing_that_lags_behind_is_for_whoever_closes_the_run(
    shop: Shop, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the bytes are the same cannot be told yet: the run is closed when they are listed by their hash."""
    shop.upload(kind)
    monkeypatch.setattr(shop.client, "stored", lambda _repository: [])
    shop.upload(kind)
