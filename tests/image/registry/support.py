"""Layouts to push, registries to push to, and a proxy that breaks connections."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.image.registry import Reference, Registry
from shared.image.registry_auth import Login

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def encoded(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def descriptor(data: bytes, media_type: str) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def manifest_of(config: bytes, layers: list[bytes]) -> bytes:
    return encoded(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(config, CONFIG),
            "layers": [descriptor(layer, LAYER) for layer in layers],
        }
    )


@dataclass(frozen=True)
class Image:
    layout: Path
    digest: str
    blobs: dict[str, bytes]
    """Configuration and layers."""
    manifest: bytes

    def blob(self, digest: str) -> Path:
        return self.layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def make_image(folder: Path, *layers: bytes, name: str = "layout") -> Image:
    """An OCI layout of one image; what the layers hold is nothing to a registry."""
    layers = layers or (os.urandom(5000), os.urandom(200))
    config = encoded({"architecture": "amd64", "os": "linux", "salt": os.urandom(8).hex()})
    manifest = manifest_of(config, list(layers))
    layout = folder / name
    image = Image(
        layout, digest_of(manifest), {digest_of(data): data for data in (config, *layers)}, manifest
    )
    (layout / "blobs" / "sha256").mkdir(parents=True)
    for digest, data in (*image.blobs.items(), (image.digest, manifest)):
        image.blob(digest).write_bytes(data)
    (layout / "oci-layout").write_bytes(encoded({"imageLayoutVersion": "1.0.0"}))
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(manifest, MANIFEST)]}
    (layout / "index.json").write_bytes(encoded(index))
    return image


@dataclass
class Target:
    """A registry under test: where an image may go, and who may put it there."""

    host: str
    prefix: str
    """Of repositories, with a slash behind it."""
    login: Login | None
    reader: Login | None = None

    def place(self, name: str = "service", host: str = "") -> Reference:
        return Reference(host or self.host, f"{self.prefix}{name}")

    def registry(self, **options: object) -> Registry:
        return Registry(logins=lambda _: self.login, **options)  # type: ignore[arg-type]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def docker_registry(folder: Path, user: str = "") -> Iterator[Target]:
    """Debian's docker-registry over an empty directory; `user`: one whose password is `secret`."""
    program = shutil.which("docker-registry")
    if not program:
        pytest.fail("docker-registry is not here: install docker-registry to run this test.", pytrace=False)
    port = free_port()
    lines = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {folder / 'data'}}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '127.0.0.1:{port}', secret: test}}",
    ]
    if user:
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {folder / 'htpasswd'}}}}}")
        (folder / "htpasswd").write_text(f"{user}:{SECRET_BCRYPT}\n")
    (folder / "config.yml").write_text("\n".join(lines) + "\n")
    environment = {name: value for name, value in os.environ.items() if "REGISTRY" not in name}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")], stdout=log, stderr=log, env=environment
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "docker-registry did not come up"
            time.sleep(0.05)
        login = Login(user, lambda: "secret") if user else None
        yield Target(f"127.0.0.1:{port}", "some/", login)
    finally:
        process.kill()
        process.wait()


# bcrypt of `secret`, cost 4, so that each request costs no tenth of a second.
SECRET_BCRYPT = "$2b$04$kfrecgnV34gmzXkq5gZMWedJphGUYUI3WtJor9xiIFerfI/hYe1py"


@dataclass
class Proxy:
    """Passes bytes on to `port`; `cuts` are bytes towards the server after which each next big connection breaks.

    Connections that carry less than a cut use none up.
    """

    port: int
    cuts: list[int] = field(default_factory=list)
    forwarded: int = 0
    """Bytes towards the server, of all connections."""
    broken: int = 0

    def __post_init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.host = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                for source, sink, up in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=(source, sink, up), daemon=True).start()
                del client, server, source, sink  # the last of the two threads closes them

    def _pump(self, source: socket.socket, sink: socket.socket, up: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
                passed += len(data)
                if not up:
                    continue
                with self._lock:
                    self.forwarded += len(data)
                    if self.cuts and passed > self.cuts[0]:
                        self.cuts.pop(0)
                        self.broken += 1
                        break
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
