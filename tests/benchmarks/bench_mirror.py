"""A synthetic workload of many small artifacts through sync: how the cost grows, and whether memory does.

    .venv/bin/python -m tests.benchmarks.bench_mirror [SIZE ...] [--record FILE]

For each size an index on loopback with so many projects of one small wheel each, a manifest with all of them, and the
real stage from the verdicts to the closed sync: its own Artifact Registry client over HTTP against the emulator, its
own Firestore client against Google's emulator. The plan is made in one process and all shards are worked off in
another, two at a time as on Cloud Run, so that each has a peak of memory of its own; index and emulators are processes
besides. Then the same workload once more, which transfers nothing. Seconds are those of the work: a process is there
before its first event comes.

Fails if a file is missing at the end, or is there twice, or if the second run transfers anything, or if a worker of
shards needs notably more memory for the largest size than for REFERENCE artifacts (else the smallest size).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from functions.sync import stage
from shared.delivery import Desk, Outcome
from shared.errors import DmzError
from shared.events import Delivery, Event
from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
from shared.model.manifest import ClaimedManifest
from shared.model.workload import Workload
from shared.ports.upstream import Upstream
from shared.settings import Settings
from shared.upstream import connect
from tests.benchmarks import sync_stage
from tests.benchmarks.sync_stage import PROJECT, Registry
from tests.support import built, claims, emulators
from tests.support.built import Built
from tests.support.market import Market

SIZES = (100, 400, 1600)
REFERENCE = 400
TIMES, MORE = 1.3, 30.0
"""By how much a worker of shards may grow from REFERENCE artifacts to the largest size: times, or MiB if more."""
_SHARDS_AT_ONCE = 2
_SPAWN = multiprocessing.get_context("spawn")
_WORKLOAD = Workload(name="many", runtime_version="r", accelerator_type="a", install="true", smoke="true")


@dataclass(frozen=True)
class Measured:
    """One size. `first_s` and `again_s` in seconds, the peaks of memory in MiB."""

    artifacts: int
    shards: int
    first_s: float
    again_s: float
    peak_mib: float
    plan_mib: float
    apply_mib: float
    """Of a process that worked off all shards, before it closed the run."""
    close_mib: float
    load: float
    """Of the machine before it began: nothing else ran if that is near 0."""
    at: str


# --- the workload ---


def _wheels(size: int) -> dict[str, Built]:
    return {f"pkg{number}": built.wheel(f"pkg{number}", "1.0", text="x" * 2000) for number in range(size)}


def _market() -> Market:
    market = Market()
    market.deb("libc6", "2.41-12", source="glibc")
    return market


def _manifest(wheels: Mapping[str, Built]) -> ClaimedManifest:
    packages = [claims.python(name, "1.0", wheel, requested=True) for name, wheel in wheels.items()]
    base = claims.debian(Market().deb("libc6", "2.41-12", source="glibc"))
    return claims.manifest((base,), claims.environment(*packages), generic=())


def _serve(size: int, address: Connection) -> None:
    """The index, until the process ends."""
    wheels = _wheels(size)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            place = self.path.strip("/").rpartition("/")[2]
            if place.endswith(".whl"):
                kind, body = "application/octet-stream", wheels[place.split("-")[0]].content
            else:
                file = wheels[place]
                link = f'<a href="/files/{file.filename}#sha256={file.sha256[7:]}">{file.filename}</a>'
                kind, body = "text/html", f"<!DOCTYPE html><html><body>{link}</body></html>".encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            self.wfile.write(head if self.command == "HEAD" else head + body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address.send(server.server_address[1])
    server.serve_forever()


# --- a worker ---


@dataclass(frozen=True)
class Place:
    """Where everything is; what a worker is started with."""

    settings: Settings
    token: str
    scratch: Path

    def world(self) -> sync_stage.World:
        market = _market()

        def upstream(workload: Workload) -> Upstream:
            return replace(connect.upstream(self.settings, workload), apt=market, unmet=lambda *_: "")

        return sync_stage.World(
            self.settings,
            sync_stage.client(self.settings, self.token),
            market,
            upstream,
            self.scratch,
            FirestoreStore(PROJECT),
            FirestoreBlobs(PROJECT),
        )


@dataclass
class _Published:
    """A bus that keeps what is published, and lets nothing pass in silence."""

    events: list[Event] = field(default_factory=list)

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def dead_letter(self, _body: bytes, _attributes: Mapping[str, str], reason: str) -> None:
        raise SystemExit(f"A dead letter: {reason}")


@dataclass(frozen=True)
class Worked:
    """What a worker has done. Peaks in MiB."""

    seconds: float
    handled_mib: float
    """When the last event was handled and nothing was closed yet."""
    peak_mib: float
    published: list[Delivery]


def work(place: Place, deliveries: Sequence[Delivery]) -> Worked:
    """Everything about these deliveries, in this process."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):  # a line for each event
        return _work(place, deliveries)


def _work(place: Place, deliveries: Sequence[Delivery]) -> Worked:
    world, bus, handled = place.world(), _Published(), [0.0]
    ports = world.ports()

    def handle(event: Event) -> Outcome:
        outcome = stage.handle_event(event, ports)
        handled.append(_peak())
        return outcome

    desk = Desk("sync", world.store, bus, handle, lambda event: stage.settle(event, ports))
    begun = time.perf_counter()
    with ThreadPoolExecutor(_SHARDS_AT_ONCE) as pool:
        for _ in pool.map(desk.deliver, deliveries):
            pass
    seconds = time.perf_counter() - begun
    published = [Delivery(each.body(), each.type, each.attributes(), "1", each.time) for each in bus.events]
    return Worked(seconds, max(handled), _peak(), published)


def _peak() -> float:
    found = re.search(r"VmHWM:\s+([0-9]+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _in_a_process(place: Place, deliveries: Sequence[Delivery]) -> Worked:
    with ProcessPoolExecutor(1, mp_context=_SPAWN) as pool:
        return pool.submit(work, place, list(deliveries)).result()


# --- one size ---


def _sync(place: Place, manifest: ClaimedManifest, run_id: str) -> tuple[Worked, Worked, dict[str, Any]]:
    """The plan, the shards, and the run's document; SystemExit if it does not end once."""
    world = place.world()
    written = world.judged(manifest, _WORKLOAD, run_id)
    first = Delivery(written.canonical(), "verdicts-written", {}, f"{run_id} first", "")
    planned = _in_a_process(place, [first])
    shards = [each for each in planned.published if each.topic == "sync-shard-planned"]
    applied = _in_a_process(place, shards)
    run = dict(world.store.get("runs", run_id) or {})
    ended = {each.attributes["ce-id"] for each in applied.published if each.topic == "sync-completed"}
    if len(ended) != 1:
        raise SystemExit(f"The sync ended {len(ended)} times: {run.get('reason')}")
    ((_, counted),) = world.store.find("syncs", "run_id", run_id)
    if not len(shards) == counted["shards"] == counted["done"]:
        raise SystemExit(
            f"Of {counted['shards']} shards {len(shards)} were published, {counted['done']} done."
        )
    return planned, applied, run


def one(size: int) -> Measured:
    """Everything about one size."""
    load = round(os.getloadavg()[0], 1)
    ours, theirs = _SPAWN.Pipe()
    server = _SPAWN.Process(target=_serve, args=(size, theirs), daemon=True)
    server.start()
    wheels = _wheels(size)
    manifest, hashes = _manifest(wheels), sorted(wheel.sha256 for wheel in wheels.values())
    with tempfile.TemporaryDirectory(prefix="bench-mirror-") as name:
        folder = Path(name)
        registry = Registry(folder, ["dmz-python"])
        try:
            with emulators.emulator("firestore", folder) as firestore:
                os.environ["FIRESTORE_EMULATOR_HOST"] = firestore
                settings = registry.settings(python_index=f"http://127.0.0.1:{ours.recv()}/simple/")
                place = Place(settings, registry.token(), folder)
                planned, applied, run = _sync(place, manifest, "run-00000000000a")
                listed = sorted(file.sha256 for file in registry.client(settings).stored("dmz-python"))
                if listed != hashes or run["planned"] != size:
                    raise SystemExit(
                        f"Of {size} files {run['planned']} were planned, {len(listed)} are there."
                    )
                shards = len(planned.published)
                replanned, closed, again = _sync(place, manifest, "run-00000000000b")
                if again["planned"]:
                    raise SystemExit(f"A second run transfers {again['planned']} files.")
        finally:
            registry.close()
            server.terminate()
    plan = max(planned.peak_mib, replanned.peak_mib)
    close = max(applied.peak_mib, closed.peak_mib)
    return Measured(
        artifacts=size,
        shards=shards,
        first_s=round(planned.seconds + applied.seconds, 2),
        again_s=round(replanned.seconds + closed.seconds, 2),
        peak_mib=round(max(plan, close), 1),
        plan_mib=round(plan, 1),
        apply_mib=round(applied.handled_mib, 1),
        close_mib=round(close, 1),
        load=load,
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )


# --- all sizes ---


def ended(measured: Sequence[Measured]) -> int:
    """Says whether a worker of shards keeps its memory as the plan grows; the exit code."""
    by_size = sorted(measured, key=lambda each: each.artifacts)
    small = next((each for each in by_size if each.artifacts == REFERENCE), by_size[0])
    large = by_size[-1]
    limit = max(TIMES * small.apply_mib, small.apply_mib + MORE)
    print(
        f"a worker of shards: {small.apply_mib:.0f} MiB for {small.artifacts} artifacts, {large.apply_mib:.0f} MiB for "
        f"{large.artifacts} (limit {limit:.0f})"
    )
    return int(large.apply_mib > limit)


def record(measured: Sequence[Measured], path: Path) -> None:
    """Beside what the file holds of other sizes."""
    there = json.loads(path.read_text()) if path.exists() else []
    kept = {each["artifacts"]: each for each in there} | {each.artifacts: asdict(each) for each in measured}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([kept[size] for size in sorted(kept)], indent=1) + "\n")


def _line(found: Measured) -> str:
    return (
        f"{found.artifacts} artifacts in {found.shards} shards: {found.first_s:.1f} s, "
        f"{found.artifacts / found.first_s:.0f}/s; again {found.again_s:.1f} s; peaks: plan {found.plan_mib:.0f} MiB, "
        f"shards {found.apply_mib:.0f} MiB, close {found.close_mib:.0f} MiB, "
        f"{1024 * found.peak_mib / found.artifacts:.0f} KiB per artifact"
    )


def main(sizes: Sequence[int], file: Path | None, measure: Callable[[int], Measured] = one) -> int:
    """The exit code."""
    print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}")
    measured = []
    for size in sizes:
        measured.append(measure(size))
        print(_line(measured[-1]), flush=True)
    if file:
        record(measured, file)
    return ended(measured)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sync of many small artifacts: seconds and memory by size.")
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES), help="numbers of artifacts")
    parser.add_argument("--record", type=Path, metavar="FILE", help="a JSON list that gets the figures")
    given = parser.parse_args()
    # Who is terminated ends index and emulators as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    try:
        sys.exit(main(given.sizes, given.record))
    except DmzError as error:
        sys.exit(str(error))
