"""A package index on loopback that lets everybody wait: real files out of a folder, each answer after a delay.

Serves what pip, sync and bandersnatch ask of PyPI: the list of projects and each project's page as PEP 691 JSON,
`/pypi/NAME/json` (https://docs.pypi.org/api/json/), and the files with ranges left out. One version of each project is
known, so no page is long.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

_SERIAL = 7
_PAGE = "application/vnd.pypi.simple.v1+json"
_UPLOADED = "2026-01-01T00:00:00.000000Z"
_API = {"api-version": "1.1", "_last-serial": _SERIAL}


@dataclass(frozen=True)
class Offered:
    """A file of the index."""

    name: str
    """Of its project, normalised."""
    version: str
    path: Path
    sha256: str
    """64 hexadecimal digits."""

    @property
    def place(self) -> str:
        """Where PyPI would have it, by its hash instead of BLAKE2b."""
        return f"/packages/{self.sha256[:2]}/{self.sha256[2:4]}/{self.sha256[4:]}/{self.path.name}"


def answers(files: Sequence[Offered], base: str) -> dict[str, tuple[str, bytes]]:
    """Path to content type and body, of everything that is no file. `base`: the index's address without a slash."""
    projects = [{"name": file.name, "_last-serial": _SERIAL} for file in files]
    found: dict[str, tuple[str, dict[str, object]]] = {
        "/simple": (_PAGE, {"meta": _API, "projects": projects})
    }
    for file in files:
        common = {"filename": file.path.name, "url": base + file.place, "size": file.path.stat().st_size}
        listed = {**common, "hashes": {"sha256": file.sha256}, "upload-time": _UPLOADED, "yanked": False}
        page: dict[str, object] = {
            "meta": _API,
            "name": file.name,
            "versions": [file.version],
            "files": [listed],
        }
        released = {
            **common,
            "digests": {"sha256": file.sha256},
            "upload_time_iso_8601": _UPLOADED,
            "requires_python": None,
            "yanked": False,
            "yanked_reason": None,
        }
        about: dict[str, object] = {
            "info": {"name": file.name, "version": file.version},
            "last_serial": _SERIAL,
            "releases": {file.version: [released]},
            "urls": [released],
        }
        found[f"/simple/{file.name}"] = (_PAGE, page)
        found[f"/pypi/{file.name}/json"] = ("application/json", about)
    return {path: (kind, json.dumps(body).encode()) for path, (kind, body) in found.items()}


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


def _serve(files: Sequence[Offered], delay: float, address: Connection) -> None:
    places: Mapping[str, Path] = {file.place: file.path for file in files}
    said: dict[str, tuple[str, bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            time.sleep(delay)
            if path := places.get(self.path):
                self._begin("application/octet-stream", path.stat().st_size)
                with path.open("rb") as file:
                    self.wfile.flush()
                    self.connection.sendfile(file)
            elif answer := said.get(self.path.rstrip("/")):
                kind, body = answer
                self._begin(kind, len(body))
                self.wfile.write(body)
            else:
                self.send_error(404)

        def _begin(self, kind: str, length: int) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length))
            self.send_header("X-PyPI-Last-Serial", str(_SERIAL))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = _Server(("127.0.0.1", 0), Handler)
    base = f"http://127.0.0.1:{server.server_address[1]}"
    said.update(answers(files, base))
    address.send(base)
    server.serve_forever()


@contextmanager
def delayed_index(files: Sequence[Offered], delay: float) -> Iterator[str]:
    """The address of the index, without a slash, in a process of its own; `delay` in seconds before each answer."""
    fresh = multiprocessing.get_context("spawn")  # a fork takes locks and signal handlers along
    ours, theirs = fresh.Pipe()
    process = fresh.Process(target=_serve, args=(files, delay, theirs), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()
