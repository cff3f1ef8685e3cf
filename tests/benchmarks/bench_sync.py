"""Sync of MaxText's 239 files from PyPI, against the sum of `aria2c -j16` and an upload of the same bytes by curl.

    .venv/bin/python -m tests.benchmarks.bench_sync [ROUNDS] [--record FILE]

All work on the same files and the same Artifact Registry emulator, each into an empty repository. One round that is not
counted comes first: it warms the host's and the index's caches, alike for all, and gives the URLs. In the counted ones
who begins takes turns, so that a machine that drifts hurts both alike.

What is timed:
- *sync*: from verdicts-written to sync-completed: 239 index pages, the judgement over again, the lock, the plan, what
  the repositories hold, and of every file download, hash, name, metadata and RECORD, upload. Not the start of Python:
  a stage is a service that runs.
- *aria2c*: one process, the same URLs, 16 at once, each file's sha256 checked; no index page is read.
- *curl*: one process, 8 uploads at once as a shard has, in the same form with the same hashes, which it is given.
Nothing is timed that makes the lists of URLs and forms for the two, or that counts what has arrived.

Needs the network, `aria2c` (Debian: aria2) and curl, and 2.5 GB of disk. The manifest is that of a real run
(2026-11-21, Debian 13, Python 3.13); of it only what PyPI has is synced. After the first round the same workload runs
again as often, with nothing to bring. Exits 1 if the median ratio is above 1.5, or such a run takes more than 2 s.
"""

from __future__ import annotations

import argparse
import gzip
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.advisories.zips import ZipAdvisories
from shared.model.lock import Lock, LockedPython
from shared.model.manifest import ClaimedManifest
from shared.model.workload import find
from shared.ports.registry import Registry as PrivateRegistry
from shared.upstream import connect
from tests.benchmarks import figures, sync_stage
from tests.benchmarks.sync_stage import Registry

_HERE = Path(__file__).parent
SNAPSHOT = _HERE.parents[1] / "shared" / "data" / "advisories"
LIMIT = 1.5
"""Times of what aria2c and curl need together."""
AGAIN = 2.0
"""Seconds, when all is there already."""
Round = dict[str, float]
"""Seconds: sync_s, aria2c_s, curl_s."""


def maxtext() -> ClaimedManifest:
    """What a real outer VM had."""
    data = gzip.decompress((_HERE / "data" / "maxtext-manifest.json.gz").read_bytes())
    return ClaimedManifest.read(data, "the benchmark's manifest")


def locked(lock: Lock) -> Iterator[LockedPython]:
    """Its files of Python packages."""
    for environment in lock.environments:
        yield from environment.packages


def _world(registry: Registry, repository: str, scratch: Path) -> sync_stage.World:
    settings = registry.settings(python_repository=repository)
    return sync_stage.new_world(
        registry, settings, ZipAdvisories(SNAPSHOT), lambda w: connect.upstream(settings, w), scratch
    )


def again(world: sync_stage.World, manifest: ClaimedManifest, rounds: int) -> list[float]:
    """Seconds of so many more runs of the same workload; SystemExit if one of them has anything to bring."""
    found = []
    for number in range(rounds):
        done = sync_stage.sync(world, manifest, find("maxtext"), run_id=f"run-{number + 1:012}")
        if done.run["planned"]:
            raise SystemExit(f"A further run of the same workload brings {done.run['planned']} files.")
        found.append(done.seconds)
    return found


def ours(registry: Registry, repository: str, scratch: Path, manifest: ClaimedManifest) -> tuple[float, Lock]:
    """Seconds from verdicts-written to sync-completed, and the lock."""
    world = _world(registry, repository, scratch)
    done = sync_stage.sync(world, manifest, find("maxtext"))
    return done.seconds, Lock.read(world.blobs.get(done.run["lock"]), "the lock")


def _peers(registry: Registry, repository: str, folder: Path, lock: Lock) -> tuple[float, float]:
    """Seconds of aria2c and of curl."""
    (folder / "files").mkdir(parents=True)
    files = list(locked(lock))
    fetched = aria2c(files, folder)
    return fetched, curl(registry, repository, files, folder / "files")


def aria2c(files: Sequence[LockedPython], folder: Path) -> float:
    """Seconds that it takes to fetch them into `folder`/files."""
    lines = [f"{file.url}\n  out={file.filename}\n  checksum=sha-256={file.sha256[7:]}" for file in files]
    (folder / "urls").write_text("\n".join(lines))
    command = ["aria2c", "-q", "-j16", "-d", str(folder / "files"), "-i", str(folder / "urls")]
    begun = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - begun


def curl(registry: Registry, repository: str, files: Sequence[LockedPython], place: Path) -> float:
    """Seconds that it takes to upload them from `place`, eight at once."""
    parts = []
    for file in files:
        fields = {
            ":action": "file_upload",
            "name": file.name,
            "version": file.version,
            "sha256_digest": file.sha256[7:],
            "protocol_version": "1",
        }
        parts.append(
            "\n".join(
                [
                    f'url = "{registry.url}/{sync_stage.PROJECT}/{repository}/"',
                    f'header = "Authorization: Bearer {registry.token()}"',
                    *(f'form-string = "{key}={value}"' for key, value in fields.items()),
                    f'form = "content=@{place / file.filename}"',
                    "fail\nsilent\noutput = /dev/null",
                ]
            )
        )
    config = place.parent / "curl.conf"
    config.write_text("\nnext\n".join(parts))
    command = ["curl", "--parallel", "--parallel-max", "8", "--config", str(config)]
    begun = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def check_arrived(registry: PrivateRegistry, repository: str, files: Sequence[LockedPython]) -> None:
    """SystemExit unless the repository holds every one of the files, and no other."""
    held = sorted(file.sha256 for file in registry.stored(repository))
    if held != sorted({file.sha256 for file in files}):
        raise SystemExit(f"Of {len(files)} files {len(held)} are in {repository}, or others.")


def ratio(found: Round) -> float:
    return found["sync_s"] / (found["aria2c_s"] + found["curl_s"])


def ended(ratios: list[float], more: Sequence[float] = ()) -> int:
    """Says the median ratio, and the median seconds of further runs; the exit code."""
    median = statistics.median(ratios)
    print(f"median ratio {median:.2f} over {len(ratios)} rounds, {os.cpu_count()} CPUs (limit {LIMIT})")
    seconds = statistics.median(more) if more else 0.0
    if more:
        print(f"the same workload again: {seconds:.2f} s, the median of {len(more)} (limit {AGAIN})")
    return int(median > LIMIT or seconds > AGAIN)


def one(registry: Registry, number: int, folder: Path, manifest: ClaimedManifest, lock: Lock) -> Round:
    """One round; peers begin in every other one."""
    scratch, peers = folder / "ours", folder / "peers"
    scratch.mkdir()
    if number % 2:
        fetched, sent = _peers(registry, f"curl-{number}", peers, lock)
        seconds, again = ours(registry, f"ours-{number}", scratch, manifest)
    else:
        seconds, again = ours(registry, f"ours-{number}", scratch, manifest)
        fetched, sent = _peers(registry, f"curl-{number}", peers, lock)
    client = registry.client(registry.settings())
    for who in ("ours", "curl"):
        check_arrived(client, f"{who}-{number}", list(locked(again)))
    sizes = [path.stat().st_size for path in (peers / "files").iterdir()]
    for place in (scratch, peers):
        shutil.rmtree(place)
    found = {"sync_s": seconds, "aria2c_s": fetched, "curl_s": sent}
    print(
        f"{len(sizes)} files, {sum(sizes) / 1e6:.0f} MB: sync {seconds:.1f} s, aria2c {fetched:.1f} s + "
        f"curl {sent:.1f} s, ratio {ratio(found):.2f}",
        flush=True,
    )
    return found


def main(rounds: int, file: Path | None) -> int:
    """The exit code."""
    manifest, load = maxtext(), os.getloadavg()[0]
    print(f"load {load:.1f} before", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-sync-") as name:
        folder = Path(name)
        numbers = range(rounds)
        registry = Registry(
            folder, ["first", "first-curl", *(f"{who}-{n}" for n in numbers for who in ("ours", "curl"))]
        )
        try:
            (folder / "first").mkdir()
            world = _world(registry, "first", folder / "first")
            brought = sync_stage.sync(world, manifest, find("maxtext"))
            lock = Lock.read(world.blobs.get(brought.run["lock"]), "the lock")
            more = again(world, manifest, rounds)
            _peers(registry, "first-curl", folder / "first" / "peers", lock)
            shutil.rmtree(folder / "first")
            found = [one(registry, number, folder, manifest, lock) for number in numbers]
        finally:
            registry.close()
    if file:
        figures.record(file, "sync", found, load)
    return ended([ratio(each) for each in found], more)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    parser.add_argument("--record", type=Path, metavar="FILE", help="a JSON file that gets the figures")
    given = parser.parse_args()
    sys.exit(main(given.rounds, given.record))
