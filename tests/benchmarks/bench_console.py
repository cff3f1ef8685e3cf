"""Milliseconds for a page of the console, out of a store with a thousand runs; exit 1 if one takes over 100 ms.

    .venv/bin/python -m tests.benchmarks.bench_console [RUNS] [PACKAGES]

Over documents in memory, and over the Firestore emulator at FIRESTORE_EMULATOR_HOST if one is named. The run that is
looked at has 10,000 packages: the first page that needs them reads them, which is timed apart.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

from werkzeug.test import Client
from werkzeug.wrappers import Request

from functions.console.site import Site
from shared.memory.readings import MemoryReadings
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.readings import Readings
from tests.console import samples
from tests.console.documents import NOW, verdicts
from tests.console.samples import pages, run_id

LIMIT = 100.0
"""Milliseconds, the median of a page."""
_ROUNDS = 9


def filled(runs: int, packages: int) -> tuple[MemoryStore, MemoryBlobs]:
    # A good many failed: the page of troubles looks for them.
    states = {1: "running"}
    store, blobs = samples.filled(
        runs, states=lambda number: states.get(number, "failed" if number % 5 == 2 else "completed")
    )
    of = store.get("runs", run_id(0)) or {}
    samples.put_run(store, blobs, run_id(0), of, verdicts(packages))
    return store, blobs


def copied(store: MemoryStore, blobs: MemoryBlobs) -> Readings:
    """The same documents in the emulator, in a project of their own."""
    from shared.gcp.firestore import FirestoreBlobs, FirestoreStore
    from shared.gcp.readings import FirestoreReadings

    project = f"bench-{os.getpid()}"
    there, contents = FirestoreStore(project), FirestoreBlobs(project)
    for collection in sorted({collection for collection, _ in store._documents}):
        there.put_many(collection, dict(store.everything(collection)))
    for data in blobs._content.values():
        contents.put(data)
    return FirestoreReadings(project)


def measure(name: str, readings: Readings) -> list[str]:
    """Prints a line for each page; the addresses of those over the limit."""
    client = Client(Request.application(Site(readings, lambda: NOW, print).answer))
    client.get("/")  # templates are compiled once
    began = time.perf_counter()
    client.get(f"/runs/{run_id(0)}/packages")
    print(f"\n{name}\n  reading the packages once {1000 * (time.perf_counter() - began):7.1f} ms")
    slow = []
    for path in [*pages(run_id(0)), f"/runs/{run_id(0)}/packages?q=lib0&sort=name&order=down&page=7"]:
        took = []
        for _ in range(_ROUNDS):
            began = time.perf_counter()
            status = client.get(path).status_code
            took.append(1000 * (time.perf_counter() - began))
            assert status == 200, (path, status)
        middle = statistics.median(took)
        print(f"  {middle:7.1f} ms, {min(took):7.1f} at least  {path.replace(run_id(0), 'RUN')}")
        if middle > LIMIT:
            slow.append(path)
    return slow


def main(runs: int = 1000, packages: int = 10_000) -> int:
    store, blobs = filled(runs, packages)
    print(f"{runs} runs, {packages} packages, {os.cpu_count()} CPUs, median of {_ROUNDS}")
    slow = measure("documents in memory", MemoryReadings(store, blobs))
    if os.environ.get("FIRESTORE_EMULATOR_HOST"):
        slow += measure("Firestore emulator", copied(store, blobs))
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
