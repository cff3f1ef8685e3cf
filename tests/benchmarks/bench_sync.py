"""Sync of MaxText's 239 files from PyPI, against the sum of `aria2c -j16` and an upload of the same bytes by curl.

    .venv/bin/python -m tests.benchmarks.bench_sync [ROUNDS]

All three work on the same files and the same Artifact Registry emulator, in turn within each round, so that a machine
that drifts hurts all alike. Needs the network, `aria2c` (Debian: aria2) and curl. The manifest is that of a real run
(2026-11-21, Debian 13, Python 3.13); of it only what PyPI has is synced. Exits 1 if the median ratio is 3 or more.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from functions.sync import stage
from shared.advisories.zips import ZipAdvisories
from shared.delivery import Desk
from shared.emulators import tokens
from shared.events import Delivery, VerdictsWritten
from shared.gcp.registry import ArtifactRegistry
from shared.judgement import Court
from shared.memory.bus import MemoryBus
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.case import Subject
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest
from shared.model.verdict import Verdicts
from shared.model.workload import find
from shared.policy import read as policies
from shared.policy.judge import judge_all
from shared.settings import Settings
from shared.upstream import connect

_HERE = Path(__file__).parent
_SNAPSHOT = _HERE.parents[1] / "shared" / "data" / "advisories"
_PROJECT, _WRITER = "bench", "sync@bench.iam.gserviceaccount.com"
_RUN = "run-000000000000"
LIMIT = 3.0
"""Times of what aria2c and curl need together."""


class Registry:
    """The emulator as a process of its own, with two empty Python repositories per round."""

    def __init__(self, folder: Path, repositories: list[str]) -> None:
        self.key = tokens.load_key(folder / "key")
        config = {
            "listen": "127.0.0.1:0",
            "port_file": str(folder / "port"),
            "state_dir": str(folder / "registry"),
            "token_key": str(folder / "key"),
            "project": _PROJECT,
            "location": "us-central1",
            "repositories": [{"name": name, "format": "PYTHON"} for name in repositories]
            + [{"name": "trixie", "format": "APT"}, {"name": "files", "format": "GENERIC"}],
            "iam": {"*": {"writer": [_WRITER]}},
        }
        (folder / "config.json").write_text(json.dumps(config))
        command = [sys.executable, "-m", "shared.emulators.registry", "--config", str(folder / "config.json")]
        self._process = subprocess.Popen(command)
        while not (folder / "port").exists():
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{(folder / 'port').read_text().strip()}"

    def token(self) -> str:
        return tokens.mint(self.key, _WRITER, time.time(), 3600)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class Credentials:
    """A token in place of a metadata server."""

    valid = True

    def __init__(self, token: str) -> None:
        self.token = token

    def before_request(self, _request: object, _method: str, _url: str, headers: dict[str, str]) -> None:
        headers["authorization"] = f"Bearer {self.token}"


def _ours(
    registry: Registry, repository: str, scratch: Path, manifest: ClaimedManifest
) -> tuple[float, Lock]:
    """Seconds from verdicts-written to sync-completed, and the lock."""
    settings = Settings(
        project=_PROJECT,
        registry_endpoint=registry.url,
        python_repository=repository,
        generic_repository="files",
        policy="offline",
    )
    store, blobs, bus = MemoryStore(), MemoryBlobs(), MemoryBus(workers=2)
    client = ArtifactRegistry(settings)
    client.__dict__["_credentials"] = Credentials(registry.token())
    advisories = ZipAdvisories(_SNAPSHOT)
    policy = policies.find("offline")
    subjects = [Subject(package=p.package()) for e in manifest.environments for p in e.packages]
    subjects += [Subject(package=p.package(manifest.release), in_base=True) for p in manifest.debian]
    case = Court(advisories, policy, manifest.release, time.time()).case(subjects)
    verdicts = Verdicts(manifest=manifest.digest, case=case.digest, verdicts=judge_all(case))
    workload = find("maxtext")
    for value in (manifest, verdicts, workload):
        blobs.put(value.canonical())
    fields = {"state": "running", "workload_digest": workload.digest, "workload": workload.name}
    store.put_many("runs", {_RUN: fields})
    ports = stage.Ports(
        store=store,
        blobs=blobs,
        registry=client,
        advisories=advisories,
        policy=lambda: policy,
        upstream=lambda w: connect.upstream(settings, w),
        settings=settings,
        clock=time.time,
        scratch=scratch,
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
    bus.drain(600)
    seconds = time.perf_counter() - begun
    run = store.get("runs", _RUN) or {}
    if not any(event.type == "sync-completed" for event in bus.published):
        raise SystemExit(f"The sync did not end: {run.get('reason') or bus.dead}")
    return seconds, Lock.read(blobs.get(run["lock"]), "the lock")


def _aria2c(lock: Lock, folder: Path) -> float:
    lines = []
    for environment in lock.environments:
        for file in environment.packages:
            lines.append(f"{file.url}\n  out={file.filename}\n  checksum=sha-256={file.sha256[7:]}")
    (folder / "urls").write_text("\n".join(lines))
    begun = time.perf_counter()
    subprocess.run(["aria2c", "-q", "-j16", "-d", folder / "files", "-i", folder / "urls"], check=True)
    return time.perf_counter() - begun


def _curl(registry: Registry, repository: str, lock: Lock, folder: Path) -> float:
    """One curl process with 8 transfers at once: the same form, the same files."""
    parts = []
    for environment in lock.environments:
        for file in environment.packages:
            fields = {":action": "file_upload", "name": file.name, "version": file.version}
            forms = [f'form-string = "{key}={value}"' for key, value in fields.items()]
            forms += [
                f'form-string = "sha256_digest={file.sha256[7:]}"',
                'form-string = "protocol_version=1"',
            ]
            parts.append(
                "\n".join(
                    [
                        f'url = "{registry.url}/{_PROJECT}/{repository}/"',
                        f'header = "Authorization: Bearer {registry.token()}"',
                        *forms,
                        f'form = "content=@{folder / "files" / file.filename}"',
                        "fail\nsilent\noutput = /dev/null",
                    ]
                )
            )
    (folder / "config").write_text("\nnext\n".join(parts))
    begun = time.perf_counter()
    command = ["curl", "--parallel", "--parallel-max", "8", "--config", folder / "config"]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begun


def ended(ratios: list[float]) -> int:
    """Says the median ratio; the exit code."""
    median = statistics.median(ratios)
    print(f"median ratio {median:.2f} over {len(ratios)} rounds, {os.cpu_count()} CPUs (limit {LIMIT:.0f})")
    return int(median >= LIMIT)


def main(rounds: int) -> int:
    data = gzip.decompress((_HERE / "data" / "maxtext-manifest.json.gz").read_bytes())
    manifest = ClaimedManifest.read(data, "the benchmark's manifest")
    ratios = []
    with tempfile.TemporaryDirectory(prefix="bench-sync-") as name:
        folder = Path(name)
        registry = Registry(folder, [f"{who}-{r}" for r in range(rounds) for who in ("ours", "curl")])
        try:
            for number in range(rounds):
                scratch, peers = folder / f"ours-{number}", folder / f"peers-{number}"
                scratch.mkdir()
                (peers / "files").mkdir(parents=True)
                ours, lock = _ours(registry, f"ours-{number}", scratch, manifest)
                fetched = _aria2c(lock, peers)
                size = sum(path.stat().st_size for path in (peers / "files").iterdir())
                sent = _curl(registry, f"curl-{number}", lock, peers)
                ratios.append(ours / (fetched + sent))
                print(
                    f"{len(list((peers / 'files').iterdir()))} files, {size / 1e6:.0f} MB: sync {ours:.1f} s, "
                    f"aria2c {fetched:.1f} s + curl {sent:.1f} s, ratio {ratios[-1]:.2f}",
                    flush=True,
                )
        finally:
            registry.close()
    return ended(ratios)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 3))
