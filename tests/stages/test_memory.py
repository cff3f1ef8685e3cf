"""What sync's path needs of memory: its buffers, and not the size of the largest wheel (of MaxText's 137 MB)."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from functions.local.layout import CHECKOUT

LARGE, OWN, SMALL = 137_000_000, 48_000_000, 1_000_000
BUFFERS = 24 << 10
"""KiB by which the peak may grow: chunks of both directions, and what allocators keep."""


def wheel(folder: Path, name: str, size: int) -> tuple[str, str]:
    """File name and sha256 of a sound wheel of about `size` bytes, which is never in memory as a whole."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info, block = f"{name}-1.0.dist-info", bytes(range(250)) * 4000
    rows, texts = (
        [],
        {
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        },
    )
    with zipfile.ZipFile(path, "w") as made:
        hashed = hashlib.sha256()
        with made.open(f"{name}/data", "w") as data:
            for _ in range(size // len(block)):
                data.write(block)
                hashed.update(block)
        rows.append((f"{name}/data", hashed.digest(), size // len(block) * len(block)))
        for place, text in texts.items():
            made.writestr(place, text)
            rows.append((place, hashlib.sha256(text.encode()).digest(), len(text)))
        lines = [
            f"{place},sha256={base64.urlsafe_b64encode(digest).decode().rstrip('=')},{length}"
            for place, digest, length in rows
        ]
        made.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))
    with path.open("rb") as file:
        return path.name, "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Index and Artifact Registry in one: gives the files of `tmp_path`, takes every upload and forgets it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = next(each for each in tmp_path.iterdir() if each.name in self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(path.stat().st_size))
            self.end_headers()
            with path.open("rb") as file:
                while chunk := file.read(1 << 20):
                    self.wfile.write(chunk)

        def do_POST(self) -> None:
            left = int(self.headers["Content-Length"])
            while left:
                left -= len(self.rfile.read(min(left, 1 << 20)))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    running.server_close()


def test_memory_is_bounded_by_buffers(server: str, tmp_path: Path) -> None:
    """From the index and from the staging repository: fetched, hashed, proved, uploaded."""
    small, own, large = (
        wheel(tmp_path, "small", SMALL),
        wheel(tmp_path, "mine", OWN),
        wheel(tmp_path, "large", LARGE),
    )
    files = [*small, "own", *small, "index", *own, "own", *large, "index"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tests.stages.carrying", server, *files],
        cwd=CHECKOUT,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    _, before, *peaks = map(int, done.stdout.split())
    for peak, size in zip(peaks, (OWN, LARGE), strict=True):
        assert peak - before < BUFFERS, f"{peak - before} KiB more for a wheel of {size} bytes"
