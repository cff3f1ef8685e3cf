"""A synthetic workload of many small artifacts through sync: how the cost grows, and whether memory does.

    .venv/bin/python -m tests.benchmarks.bench_mirror [SIZE ...]

For each size, in a process of its own: an index on loopback with so many projects of one wheel each, a manifest with
all of them, and the real stage from the verdicts to the closed sync, over the twins in memory and the Artifact Registry
emulator. Says seconds, artifacts per second, shards, and the peak of memory beside that of the smallest size. Fails if
a file is missing at the end, or is there twice, or if a second run of the same transfers anything.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

from shared.model.manifest import ClaimedManifest
from shared.model.workload import Workload
from shared.ports.upstream import Upstream
from shared.upstream import connect
from tests.benchmarks import sync_stage
from tests.benchmarks.sync_stage import Registry, Synced
from tests.support import built, claims
from tests.support.built import Built
from tests.support.market import Market

SIZES = (100, 400, 1600)
_WORKLOAD = Workload(name="many", runtime_version="r", accelerator_type="a", install="true", smoke="true")


def _serve(wheels: dict[str, Built], address: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            place = self.path.strip("/").rpartition("/")[2]
            if place.endswith(".whl"):
                kind, body = "application/octet-stream", wheels[place.split("-")[0]].content
            else:
                file = wheels[place]
                link = f'<a href="/files/{file.filename}#sha256={file.sha256[7:]}">{file.filename}</a>'
                kind, body = "text/html", f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address.send(server.server_address[1])
    server.serve_forever()


def _peak() -> int:
    found = re.search(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) if found else 0


def one(size: int) -> dict[str, float]:
    """Everything about one size, in this process."""
    wheels = {f"pkg{number}": built.wheel(f"pkg{number}", "1.0", text="x" * 2000) for number in range(size)}
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=_serve, args=(wheels, theirs), daemon=True)
    server.start()
    index = f"http://127.0.0.1:{ours.recv()}/simple/"
    market = Market()
    packages = [claims.python(name, "1.0", wheel, requested=True) for name, wheel in wheels.items()]
    base = claims.debian(market.deb("libc6", "2.41-12", source="glibc"))
    manifest = claims.manifest((base,), claims.environment(*packages), generic=())
    hashes = sorted(wheel.sha256 for wheel in wheels.values())
    with tempfile.TemporaryDirectory(prefix="bench-mirror-") as name:
        folder = Path(name)
        registry = Registry(folder, ["dmz-python"])
        try:
            settings = registry.settings(python_index=index)

            def upstream(workload: Workload) -> Upstream:
                return replace(connect.upstream(settings, workload), apt=market, unmet=lambda *_: "")

            def world() -> sync_stage.World:
                return sync_stage.new_world(registry, settings, market, upstream, folder)

            first = _sync(world(), manifest)
            listed = sorted(file.sha256 for file in registry.client(settings).stored("dmz-python"))
            if listed != hashes:
                raise SystemExit(f"Of {size} files {len(listed)} are there.")
            again = _sync(world(), manifest, transferred=0)
        finally:
            registry.close()
            server.terminate()
    return {
        "size": size,
        "seconds": first.seconds,
        "shards": first.shards,
        "again": again.seconds,
        "peak": _peak(),
    }


def _sync(world: sync_stage.World, manifest: ClaimedManifest, transferred: int | None = None) -> Synced:
    done = sync_stage.sync(world, manifest, _WORKLOAD, seconds=3600)
    if transferred is not None and done.run["planned"] != transferred:
        raise SystemExit(f"A second run transfers {done.run['planned']} files.")
    return done


def main(sizes: tuple[int, ...]) -> int:
    """The exit code."""
    base = 0
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    for size in sizes:
        command = [sys.executable, "-m", "tests.benchmarks.bench_mirror", "--one", str(size)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        found = json.loads(said)
        base = base or found["peak"]
        print(
            f"{size} artifacts in {found['shards']} shards: {found['seconds']:.1f} s, "
            f"{size / found['seconds']:.0f}/s; again {found['again']:.1f} s; "
            f"peak {found['peak'] >> 10} MiB ({(found['peak'] - base) >> 10:+} MiB)",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(int(sys.argv[2]))))
        sys.exit(0)
    sys.exit(main(tuple(map(int, sys.argv[1:])) or SIZES))
