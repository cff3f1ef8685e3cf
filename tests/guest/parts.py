"""Wheels, source distributions and servers that these tests make for themselves."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from shared.guest import record
from shared.guest.config import Config, LockFile, Repositories, WorkloadConfig

BACKEND = '''"""A build backend of thirty lines: a source distribution that needs nothing to be built."""
import base64, hashlib, os, zipfile

def _write(folder, name, files):
    rows, path = [], os.path.join(folder, name)
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{file},sha256={digest},{len(text.encode())}")
            wheel.writestr(file, text)
        wheel.writestr("NAME-1.0.dist-info/RECORD", "\\n".join([*rows, "NAME-1.0.dist-info/RECORD,,"]) + "\\n")
    return name

_INFO = {
    "NAME-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: NAME\\nVersion: 1.0\\n",
    "NAME-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}

def build_wheel(folder, config_settings=None, metadata_directory=None):
    return _write(folder, "NAME-1.0-py3-none-any.whl", {"NAME.py": "ANSWER = 42\\n", **_INFO})

def build_editable(folder, config_settings=None, metadata_directory=None):
    return _write(folder, "NAME-1.0-py3-none-any.whl", {"NAME.pth": os.getcwd() + "\\n", **_INFO})
'''


def wheel(folder: Path, name: str, version: str, body: str = "ANSWER = 42\n", requires: str = "") -> Path:
    """A wheel of one module, with a console script and a RECORD."""
    info = f"{name}-{version}.dist-info"
    lines = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": body,
        f"{info}/METADATA": lines + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
        "Tag: py2-none-any\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-tool = {name}:print\n",
    }
    path = folder / f"{name}-{version}-py2.py3-none-any.whl"
    rows = []
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            raw = hashlib.sha256(text.encode()).digest()
            rows.append(
                f"{file},sha256={base64.urlsafe_b64encode(raw).rstrip(b'=').decode()},{len(text.encode())}"
            )
            archive.writestr(file, text)
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,"]) + "\n")
    return path


def wheel_record(path: Path) -> str:
    """The RECORD digest that an installation of this wheel must have."""
    with zipfile.ZipFile(path) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith("/RECORD")]
        return record.from_wheel(archive.read(name).decode(), name.partition("/")[0])


def source_tree(folder: Path, name: str) -> Path:
    """An unpacked source distribution with its own build backend."""
    tree = folder / f"{name}-1.0"
    tree.mkdir()
    (tree / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n'
    )
    (tree / "backend.py").write_text(BACKEND.replace("NAME", name))
    (tree / f"{name}.py").write_text("ANSWER = 42\n")
    (tree / "PKG-INFO").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    return tree


def sdist(folder: Path, name: str) -> Path:
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(source_tree(folder, name), arcname=f"{name}-1.0")
    return path


def venv(prefix: Path, *options: str) -> Path:
    """A virtual environment; its interpreter."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", *options, str(prefix)], check=True)
    return prefix / "bin/python"


def uv(*arguments: str) -> None:
    subprocess.run([str(Path(sys.executable).parent / "uv"), *arguments], check=True, capture_output=True)


def sha256(path: Path) -> str:
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


def config(role: str = "outer", **changes: object) -> Config:
    values: dict[str, object] = {
        "run_id": "run-0123456789ab",
        "role": role,
        "report_token": "t" * 32,
        "project": "proj",
        "topic": f"{role}-install-completed",
        "location": "us-central1",
        "event_id": "e1",
        "event_type": f"package-dmz.{role}-install-completed.v1",
        "event_source": "/package-dmz/vm",
        "workload": WorkloadConfig("small", "true", "true"),
    }
    if role == "inner":
        values["lock"] = LockFile("generic", "lock", "1", "lock.json", "sha256:" + "0" * 64)
        values["repositories"] = Repositories("python", "trixie", "generic")
    return Config(**(values | changes))  # type: ignore[arg-type]


Answer = tuple[int, bytes]


@contextmanager
def server(answer: Callable[[str, str, bytes, dict[str, str]], Answer]) -> Iterator[str]:
    """An HTTP server on loopback; `answer(method, path, body, headers)`. Yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None: ...

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, content = answer(self.command, self.path, body, dict(self.headers))
            self.send_response(code)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def token_answer() -> Answer:
    return 200, json.dumps({"access_token": "ya29.test", "expires_in": 3599, "token_type": "Bearer"}).encode()
