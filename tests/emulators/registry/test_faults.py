"""Failures on order, and a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import httpx
import pytest

from shared.emulators.registry import blobs
from tests.emulators.registry.support import (
    PROJECT,
    READER,
    WRITER,
    Registry,
    configuration,
    in_process,
    make_deb,
    make_wheel,
    repository,
    upload_deb,
    upload_generic,
    upload_wheel,
)

PACKAGES = f"/v1/{repository('py')}/packages"


def test_an_error_for_the_next_requests(registry: Registry) -> None:
    client = registry.client(READER)
    registry.order(path="/packages$", count=2, action={"kind": "status", "code": 429, "retry_after": 7})
    for _ in range(2):
        answer = client.get(PACKAGES)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
        assert answer.json()["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert client.get(PACKAGES).status_code == 200


def test_only_the_method_that_was_ordered(registry: Registry, tmp_path: Path) -> None:
    registry.order(method="POST", path="/py/", count=1, action={"kind": "status", "code": 503})
    client = registry.client(WRITER)
    assert client.get(f"/{PROJECT}/py/simple/").status_code == 200
    assert upload_wheel(client, make_wheel(tmp_path)).status_code == 503
    assert upload_wheel(client, make_wheel(tmp_path)).status_code == 200


def test_an_upload_that_is_cut(registry: Registry, tmp_path: Path) -> None:
    registry.order(path="/py/", count=1, action={"kind": "cut_request", "after_bytes": 10})
    client = registry.client(WRITER)
    with pytest.raises(httpx.TransportError):
        upload_wheel(client, make_wheel(tmp_path))
    assert registry.app
    assert not list(registry.app.store.blobs._staging.iterdir())
    assert registry.client(READER).get(PACKAGES).json() == {}
    assert upload_wheel(client, make_wheel(tmp_path)).status_code == 200


def test_a_download_that_is_cut_can_be_resumed(registry: Registry) -> None:
    client = registry.client(WRITER)
    content = os.urandom(1 << 20)
    upload_generic(client, "p", "1.0", "a.bin", content)
    path = f"/v1/{repository('files')}/files/p:1.0:a.bin:download?alt=media"
    registry.order(path=":download", count=1, action={"kind": "cut_reply", "after_bytes": 300_000})
    held = bytearray()

    def read() -> None:
        with client.stream("GET", path) as answer:
            for piece in answer.iter_raw():
                held.extend(piece)

    with pytest.raises(httpx.RemoteProtocolError):
        read()
    assert len(held) == 300_000
    rest = client.get(path, headers={"Range": f"bytes={len(held)}-"})
    assert rest.status_code == 206
    assert bytes(held) + rest.content == content


def test_an_operation_that_fails_late(registry: Registry, tmp_path: Path) -> None:
    registry.order(
        path="aptArtifacts", count=1, action={"kind": "operation", "status": "UNAVAILABLE", "message": "late"}
    )
    client = registry.client(WRITER)
    deb = make_deb(tmp_path).read_bytes()
    assert upload_deb(client, deb)["error"] == {"code": 14, "message": "late"}
    assert client.get(f"/v1/{repository('trixie')}/files").json() == {}
    assert "response" in upload_deb(client, deb)


def test_the_quota(registry: Registry, tmp_path: Path) -> None:
    registry.order(quota_bytes=1000)
    client = registry.client(WRITER)
    answer = client.post(
        f"/upload/v1/{repository('trixie')}/aptArtifacts:create?uploadType=media", content=bytes(2_000_000)
    )
    assert (answer.status_code, answer.json()["error"]["status"]) == (507, "RESOURCE_EXHAUSTED")
    assert upload_wheel(client, make_wheel(tmp_path, text="#" * 2000)).status_code == 507
    assert registry.app
    assert not list(registry.app.store.blobs._staging.iterdir())
    registry.client(None).delete("/_faults")
    assert upload_wheel(client, make_wheel(tmp_path)).status_code == 200


def test_a_disk_that_is_full(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    client = registry.client(WRITER)
    with monkeypatch.context() as patch:
        patch.setattr(blobs.os, "write", full)
        answer = upload_wheel(client, make_wheel(tmp_path))
    assert answer.status_code == 507
    assert "No space left on device" in answer.text
    assert upload_wheel(client, make_wheel(tmp_path)).status_code == 200


def test_there_are_none_without_the_switch(tmp_path: Path, signing_key: Path) -> None:
    with in_process(tmp_path, signing_key, faults=False) as registry:
        answer = registry.client(None).post("/_faults", json={"quota_bytes": 1})
        assert answer.status_code in {401, 404}


def test_they_cannot_be_ordered_through_a_public_name(registry: Registry) -> None:
    answer = registry.client(None).post(
        "/_faults", json={"quota_bytes": 1}, headers={"Host": "us-central1-apt.pkg.dev"}
    )
    assert answer.status_code == 405
    assert configuration(Path())["faults"]


@pytest.mark.parametrize(
    "order", [{}, {"path": "(", "count": 1, "action": {"kind": "status"}}, {"action": {"kind": "x"}}, []]
)
def test_an_order_that_cannot_be_read(registry: Registry, order: object) -> None:
    assert registry.client(None).post("/_faults", json=order).status_code == 400
