"""What the tests of upstream stand on: a web server on loopback, and makers of wheels, source archives and .debs."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Reply:
    """What the server answers. `cut`: the connection breaks after so many bytes of the body."""

    body: bytes = b""
    status: int = 200
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    """One without a value is left out."""
    cut: int | None = None


Route = Reply | Callable[["Request"], Reply]


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    number: int
    """1 for the first request of this path."""
    method: str = "GET"


class Web:
    """A web server on loopback that serves what stands in `routes`."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[Request] = []
        self._lock = threading.Lock()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web._answer(self)

            def do_HEAD(self) -> None:
                web._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            request = Request(handler.path, headers, len(self.asked(handler.path)) + 1, handler.command)
            self.requests.append(request)
        route = self.routes.get(handler.path, Reply(b"not here", 404, "text/plain"))
        reply = route(request) if callable(route) else route
        handler.send_response(reply.status)
        if reply.content_type:
            handler.send_header("Content-Type", reply.content_type)
        if "Content-Length" not in reply.headers:
            handler.send_header("Content-Length", str(len(reply.body)))
        for name, value in reply.headers.items():
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(reply.body[: reply.cut])
        if reply.cut is not None:
            handler.close_connection = True


def ranged(content: bytes, first_cut: int | None = None) -> Callable[[Request], Reply]:
    """A route that honours Range; the first connection breaks after `first_cut` bytes."""

    def answer(request: Request) -> Reply:
        asked = request.headers.get("range", "")
        if not asked:
            return Reply(content, cut=first_cut if request.number == 1 else None)
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        return Reply(content[start:], 206, headers=span)

    return answer


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def record_row(path: str, content: bytes) -> str:
    encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    row = io.StringIO()
    csv.writer(row, lineterminator="\n").writerow([path, f"sha256={encoded}", len(content)])
    return row.getvalue()


def metadata(name: str, version: str, requires: Iterable[str] = (), more: str = "") -> bytes:
    lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
    return f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{more}{lines}\n".encode()


def wheel_members(
    name: str, version: str, files: Mapping[str, bytes], requires: Iterable[str] = ()
) -> dict[str, bytes]:
    """The members of a sound wheel; a test may spoil them before `zipped`."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    members = dict(files)
    members[f"{info}/METADATA"] = metadata(name, version, requires)
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    rows = "".join(record_row(path, content) for path, content in members.items())
    members[f"{info}/RECORD"] = f"{rows}{info}/RECORD,,\n".encode()
    return members


def zipped(members: Mapping[str, bytes] | Iterable[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    pairs = members.items() if isinstance(members, Mapping) else members
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in pairs:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(members: Iterable[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return gzip.compress(buffer.getvalue(), 1, mtime=0)


def sdist(name: str, version: str, pyproject: str | None = None, pkg_info: bytes | None = None) -> bytes:
    top = f"{name.replace('-', '_')}-{version}"
    members = [(f"{top}/PKG-INFO", pkg_info if pkg_info is not None else metadata(name, version))]
    members += [(f"{top}/pyproject.toml", pyproject.encode())] if pyproject is not None else []
    return tarred([*members, (f"{top}/{name}.py", b"x = 1\n")])


def deb(folder: Path, fields: Mapping[str, str]) -> Path:
    """A real .deb with these control fields, made by dpkg-deb."""
    root = folder / f"root-{fields['Package']}-{abs(hash(frozenset(fields.items())))}"
    (root / "DEBIAN").mkdir(parents=True)
    full = {"Maintainer": "Tester <tester@example.org>", "Description": "test", **fields}
    (root / "DEBIAN" / "control").write_text("".join(f"{name}: {value}\n" for name, value in full.items()))
    path = folder / f"{fields['Package']}_{fields['Version'].split(':')[-1]}_{fields['Architecture']}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "--nocheck", "--build", root, path],
        check=True,
        capture_output=True,
    )
    return path
