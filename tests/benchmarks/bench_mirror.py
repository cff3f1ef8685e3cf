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
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path

from functions.sync import stage
from shared.delivery import Desk
from shared.events import Delivery, VerdictsWritten
from shared.gcp.registry import ArtifactRegistry
from shared.judgement import Court
from shared.memory.bus import MemoryBus
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.case import Subject
from shared.model.verdict import Verdicts
from shared.model.workload import Workload
from shared.policy import read as policies
from shared.policy.judge import judge_all
from shared.settings import Settings
from shared.upstream import connect
from tests.benchmarks.bench_sync import Credentials, Registry
from tests.support import built, claims
from tests.support.built import Built
from tests.support.market import Market

SIZES = (100, 400, 1600)
_RUN = "run-000000000000"
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
            settings = Settings(
                project="bench",
                registry_endpoint=registry.url,
                generic_repository="files",
                python_index=index,
                policy="offline",
            )
            client = ArtifactRegistry(settings)
            client.__dict__["_credentials"] = Credentials(registry.token())
            first, shards = _sync(market, manifest, settings, client, folder)
            listed = sorted(file.sha256 for file in client.stored("dmz-python"))
            if listed != hashes:
                raise SystemExit(f"Of {size} files {len(listed)} are there.")
            again, _ = _sync(market, manifest, settings, client, folder, transferred=0)
        finally:
            registry.close()
            server.terminate()
    return {"size": size, "seconds": first, "shards": shards, "again": again, "peak": _peak()}


def _sync(
    market: Market,
    manifest: claims.ClaimedManifest,
    settings: Settings,
    client: ArtifactRegistry,
    folder: Path,
    transferred: int | None = None,
) -> tuple[float, int]:
    """Seconds from the verdicts to the closed sync, and shards."""
    store, blobs, bus = MemoryStore(), MemoryBlobs(), MemoryBus(workers=2)
    policy = policies.find("offline")
    subjects = [Subject(package=p.package()) for e in manifest.environments for p in e.packages]
    subjects += [Subject(package=p.package(manifest.release), in_base=True) for p in manifest.debian]
    case = Court(market, policy, manifest.release, time.time()).case(subjects)
    verdicts = Verdicts(manifest=manifest.digest, case=case.digest, verdicts=judge_all(case))
    for value in (manifest, case, verdicts, _WORKLOAD):
        blobs.put(value.canonical())
    fields = {
        "state": "running",
        "stage": "sync",
        "workload_digest": _WORKLOAD.digest,
        "workload": _WORKLOAD.name,
        "requested": time.time(),
    }
    store.put_many("runs", {_RUN: fields})
    ports = stage.Ports(
        store=store,
        blobs=blobs,
        registry=client,
        advisories=market,
        policy=lambda: policy,
        upstream=lambda w: replace(connect.upstream(settings, w), apt=market, unmet=lambda *_: ""),
        settings=settings,
        clock=time.time,
        scratch=folder,
    )
    desk = Desk("sync", store, bus, lambda e: stage.handle_event(e, ports), lambda e: stage.settle(e, ports))

    def receive(delivery: Delivery) -> bool:
        desk.deliver(delivery)
        return True

    bus.subscribe("sync", receive)
    written = VerdictsWritten(
        run_id=_RUN,
        manifest=manifest.digest,
        verdicts=verdicts.digest,
        allow=len(verdicts.verdicts),
        hold=0,
        block=0,
    )
    begun = time.perf_counter()
    bus.send("verdicts-written", written.canonical(), {})
    bus.drain(3600)
    seconds = time.perf_counter() - begun
    ended = [event for event in bus.published if event.type == "sync-completed"]
    run = store.get("runs", _RUN) or {}
    if len({event.id for event in ended}) != 1:
        raise SystemExit(f"The sync ended {len(ended)} times: {run.get('reason') or bus.dead}")
    ((_, counted),) = store.find("syncs", "run_id", _RUN)
    if transferred is not None and run["planned"] != transferred:
        raise SystemExit(f"A second run transfers {run['planned']} files.")
    return seconds, int(counted["shards"])


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
