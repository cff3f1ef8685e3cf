"""What a SIGKILL leaves, and what many at once make."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from shared.emulators.registry.store import NewFile, Store
from shared.errors import Permanent
from tests.emulators.registry.support import (
    PROJECT,
    READER,
    WRITER,
    Process,
    Registry,
    make_deb,
    make_wheel,
    related,
    repository,
    upload_deb,
    upload_generic,
    upload_wheel,
)


def listed(registry: Registry, name: str) -> dict[str, str]:
    """File names and their sha256, as the API tells."""
    answer = registry.client(READER).get(f"/v1/{repository(name)}/files", params={"pageSize": 1000}).json()
    return {file["name"].rpartition("/")[2]: file["hashes"][0]["value"] for file in answer.get("files", [])}


def half_an_upload(registry: Registry) -> socket.socket:
    """A connection that has sent half of what it announced."""
    body = related({"packageId": "half", "versionId": "1.0", "filename": "a.bin"}, os.urandom(4 << 20))
    head = (
        f"POST /upload/v1/{repository('files')}/genericArtifacts:create?uploadType=multipart HTTP/1.1\r\n"
        f"Host: 127.0.0.1\r\nAuthorization: Bearer {registry.token(WRITER)}\r\n"
        f"Content-Type: multipart/related; boundary=mark\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection = socket.create_connection(("127.0.0.1", registry.port))
    connection.sendall(head.encode() + body[: len(body) // 2])
    return connection


def test_sigkill_during_an_upload_leaves_nothing_and_loses_nothing(process: Process, tmp_path: Path) -> None:
    registry = process.start()
    client = registry.client(WRITER)
    wheel, deb = make_wheel(tmp_path), make_deb(tmp_path)
    assert upload_wheel(client, wheel).status_code == 200
    upload_deb(client, deb.read_bytes())
    upload_generic(client, "whole", "1.0", "a.bin", b"whole")
    key = client.get("/doc/repo-signing-key.gpg").content
    before = {name: listed(registry, name) for name in ("py", "trixie", "files")}
    with half_an_upload(registry):
        staging = tmp_path / "state" / "staging"
        deadline = time.monotonic() + 10
        while not any(path.stat().st_size > 1 << 20 for path in staging.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert process.end(signal.SIGKILL) == -signal.SIGKILL
    assert list(staging.iterdir()), "the kill came too late to test anything"

    registry = process.start()
    assert {name: listed(registry, name) for name in ("py", "trixie", "files")} == before
    assert not list(staging.iterdir())
    client = registry.client(READER)
    assert client.get("/doc/repo-signing-key.gpg").content == key
    assert client.get(f"/{PROJECT}/py/dmz-demo/{wheel.name}").content == wheel.read_bytes()
    assert (
        "Package: hello-dmz"
        in client.get(f"/projects/{PROJECT}/dists/trixie/main/binary-amd64/Packages").text
    )
    assert "response" in upload_generic(registry.client(WRITER), "half", "1.0", "a.bin", b"again")


def test_a_content_that_was_damaged_on_disk_is_dropped_and_can_be_brought_again(
    process: Process, tmp_path: Path
) -> None:
    registry = process.start()
    client = registry.client(WRITER)
    for name in ("whole", "changed", "cut", "gone"):
        upload_generic(client, name, "1.0", "a.bin", name.encode() * 1000)
    wheel = make_wheel(tmp_path)
    upload_wheel(client, wheel)
    process.end()

    def blob(content: bytes) -> Path:
        digest = hashlib.sha256(content).hexdigest()
        return tmp_path / "state" / "blobs" / digest[:2] / digest

    time.sleep(0.02)  # a file system's clock has ticks
    changed = blob(b"changed" * 1000)
    times = changed.stat()
    changed.write_bytes(b"CHANGED" * 1000)
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))
    blob(b"cut" * 1000).write_bytes(b"cut")
    blob(b"gone" * 1000).unlink()
    blob(wheel.read_bytes()).write_bytes(b"no wheel")

    registry = process.start()
    assert listed(registry, "files").keys() == {"whole:1.0:a.bin"}
    assert listed(registry, "py") == {}
    client = registry.client(WRITER)
    for name in ("changed", "cut", "gone"):
        upload_generic(client, name, "1.0", "a.bin", name.encode() * 1000)
    assert upload_wheel(client, wheel).status_code == 200
    path = f"/v1/{repository('files')}/files/changed:1.0:a.bin:download?alt=media"
    assert client.get(path).content == b"changed" * 1000
    assert client.get(f"/{PROJECT}/py/dmz-demo/{wheel.name}").content == wheel.read_bytes()


def test_contents_that_nobody_touched_are_not_read_at_every_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    with store.stage() as staging:
        staging.write(b"content")
        assert store.add("files", NewFile("a", "a", "1", {}), staging.finish())
    store.close()
    read: list[str] = []
    monkeypatch.setattr(
        "shared.emulators.registry.blobs.Blobs.is_intact", lambda _, name: not read.append(name)
    )
    for touched in (False, True, False):
        if touched:
            time.sleep(0.02)
            next(tmp_path.glob("blobs/*/*")).touch()
        before = len(read)
        Store(tmp_path).close()
        assert len(read) - before == touched


def test_sigkill_at_any_moment_keeps_what_was_acknowledged(process: Process) -> None:
    """Eight writers, killed at random moments: all that was acknowledged is there, and all that is there is whole."""
    acknowledged: dict[str, bytes] = {}
    for attempt in range(4):
        registry = process.start()
        threads = [
            threading.Thread(target=keep_uploading, args=(registry, f"{attempt}-{number}", acknowledged))
            for number in range(8)
        ]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(acknowledged) < (attempt + 1) * 10 and time.monotonic() < deadline:
            time.sleep(0.01 * (attempt + 1))
        process.end(signal.SIGKILL)
        for thread in threads:
            thread.join()
    registry = process.start()
    client = registry.client(READER)
    present = listed(registry, "files")
    assert len(acknowledged) >= 40
    for name, content in acknowledged.items():
        assert client.get(f"/v1/{repository('files')}/files/{name}:download?alt=media").content == content
    for name in present.keys() - acknowledged.keys():  # stored, and killed before the answer
        stored = client.get(f"/v1/{repository('files')}/files/{name}:download?alt=media").content
        assert len(stored) == 30_000


def keep_uploading(registry: Registry, writer: str, acknowledged: dict[str, bytes]) -> None:
    client = registry.client(WRITER)
    for number in range(1000):
        content = os.urandom(30_000)
        body = related({"packageId": f"p{writer}", "versionId": "1.0", "filename": f"{number}.bin"}, content)
        try:
            answer = client.post(
                f"/upload/v1/{repository('files')}/genericArtifacts:create?uploadType=multipart",
                content=body,
                headers={"Content-Type": "multipart/related; boundary=mark"},
            )
        except httpx.TransportError:
            return
        assert answer.status_code == 200
        acknowledged[f"p{writer}:1.0:{number}.bin"] = content


def test_a_large_file_is_never_held_in_memory(process: Process) -> None:
    registry = process.start()
    client = registry.client(WRITER)
    content = bytes(96 << 20)
    before = process.peak_memory()
    upload_generic(client, "large", "1.0", "a.bin", content)
    assert (
        client.get(f"/v1/{repository('files')}/files/large:1.0:a.bin:download?alt=media").content == content
    )
    assert process.peak_memory() - before < 32 << 20


def test_sigterm_ends_cleanly(process: Process) -> None:
    process.start()
    assert process.end(signal.SIGTERM) == 0


def test_one_of_many_writers_of_the_same_file_wins(registry: Registry) -> None:
    contents = [bytes([number]) * 200_000 for number in range(32)]
    with ThreadPoolExecutor(32) as pool:
        clients = [registry.client(WRITER) for _ in contents]
        done = list(
            pool.map(
                lambda pair: upload_generic(pair[0], "p", "1.0", "a.bin", pair[1]),
                zip(clients, contents, strict=True),
            )
        )
    assert sum("response" in operation for operation in done) == 1
    winner = contents[next(at for at, operation in enumerate(done) if "response" in operation)]
    served = registry.client(READER).get(f"/v1/{repository('files')}/files/p:1.0:a.bin:download?alt=media")
    assert served.content == winner


def test_deleting_one_of_two_files_with_the_same_bytes(registry: Registry) -> None:
    client = registry.client()
    for name in ("a", "b"):
        upload_generic(client, name, "1.0", "a.bin", b"the same")
    client.delete(f"/v1/{repository('files')}/packages/a")
    assert (
        client.get(f"/v1/{repository('files')}/files/b:1.0:a.bin:download?alt=media").content == b"the same"
    )
    client.delete(f"/v1/{repository('files')}/packages/b")
    assert registry.app
    assert registry.app.store.blobs.all() == set()
    assert registry.app.store.blobs.used == 0


def test_the_directory_belongs_to_one_process(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    with pytest.raises(Permanent, match="Another registry uses"):
        Store(tmp_path / "state")
    store.close()
    Store(tmp_path / "state").close()


def test_a_content_without_a_row_is_removed_at_start(tmp_path: Path) -> None:
    """The process was killed between giving a content its name and committing the row."""
    store = Store(tmp_path / "state")
    with store.stage() as staging:
        staging.write(b"orphan")
        store.blobs.keep(staging.finish())
    with store.stage() as staging:
        staging.write(b"kept")
        store.add("r", NewFile("k", "p", "1", {}), staging.finish())
    store.close()
    again = Store(tmp_path / "state")
    assert again.blobs.all() == {hashlib.sha256(b"kept").hexdigest()}
    assert again.blobs.used == 4
    again.close()


def test_a_wrong_configuration_is_one_sentence(tmp_path: Path) -> None:
    import subprocess
    import sys

    from tests.emulators.registry.support import ROOT, configuration

    for changes, said in [
        ({"listen": "0.0.0.0:80"}, "not a loopback address"),
        ({"repositories": []}, "repositories must be"),
        ({"repositories": [{"name": "a", "format": "RPM"}]}, "format of a must be"),
        ({"iam": {"*": {"owner": []}}}, "has the role 'owner'"),
        ({"iam": {"other": {}}}, "not a repository here"),
        ({"extra": 1}, "unknown keys extra"),
        ({"project": "upload"}, "project cannot be"),
        ({"faults": "yes"}, "faults must be of type bool"),
    ]:
        path = tmp_path / "config.json"
        path.write_text(json.dumps(configuration(tmp_path, **changes)))
        command = [sys.executable, "-m", "shared.emulators.registry", "--config", str(path)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 1
        assert said in done.stderr
        assert "Traceback" not in done.stderr
