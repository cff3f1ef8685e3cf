"""A disk without room, a real one: every upload is refused in words, nothing half is there, and it goes on after it."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.emulators.registry.support import (
    PROJECT,
    READER,
    WRITER,
    Process,
    Registry,
    ar,
    control_tar,
    make_wheel,
    related,
    repository,
    upload_deb,
    upload_generic,
    upload_wheel,
)

BYTES = random.Random("noise").randbytes(200_000)  # noqa: S311 - only to be incompressible
CONTROL = "Package: large\nVersion: 1.0\nArchitecture: all\nMaintainer: T <t@x.test>\nDescription: large\n"
DEB = ar(("debian-binary", b"2.0\n"), ("control.tar.gz", control_tar(CONTROL)), ("data.tar.gz", BYTES))
GENERIC = f"/upload/v1/{repository('files')}/genericArtifacts:create"


class Disk:
    """A small file system at `place`, whose room can be taken and given back while it is in use."""

    def __init__(self, place: Path) -> None:
        self.place = place
        subprocess.run(("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place), check=True)

    def leave(self, room: int) -> None:
        """So many bytes are left, in whole pages."""
        status = os.statvfs(self.place)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        # No size at all would mean no limit.
        size = max(4096, used + room)
        subprocess.run(("mount", "-o", f"remount,size={size}", self.place), check=True)

    def files(self) -> set[str]:
        return {each.name for folder in ("staging", "blobs") for each in (self.place / folder).rglob("*")}


@pytest.fixture
def disk(process: Process, tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    state = tmp_path / "state"
    key = (state / "signing-key.json").read_bytes()
    made = Disk(state)
    (state / "signing-key.json").write_bytes(key)
    yield made
    process.end()
    subprocess.run(("umount", "--lazy", state), check=False)


def listed(registry: Registry, name: str) -> list[str]:
    answer = registry.client(READER).get(f"/v1/{repository(name)}/files").raise_for_status()
    return [each["name"].rpartition("/")[2] for each in answer.json().get("files", [])]


def everything(registry: Registry) -> list[str]:
    return [each for name in ("py", "trixie", "files") for each in listed(registry, name)]


def refused(answer: httpx.Response) -> None:
    assert answer.status_code == 507, answer.text
    assert "The registry cannot store this" in answer.text
    assert "No space left" in answer.text or "disk is full" in answer.text


def generic(client: httpx.Client, content: bytes) -> httpx.Response:
    return client.post(
        GENERIC,
        params={"uploadType": "multipart"},
        content=related({"packageId": "table", "versionId": "1.0", "filename": "a.bin"}, content),
        headers={"Content-Type": "multipart/related; boundary=mark"},
    )


def test_an_upload_without_room_is_refused_and_leaves_nothing(
    process: Process, disk: Disk, tmp_path: Path
) -> None:
    registry = process.start()
    client = registry.client(WRITER)
    upload_generic(client, "before", "1.0", "b.bin", b"before")
    there, known = disk.files(), everything(registry)
    wheel = make_wheel(tmp_path, text=f"X = '{BYTES.hex()}'")
    apt = GENERIC.replace("files", "trixie").replace("generic", "apt")
    # For nothing, for a part, for the content and not for its row.
    for room in (0, 20_480, 200_704):
        for attempt in (
            lambda: upload_wheel(client, wheel),
            lambda: client.post(apt, params={"uploadType": "media"}, content=DEB),
            lambda: generic(client, BYTES),
        ):
            disk.leave(room)
            refused(attempt())
            assert everything(registry) == known
            assert {each for each in disk.files() - there if len(each) > 2} == set()
    assert client.get(f"/{PROJECT}/py/simple/").text.count("<a ") == 0
    disk.leave(32 << 20)
    assert upload_wheel(client, wheel).status_code == 200
    assert "response" in upload_deb(client, DEB)
    assert "response" in upload_generic(client, "table", "1.0", "a.bin", BYTES)
    assert len(everything(registry)) == 4


def test_an_upload_in_chunks_goes_on_where_the_disk_was_full(process: Process, disk: Disk) -> None:
    """What did not get onto the disk is asked for again: the file would have the digest of bytes that it lacks."""
    client = process.start().client(WRITER)
    metadata = {"packageId": "table", "versionId": "1.0", "filename": "a.bin"}
    session = client.post(f"/resumable{GENERIC}", params={"uploadType": "resumable"}, json=metadata).headers[
        "Location"
    ]
    disk.leave(100_000)
    refused(client.put(session, content=BYTES, headers={"Content-Range": "bytes 0-199999/200000"}))
    asked = client.put(session, headers={"Content-Range": "bytes */200000"})
    arrived = int(asked.headers["Range"].partition("-")[2]) + 1
    assert 0 < arrived < 150_000
    disk.leave(1 << 20)
    span = f"bytes {arrived}-199999/200000"
    assert client.put(session, content=BYTES[arrived:], headers={"Content-Range": span}).status_code == 200
    file = f"/v1/{repository('files')}/files/table:1.0:a.bin:download"
    assert client.get(file, params={"alt": "media"}).content == BYTES


def test_a_registry_that_dies_without_room_comes_up_and_serves_what_it_has(
    process: Process, disk: Disk
) -> None:
    registry = process.start()
    upload_generic(registry.client(WRITER), "before", "1.0", "b.bin", b"before")
    disk.leave(0)
    process.end()
    registry = process.start()
    refused(generic(registry.client(WRITER), BYTES))
    assert listed(registry, "files") == ["before:1.0:b.bin"]
