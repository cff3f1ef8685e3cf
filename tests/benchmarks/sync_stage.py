"""The real sync stage for benchmarks: a judged run, the stage over twins in memory, Artifact Registry's emulator."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from functions.sync import stage
from shared.delivery import Desk
from shared.emulators import tokens
from shared.events import Delivery, VerdictsWritten
from shared.gcp.registry import ArtifactRegistry
from shared.judgement import Court
from shared.memory.bus import MemoryBus
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.case import Subject
from shared.model.manifest import ClaimedManifest
from shared.model.verdict import Verdicts
from shared.model.workload import Workload
from shared.policy import read as policies
from shared.policy.judge import judge_all
from shared.ports.judgement import Advisories
from shared.ports.registry import Registry as PrivateRegistry
from shared.ports.store import Blobs, Document, Store
from shared.ports.upstream import Upstream
from shared.settings import Settings

PROJECT = "bench"
RUN = "run-000000000000"
_WRITER = "sync@bench.iam.gserviceaccount.com"
_POLICY = "offline"


class Registry:
    """The emulator as a process of its own, with so many Python repositories, one for apt and one for files."""

    def __init__(self, folder: Path, repositories: Sequence[str]) -> None:
        self.key = tokens.load_key(folder / "key")
        config = {
            "listen": "127.0.0.1:0",
            "port_file": str(folder / "port"),
            "state_dir": str(folder / "registry"),
            "token_key": str(folder / "key"),
            "project": PROJECT,
            "location": "us-central1",
            "repositories": [{"name": name, "format": "PYTHON"} for name in repositories]
            + [{"name": "trixie", "format": "APT"}, {"name": "files", "format": "GENERIC"}],
            "iam": {"*": {"writer": [_WRITER]}},
        }
        (folder / "config.json").write_text(json.dumps(config))
        command = [sys.executable, "-m", "shared.emulators.registry", "--config", str(folder / "config.json")]
        self._process = subprocess.Popen(command)
        while not (folder / "port").exists():
            if self._process.poll() is not None:
                raise SystemExit("The emulator of Artifact Registry did not start.")
            time.sleep(0.05)
        self.url = f"http://127.0.0.1:{(folder / 'port').read_text().strip()}"

    def token(self) -> str:
        """Good for an hour."""
        return tokens.mint(self.key, _WRITER, time.time(), 3600)

    def settings(self, **more: str) -> Settings:
        """Of a stage that writes here; `python_repository` is `dmz-python` unless `more` says otherwise."""
        return Settings(
            project=PROJECT,
            registry_endpoint=self.url,
            generic_repository="files",
            policy=_POLICY,
            **more,  # type: ignore[arg-type]
        )

    def client(self, settings: Settings) -> ArtifactRegistry:
        """The stage's own adapter, with a token in place of a metadata server."""
        return client(settings, self.token())

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


def client(settings: Settings, token: str) -> ArtifactRegistry:
    """As `Registry.client`, for another process."""
    made = ArtifactRegistry(settings)
    made.__dict__["_credentials"] = _Token(token)
    return made


class _Token:
    """Credentials that are a token."""

    valid = True

    def __init__(self, token: str) -> None:
        self.token = token

    def before_request(self, _request: object, _method: str, _url: str, headers: dict[str, str]) -> None:
        headers["authorization"] = f"Bearer {self.token}"


@dataclass(frozen=True)
class World:
    """What the stage works with; several runs can share one."""

    settings: Settings
    registry: PrivateRegistry
    advisories: Advisories
    upstream: Callable[[Workload], Upstream]
    scratch: Path
    store: Store
    blobs: Blobs

    def judged(self, manifest: ClaimedManifest, workload: Workload, run_id: str = RUN) -> VerdictsWritten:
        """A run that has come as far as its verdicts, all stored; what the scanner would say of it."""
        policy = policies.find(_POLICY)
        subjects = [Subject(package=p.package()) for e in manifest.environments for p in e.packages]
        subjects += [Subject(package=p.package(manifest.release), in_base=True) for p in manifest.debian]
        case = Court(self.advisories, policy, manifest.release, time.time()).case(subjects)
        verdicts = Verdicts(manifest=manifest.digest, case=case.digest, verdicts=judge_all(case))
        for value in (manifest, case, verdicts, workload):
            self.blobs.put(value.canonical())
        fields: Document = {
            "state": "running",
            "stage": "sync",
            "workload_digest": workload.digest,
            "workload": workload.name,
            "requested": time.time(),
        }
        self.store.put_many("runs", {run_id: fields})
        return VerdictsWritten(
            run_id=run_id,
            manifest=manifest.digest,
            verdicts=verdicts.digest,
            allow=len(verdicts.verdicts),
            hold=0,
            block=0,
        )

    def ports(self) -> stage.Ports:
        policy = policies.find(_POLICY)
        return stage.Ports(
            store=self.store,
            blobs=self.blobs,
            registry=self.registry,
            advisories=self.advisories,
            policy=lambda: policy,
            upstream=self.upstream,
            settings=self.settings,
            clock=time.time,
            scratch=self.scratch,
        )


@dataclass(frozen=True)
class Synced:
    """A sync that has closed."""

    seconds: float
    """From verdicts-written to the last event."""
    shards: int
    run: Document
    """The run's document: `planned` transfers, `lock`."""


def new_world(
    registry: Registry,
    settings: Settings,
    advisories: Advisories,
    upstream: Callable[[Workload], Upstream],
    scratch: Path,
) -> World:
    """A world whose documents are in memory and empty."""
    return World(
        settings, registry.client(settings), advisories, upstream, scratch, MemoryStore(), MemoryBlobs()
    )


def attend(world: World, bus: MemoryBus) -> None:
    """Let the stage hear every event on `bus`."""
    ports = world.ports()
    desk = Desk(
        "sync", world.store, bus, lambda e: stage.handle_event(e, ports), lambda e: stage.settle(e, ports)
    )

    def receive(delivery: Delivery) -> bool:
        desk.deliver(delivery)
        return True

    bus.subscribe("sync", receive)


def sync(
    world: World, manifest: ClaimedManifest, workload: Workload, seconds: float = 600, run_id: str = RUN
) -> Synced:
    """One run from its verdicts to the closed sync, two deliveries at a time; SystemExit if it does not end once."""
    written = world.judged(manifest, workload, run_id)
    bus = MemoryBus(workers=2)
    attend(world, bus)
    begun = time.perf_counter()
    bus.send("verdicts-written", written.canonical(), {})
    if not bus.drain(seconds):
        raise SystemExit(f"The sync has not ended after {seconds:.0f} s.")
    passed = time.perf_counter() - begun
    ended = {event.id for event in bus.published if event.type == "sync-completed"}
    run = world.store.get("runs", run_id) or {}
    if len(ended) != 1:
        raise SystemExit(f"The sync ended {len(ended)} times: {run.get('reason') or bus.dead}")
    ((_, counted),) = world.store.find("syncs", "run_id", run_id)
    return Synced(passed, int(counted["shards"]), run)
