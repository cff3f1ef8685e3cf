"""Makes what the tests need: a running registry, tokens, packages."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.emulators import tokens
from shared.emulators.registry.app import App
from shared.emulators.registry.config import parse
from shared.emulators.registry.http import Server

PROJECT = "dmz-inner"
LOCATION = "us-central1"
PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
READER, WRITER, ADMIN, NOBODY = "reader@x.test", "writer@x.test", "admin@x.test", "nobody@x.test"
ROOT = Path(__file__).parents[3]


def repository(name: str) -> str:
    return f"{PARENT}/repositories/{name}"


def configuration(folder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "listen": "127.0.0.1:0",
        "state_dir": str(folder / "state"),
        "token_key": str(folder / "key"),
        "project": PROJECT,
        "location": LOCATION,
        "repositories": [
            {"name": "py", "format": "PYTHON"},
            {"name": "trixie", "format": "APT"},
            {"name": "files", "format": "GENERIC"},
            {"name": "images", "format": "DOCKER"},
        ],
        "iam": {"*": {"reader": [READER], "writer": [WRITER], "repoAdmin": [ADMIN]}},
        "faults": True,
        **changes,
    }


@dataclass
class Registry:
    """A registry that answers at `url`."""

    url: str
    key: Path
    app: App | None = None
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def token(self, email: str = ADMIN, lifetime: int = 3600) -> str:
        return tokens.mint(tokens.load_key(self.key), email, time.time(), lifetime)

    def client(self, email: str | None = ADMIN) -> httpx.Client:
        headers = {"Authorization": f"Bearer {self.token(email)}"} if email else {}
        self.clients.append(httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False))
        return self.clients[-1]

    def index_url(self, email: str = READER) -> str:
        return f"http://oauth2accesstoken:{self.token(email)}@127.0.0.1:{self.port}/{PROJECT}/py/simple/"

    def order(self, **fault: Any) -> None:
        self.client(None).post("/_faults", json=fault).raise_for_status()


@contextmanager
def in_process(folder: Path, signing_key: Path, **changes: Any) -> Iterator[Registry]:
    """A registry in a thread of this process. `signing_key` is copied: making one takes a second."""
    config = parse(configuration(folder, **changes))
    config.state_dir.mkdir(exist_ok=True)
    shutil.copy(signing_key, config.state_dir / "signing-key.json")
    app = App(config)
    server = Server((config.host, 0), app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    registry = Registry(f"http://127.0.0.1:{server.server_address[1]}", config.token_key, app)
    try:
        yield registry
    finally:
        for client in registry.clients:
            client.close()
        server.shutdown()
        thread.join()
        server.server_close()
        app.store.close()


class Process:
    """A registry in a process of its own, which can be killed and started again over the same state."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self._folder = folder
        self._port_file = folder / "port"
        content = configuration(folder, port_file=str(self._port_file), **changes)
        (folder / "config.json").write_text(json.dumps(content))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Registry:
        self._port_file.unlink(missing_ok=True)
        command = [
            sys.executable,
            "-m",
            "shared.emulators.registry",
            "--config",
            str(self._folder / "config.json"),
        ]
        self._process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
        deadline = time.monotonic() + 30
        while not self._port_file.exists():
            assert self._process.poll() is None, "the registry ended at once"
            assert time.monotonic() < deadline, "the registry did not come up"
            time.sleep(0.02)
        return Registry(f"http://127.0.0.1:{self._port_file.read_text().strip()}", self._folder / "key")

    def peak_memory(self) -> int:
        """Bytes of memory that the process has held at most (VmHWM)."""
        assert self._process
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))

    def end(self, number: int = signal.SIGKILL) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        status = self._process.wait(20)
        self._process = None
        return status


def need(tool: str, package: str) -> str:
    """The path of a real client; without it the test fails: a guard that nobody tried is none."""
    found = shutil.which(tool)
    if not found:
        pytest.fail(f"{tool} is not here: install {package} to run this test.", pytrace=False)
    return found


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)


def make_deb(
    folder: Path, name: str = "hello-dmz", version: str = "1.0", text: str = "hello", **changes: str
) -> Path:
    """A real package, by dpkg-deb."""
    need("dpkg-deb", "dpkg")
    compression = changes.pop("compression", "gzip")
    tree = folder / f"tree-{name}-{version.replace(':', '.')}-{text}"
    (tree / "DEBIAN").mkdir(parents=True)
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": "all",
        "Maintainer": "T <t@x.test>",
        **changes,
    }
    control = "".join(f"{key}: {value}\n" for key, value in fields.items())
    (tree / "DEBIAN" / "control").write_text(control + "Description: made by a test\n with a second line\n")
    (tree / "usr" / "share" / name).mkdir(parents=True)
    (tree / "usr" / "share" / name / "text").write_text(text)
    target = folder / f"{tree.name}.deb"
    done = run("dpkg-deb", f"-Z{compression}", "--root-owner-group", "--build", str(tree), str(target))
    assert done.returncode == 0, done.stderr
    return target


def make_wheel(folder: Path, name: str = "dmz_demo", version: str = "1.0", text: str = "X = 1\n") -> Path:
    info = f"{name}-{version}.dist-info"
    contents = {
        f"{name}/__init__.py": text,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: >=3.8\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in [*contents, f"{info}/RECORD"])
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, content in {**contents, f"{info}/RECORD": record}.items():
            archive.writestr(path, content)
    return target


def upload_wheel(client: httpx.Client, wheel: Path, **changes: str) -> httpx.Response:
    """As twine sends it."""
    content = wheel.read_bytes()
    name, version = wheel.name.split("-")[:2]
    form = {
        ":action": "file_upload",
        "protocol_version": "1",
        "metadata_version": "2.1",
        "name": name.replace("_", "-"),
        "version": version,
        "filetype": "bdist_wheel",
        "pyversion": "py3",
        "requires_python": ">=3.8",
        "sha256_digest": hashlib.sha256(content).hexdigest(),
        "md5_digest": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        **changes,
    }
    return client.post(f"/{PROJECT}/py/", data=form, files={"content": (wheel.name, content)})


def upload_deb(client: httpx.Client, content: bytes, into: str = "trixie") -> dict[str, Any]:
    """The finished operation."""
    answer = client.post(
        f"/upload/v1/{repository(into)}/aptArtifacts:create", params={"uploadType": "media"}, content=content
    )
    return finished(client, answer)


def upload_generic(
    client: httpx.Client, package: str, version: str, filename: str, content: bytes
) -> dict[str, Any]:
    """The finished operation."""
    metadata = {"packageId": package, "versionId": version, "filename": filename}
    answer = client.post(
        f"/upload/v1/{repository('files')}/genericArtifacts:create",
        params={"uploadType": "multipart"},
        content=related(metadata, content),
        headers={"Content-Type": "multipart/related; boundary=mark"},
    )
    return finished(client, answer)


def related(metadata: dict[str, str], content: bytes) -> bytes:
    head = f"--mark\r\nContent-Type: application/json\r\n\r\n{json.dumps(metadata)}\r\n--mark\r\n"
    return f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + content + b"\r\n--mark--"


def finished(client: httpx.Client, answer: httpx.Response) -> dict[str, Any]:
    """The operation that an upload or deletion started, as its own resource tells it."""
    assert answer.status_code == 200, answer.text
    started = answer.json().get("operation", answer.json())
    assert "done" not in started
    operation: dict[str, Any] = client.get(f"/v1/{started['name']}").raise_for_status().json()
    assert operation["done"] is True
    return operation


def control_tar(control: str) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        info = tarfile.TarInfo("./control")
        info.size = len(control.encode())
        archive.addfile(info, io.BytesIO(control.encode()))
    return held.getvalue()


def ar(*members: tuple[str, bytes]) -> bytes:
    parts = [b"!<arch>\n"]
    for name, content in members:
        parts.append(f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content)
        parts.append(b"\n" * (len(content) % 2))
    return b"".join(parts)
