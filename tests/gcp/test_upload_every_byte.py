"""An upload whose connection dies after any number of bytes, either way: the registry has the whole file, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.oauth2.credentials import Credentials

from shared.gcp.registry import ArtifactRegistry
from shared.model.lock import LockedPython
from shared.model.value import sha256
from shared.settings import Settings
from tests.emulators.registry.support import LOCATION, PROJECT, WRITER, in_process
from tests.gcp.test_registry_faults import STORES, Shop, signing_key
from tests.support import built
from tests.support.pauses import noted

__all__ = ["signing_key"]

_STEP = 97
"""Of the numbers of bytes that are tried: it hits head, content and end of a body, and is no divisor of anything."""


@pytest.fixture
def shop(tmp_path: Path, signing_key: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    with in_process(tmp_path, signing_key) as running:
        client = ArtifactRegistry(Settings(project=PROJECT, location=LOCATION, registry_endpoint=running.url))
        client.__dict__["_credentials"] = Credentials(running.token(WRITER))  # as google.auth.default
        yield Shop(running, client, tmp_path, noted(monkeypatch))


def wheel(shop: Shop, number: int) -> str:
    """Upload a wheel of this number; its hash."""
    made = built.wheel(f"thing{number}", "1.0")
    path = shop.folder / made.filename
    path.write_bytes(made.content)
    locked = LockedPython(
        name=f"thing{number}",
        version="1.0",
        filename=made.filename,
        sha256=made.sha256,
        url="own:x",
        record=None,
    )
    shop.client.upload_python("py", locked, path)
    return made.sha256


def generic(shop: Shop, number: int) -> str:
    content = b"%d" % number * 200
    (shop.folder / "file").write_bytes(content)
    shop.client.upload_generic("files", "generic", str(number), "file", shop.folder / "file")
    return sha256(content)


@pytest.mark.parametrize(
    ("kind", "way", "upload"),
    [
        ("python", "cut_request", wheel),
        ("generic", "cut_request", generic),
        ("generic", "cut_reply", generic),
    ],
    ids=["python-request", "generic-request", "generic-answer"],
)
def test_a_connection_that_dies_at_any_byte_of_an_upload(
    shop: Shop, kind: str, way: str, upload: Callable[[Shop, int], str]
) -> None:
    numbers = range(0, 1200, _STEP) if way == "cut_request" else range(0, 200, 17)
    brought = []
    for after in numbers:
        shop.fault(kind, 1, kind=way, after_bytes=after)
        brought.append(upload(shop, after))
    held = shop.client.stored(STORES[kind])
    assert sorted(each.sha256 for each in held) == sorted(brought)
    assert len(shop.pauses) > len(numbers) // 3, "hardly any connection has died"
