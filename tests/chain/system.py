"""A platform of the tests' own, as `./dmz up` starts it, and what is on it as a test sees it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import httpx
import yaml
from google.cloud.tpu_v2.types import cloud_tpu
from google.longrunning import operations_pb2, operations_pb2_grpc

from functions.ctl import lifecycle
from functions.ctl.documents import Connection, connect
from functions.local import advisories
from functions.local.layout import CHECKOUT, Layout, layout
from functions.local.platform import Platform
from functions.local.project import OPERATOR, account
from functions.local.sending import send
from shared.emulators import tokens
from shared.errors import Permanent
from shared.events import SUBSCRIBERS, Event, RunRequested, run_id_of, timestamp
from shared.machines import vm_name
from shared.model.lock import Lock
from shared.model.value import sha256
from shared.model.workload import Workload
from shared.ports.store import Document
from tests.chain import world
from tests.chain.world import World

Check = Callable[[], Any]
PATIENCE = 400.0
"""Seconds that a test waits for what must come: how soon it comes is no test's business on a shared machine."""
REPOSITORIES = ("dmz-python", "trixie", "dmz-generic")


def eventually(check: Check, what: str = "") -> Any:
    """The first true answer of `check`; fails when patience ends."""
    deadline = time.monotonic() + PATIENCE
    while not (found := check()):
        assert time.monotonic() < deadline, (
            f"not within {PATIENCE:.0f} s: {what or check} (load {os.getloadavg()[0]:.1f})"
        )
        time.sleep(0.05)
    return found


def workload(**changes: Any) -> dict[str, Any]:
    """The chain's workload as a mapping; `changes` replace fields, None removes one."""
    fields = {
        "name": "work",
        "runtime_version": "tpu-ubuntu2204-base",
        "accelerator_type": "v5litepod-1",
        "apt": ["dmz-program"],
        "constraints": ["courier==1.0"],
        "install": world.INSTALL,
        "smoke": "/opt/work/bin/python -c 'import depot; assert depot.rate == 11'",
        "after": "delete",
        "install_minutes": 15,
    }
    return {key: value for key, value in (fields | changes).items() if value is not None}


def environment_of(home: Path, world: World | None, **more: str) -> dict[str, str]:
    """What a platform is started with: short leases, a state directory of its own, the world."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DMZ_")}
    short = {"DMZ_HOME": os.fspath(home), "DMZ_LEASE_SECONDS": "4", "DMZ_REPORT_GRACE_SECONDS": "15"}
    return kept | short | (world.environment() if world else {}) | more


@dataclass
class System:
    """One platform that is up. Ends with the test's process, however that ends."""

    home: Path
    environment: dict[str, str]
    started: lifecycle.Started
    up: Platform
    connection: Connection

    @classmethod
    def start(
        cls, home: Path, world: World, functions: Path | None = None, policy: str = "default", **more: str
    ) -> System:
        """`policy`: a name, or a file."""
        environment = environment_of(home, world, **more)
        places = layout(environment)
        chosen = advisories.choose(places.cache, policy, os.fspath(world.advisories), lambda _text: None)
        started = lifecycle.start(places, {**environment, **chosen.environment()}, "sdk", functions)
        up = lifecycle.wait_until_up(places, started, lambda _text: None)
        before = dict(os.environ)
        try:
            connection = connect(up)
            # The clients read the environment when they are first used.
            connection.documents.get("runs", "none")
            with contextlib.suppress(Permanent):
                connection.blobs.get(sha256(b""))
        finally:
            os.environ.clear()
            os.environ.update(before)
        return cls(home, environment, started, up, connection)

    def stop(self) -> None:
        self.started.stop()

    @property
    def layout(self) -> Layout:
        return layout(self.environment)

    # --- runs ---

    def dmz(self, *words: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
        """`./dmz` as a person types it."""
        command = [os.fspath(CHECKOUT / "dmz"), *words]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=timeout)

    def run(
        self, directory: Path, *words: str, **changes: Any
    ) -> tuple[subprocess.CompletedProcess[str], Any]:
        """`./dmz run` of the chain's workload: what it said, and its report."""
        file, report = directory / "work.yaml", directory / "report.json"
        file.write_text(yaml.safe_dump(workload(**changes)))
        report.unlink(missing_ok=True)
        done = self.dmz("run", os.fspath(file), "--report", os.fspath(report), *words)
        return done, json.loads(report.read_text()) if report.exists() else None

    def request(self, id: str, **changes: Any) -> str:
        """Publish run-requested; the run's id."""
        data = RunRequested(workload=Workload.check(workload(**changes), "The test's workload"))
        event = Event("run-requested", id, "/package-dmz/test", timestamp(time.time()), data)
        self.publish(event.type, event.body(), event.attributes())
        return run_id_of(id)

    def publish(self, topic: str, body: bytes, attributes: Mapping[str, str]) -> None:
        send(self.up, topic, body, attributes)

    def get(self, collection: str, id: str) -> Document:
        return self.connection.documents.get(collection, id) or {}

    def ended(self, run_id: str) -> Document:
        """The run's document once it has ended."""

        def look() -> Document | None:
            run = self.get("runs", run_id)
            return run if run.get("state") in ("completed", "failed") else None

        found: Document = eventually(look, f"the end of {run_id}")
        return found

    def lock(self, run: Document) -> Lock:
        return Lock.read(self.connection.blobs.get(run["lock"]), "The lock")

    # --- what there is ---

    def creations(self) -> Counter[str]:
        """VM name to how often its creation was accepted, by the TPU API's operations."""
        with grpc.insecure_channel(self.up.addresses["tpu"]) as channel:
            parent = f"projects/{self.up.project}/locations/us-central1-a"
            stub = operations_pb2_grpc.OperationsStub(channel)
            counted: Counter[str] = Counter()
            asked, more = operations_pb2.ListOperationsRequest(name=parent), True
            while more:
                page = stub.ListOperations(asked)
                for operation in page.operations:
                    about = cloud_tpu.OperationMetadata.deserialize(operation.metadata.value)
                    counted[about.target.rsplit("/", 1)[-1]] += about.verb == "create"
                asked.page_token, more = page.next_page_token, bool(page.next_page_token)
        return +counted

    def vms(self) -> dict[str, str]:
        """Name to state."""
        return {vm.name: vm.state for vm in self.connection.vms.all()}

    def files(self, repository: str) -> list[dict[str, Any]]:
        """The files of a repository as Artifact Registry's API lists them."""
        parent = f"projects/{self.up.project}/locations/us-central1/repositories/{repository}"
        answer = self._asked(f"{parent}/files", pageSize=1000)
        found: list[dict[str, Any]] = answer.json().get("files", [])
        return found

    def content(self, file: Mapping[str, Any]) -> bytes:
        """The bytes of one of `files`, as Artifact Registry sends them."""
        return self._asked(f"{quote(file['name'])}:download", alt="media").content

    def _asked(self, path: str, **parameters: str | int) -> httpx.Response:
        """What Artifact Registry answers the operator."""
        token = tokens.mint(tokens.load_key(self.layout.token_key), account(OPERATOR), time.time())
        answer = httpx.get(
            f"http://{self.up.addresses['registry']}/v1/{path}",
            params=parameters,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            timeout=60,
        )
        assert answer.status_code == 200, answer.text
        return answer

    def stored(self) -> dict[str, set[str]]:
        """Repository to the hashes of what it holds."""
        return {name: {_sha256(file) for file in self.files(name)} for name in REPOSITORIES}

    def claims(self, stage: str, *, done: bool) -> dict[str, Document]:
        """The stage's claims of events by key: the sweep, which comes by the clock, may also find something to do."""
        found = self.connection.documents.find("claims", "done", done)
        own = {fields["key"]: fields for _, fields in found if fields["key"].startswith(f"{stage}:")}
        return {key: fields for key, fields in own.items() if not key.startswith(f"{stage}:sweep:")}

    # --- processes ---

    def pid(self, name: str) -> int:
        """Of the living leader of a part's group: the supervisor starts a new one where one has died."""
        log = os.fspath(self.layout.logs / f"{name}.log")
        found: int = eventually(lambda: _leader(log), f"a process of {name}")
        return found

    def kill(self, name: str) -> int:
        """SIGKILL to a part of the platform; the pid that it had."""
        pid = self.pid(name)
        _signal(name, pid, signal.SIGKILL)
        return pid

    @contextlib.contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """SIGSTOP to a part; goes on at the end."""
        pid = self.pid(name)
        _signal(name, pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                _signal(name, pid, signal.SIGCONT)


def _signal(name: str, pid: int, number: signal.Signals) -> None:
    """To the whole group of a stage: what serves is a fork of its leader, which would go on for a moment."""
    (os.killpg if name in SUBSCRIBERS else os.kill)(pid, number)


def _sha256(file: dict[str, Any]) -> str:
    value = next(one["value"] for one in file["hashes"] if one["type"] == "SHA256")
    return "sha256:" + base64.b64decode(value).hex()


def only_one_vm_each(system: System, run_id: str) -> None:
    counted = system.creations()
    for kind in ("outer", "inner"):
        name = vm_name(kind, run_id)
        assert counted[name] <= 1, (name, counted)


def wanted(lock: Lock, run: Mapping[str, Any] | None = None) -> dict[str, set[str]]:
    """Repository to the hashes that a lock names, and to those of the papers that the run's document names."""
    papers = {run["sbom"], run["vex"]} if run else set()
    python = {file.sha256 for each in lock.environments for file in each.packages}
    python |= {file.sha256 for each in lock.environments for one in each.packages for file in one.build}
    return {
        "dmz-python": python,
        "trixie": {archive.sha256 for archive in lock.debian},
        "dmz-generic": {file.sha256 for file in lock.generic} | {sha256(lock.canonical())} | papers,
    }


def _leader(log: str) -> int:
    """The process that leads a group and writes to `log`; 0 if there is none."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.fspath((entry / "fd/1").readlink()) == log and os.getpgid(int(entry.name)) == int(
                    entry.name
                ):
                    return int(entry.name)
    return 0
