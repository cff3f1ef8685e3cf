"""Imports that take longer than a delivery: waited for, never begun twice, and ended with the service's reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.oauth2.credentials import Credentials

from shared.errors import Permanent, Transient
from shared.gcp import imports
from shared.gcp.registry import ArtifactRegistry
from shared.memory.store import MemoryStore
from shared.settings import Settings
from tests.emulators.registry.support import LOCATION, PROJECT, WRITER, Registry, in_process
from tests.gcp.test_registry_faults import KINDS, STORES, UPLOADS, Shop, signing_key
from tests.support.pauses import noted

__all__ = ["signing_key"]

KINDS = [kind for kind in KINDS if kind != "python"]
NEVER = 1_000_000


@dataclass
class Clock:
    """Time that passes by waiting alone."""

    now: float = 1_000_000.0
    slept: list[float] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@dataclass
class Service:
    """The emulator, one store, and a client for each delivery: another instance knows nothing of the one before."""

    emulator: Registry
    folder: Path
    store: MemoryStore
    clock: Clock
    pauses: list[float]

    def delivery(self) -> Shop:
        settings = Settings(project=PROJECT, location=LOCATION, registry_endpoint=self.emulator.url)
        client = ArtifactRegistry(settings, self.store)
        client.__dict__["_credentials"] = Credentials(self.emulator.token(WRITER))  # type: ignore[no-untyped-call]
        return Shop(self.emulator, client, self.folder, self.pauses)

    def slow(self, kind: str, polls: int, status: str = "OK", message: str = "") -> None:
        action = {"kind": "operation", "polls": polls, "status": status, "message": message}
        self.emulator.order(method="POST", path=UPLOADS[kind], count=1, action=action)

    def no_second_upload(self, kind: str) -> None:
        action = {"kind": "status", "code": 403}
        self.emulator.order(method="POST", path=UPLOADS[kind], count=NEVER, action=action)

    def end_of_all(self) -> None:
        """Whatever was said to go on has ended."""
        assert self.emulator.app
        self.emulator.app._api._operations._polls.clear()


@pytest.fixture
def service(tmp_path: Path, signing_key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    clock = Clock()
    monkeypatch.setattr(imports, "time", clock)
    monkeypatch.setattr("shared.gcp.registry.time", clock)
    # The first look at what goes on is the last within this delivery.
    monkeypatch.setattr(imports, "_PATIENCE", -1)
    with in_process(tmp_path, signing_key) as running:
        yield Service(running, tmp_path, MemoryStore(), clock, noted(monkeypatch))


@pytest.mark.parametrize("kind", KINDS)
def test_what_outlasts_a_delivery_is_waited_for_by_the_next(service: Service, kind: str) -> None:
    service.slow(kind, NEVER)
    with pytest.raises(Transient, match=r"was not imported by Artifact Registry within .* it goes on\.$"):
        service.delivery().upload(kind)
    service.no_second_upload(kind)
    with pytest.raises(Transient, match="it goes on"):
        service.delivery().upload(kind)
    service.end_of_all()
    service.delivery().upload(kind)
    assert service.delivery().held(kind) == 1
    assert service.pauses == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_remembered_without_a_store_by_the_same_client(service: Service, kind: str) -> None:
    service.slow(kind, NEVER)
    shop = service.delivery()
    shop.client._imports._store = None
    with pytest.raises(Transient, match="it goes on"):
        shop.upload(kind)
    service.no_second_upload(kind)
    service.end_of_all()
    shop.upload(kind)


def test_other_bytes_do_not_wait_for_it(service: Service) -> None:
    """Nor is it taken for the import of these: what is remembered is one content at one place."""
    service.slow("generic", NEVER)
    with pytest.raises(Transient, match="it goes on"):
        service.delivery().upload("generic")
    with pytest.raises(Permanent, match="somebody put other bytes under this name"):
        service.delivery().upload("generic", text="other")


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_failed_in_between_is_begun_again(service: Service, kind: str) -> None:
    service.slow(kind, NEVER, "UNAVAILABLE", "disk trouble")
    with pytest.raises(Transient, match="it goes on"):
        service.delivery().upload(kind)
    service.end_of_all()
    service.delivery().upload(kind)
    assert (service.delivery().held(kind), len(service.pauses)) == (1, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_one_that_was_refused_in_between_ends_with_the_services_reason(service: Service, kind: str) -> None:
    service.slow(kind, NEVER, "INVALID_ARGUMENT", "no control file")
    with pytest.raises(Transient, match="it goes on"):
        service.delivery().upload(kind)
    service.end_of_all()
    with pytest.raises(
        Permanent, match=r"was refused by Artifact Registry after the upload: no control file\."
    ):
        service.delivery().upload(kind)
    assert service.delivery().held(kind) == 0


def test_one_that_never_ends_is_given_up_and_begun_anew_by_the_next_run(service: Service) -> None:
    service.slow("apt", NEVER)
    with pytest.raises(Transient, match="it goes on"):
        service.delivery().upload("apt")
    service.clock.now += imports._BUDGET + 1
    with pytest.raises(Permanent, match=r"not finished importing them within 25 minutes; look at projects/"):
        service.delivery().upload("apt")
    service.delivery().upload("apt")
    assert service.delivery().held("apt") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_look_that_fails_does_not_send_the_file_again(service: Service, kind: str) -> None:
    failing = {"kind": "status", "code": 503}
    service.emulator.order(method="GET", path="/operations/", count=NEVER, action=failing)
    with pytest.raises(Transient, match=r"how far it is cannot be told: .* did not succeed for now \(503\)"):
        service.delivery().upload(kind)
    service.emulator.client(None).delete("/_faults")
    service.no_second_upload(kind)
    service.delivery().upload(kind)
    assert service.delivery().held(kind) == 1


def test_one_that_the_service_has_forgotten_is_begun_again(service: Service) -> None:
    service.slow("apt", NEVER)
    with pytest.raises(Transient, match="it goes on"):
        service.delivery().upload("apt")
    assert service.emulator.app
    service.emulator.app.store._database.execute("DELETE FROM operations")
    service.delivery().upload("apt")
    assert service.delivery().held("apt") == 1


def test_looks_become_rarer_and_do_not_come_together(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "_PATIENCE", 240)
    service.slow("apt", 12)
    service.delivery().upload("apt")
    slept = service.clock.slept
    assert len(slept) == 12
    assert [min(2.0, 0.05 * 2**i) / 2 <= pause <= min(2.0, 0.05 * 2**i) for i, pause in enumerate(slept)] == [
        True
    ] * 12
    assert len({pause / min(2.0, 0.05 * 2**i) for i, pause in enumerate(slept)}) > 1


# --- quotas, listings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["python", *KINDS])
def test_a_full_quota_is_told_in_its_own_words_and_passes_when_there_is_room(
    service: Service, kind: str
) -> None:
    service.emulator.order(quota_bytes=1)
    with pytest.raises(Transient, match=r"did not succeed for now \(507\): .*quota"):
        service.delivery().upload(kind)
    assert len(service.pauses) == 4
    assert service.delivery().held(kind) == 0
    service.emulator.client(None).delete("/_faults")
    service.delivery().upload(kind)
    assert service.delivery().held(kind) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_quota_that_an_import_meets_is_told_as_well(service: Service, kind: str) -> None:
    action = {
        "kind": "operation",
        "status": "RESOURCE_EXHAUSTED",
        "message": "Quota exceeded for writes per minute",
    }
    service.emulator.order(method="POST", path=UPLOADS[kind], count=NEVER, action=action)
    with pytest.raises(Transient, match=r"after the upload: Quota exceeded for writes per minute\.$"):
        service.delivery().upload(kind)
    assert len(service.pauses) == 4


@pytest.mark.parametrize("kind", ["python", *KINDS])
def test_a_listing_that_lags_hides_what_is_there_and_does_no_harm(service: Service, kind: str) -> None:
    """What was uploaded and is not listed yet is sent once more, and kept as it is."""
    shop = service.delivery()
    shop.upload(kind)
    lag = {"kind": "lag", "files": 1}
    service.emulator.order(method="GET", path=f"repositories/{STORES[kind]}/files$", count=NEVER, action=lag)
    assert shop.held(kind) == 0
    shop.upload(kind)
    service.emulator.client(None).delete("/_faults")
    assert shop.held(kind) == 1
