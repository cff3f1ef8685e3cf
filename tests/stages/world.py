"""All four stages over the twins in memory, with a small package world around them, and both VMs played."""

from __future__ import annotations

import functools
import itertools
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from functions.inner import main as inner_main
from functions.outer import main as outer_main
from functions.scanner import main as scanner_main
from functions.scanner import stage as scanner_stage
from functions.sync import main as sync_main
from functions.sync import stage as sync_stage
from shared import vm_stages
from shared.delivery import Desk
from shared.events import Delivery, run_id_of
from shared.guest.config import Config
from shared.memory.bus import MemoryBus
from shared.memory.machines import MemoryRegistry, MemoryVms
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest, DebianPackage, Environment, GenericFile
from shared.model.policy import Policy
from shared.model.value import sha256
from shared.model.workload import OwnWheel, Workload
from shared.notices import Sink
from shared.policy.read import find
from shared.ports.machines import VmSpec
from shared.ports.store import Document
from shared.settings import Settings
from tests.stages import guests
from tests.support import built, claims
from tests.support.claims import debian, environment, python
from tests.support.market import Market

Through = Callable[[str, Any], Any]
"""(name of a port, port) to the port that the stages get."""
Play = Callable[[Config], guests.Payload | None]

GENERIC, URL = b"a file by URL", "https://files.test/data.bin"
FETCHED = GenericFile(url=URL, sha256=sha256(GENERIC), size=len(GENERIC), path="/opt/w/data.bin")
OWN = built.wheel("mine", "1.0", ("lib",))
WORKLOAD = Workload(
    name="small",
    runtime_version="tpu-ubuntu2204-base",
    accelerator_type="v5litepod-1",
    install=f"dmz-fetch {URL} /opt/w/data.bin",
    smoke="true",
    wheels=(OwnWheel(path=OWN.filename, sha256=OWN.sha256),),
)


@dataclass
class World:
    """One project. `outer` and `inner` say what a VM reports; None is silence."""

    tmp: Path
    copies: int = 1
    max_delay: float = 0.0
    seed: int = 0
    lease: float = 5.0
    through: Through = lambda _name, port: port
    outer: Play | None = None
    inner: Play | None = None
    sink: Sink | None = None
    ahead: float = 0.0
    """Seconds by which the world's clock is ahead of ours."""
    policy: Policy = field(
        default_factory=lambda: find("default").model_copy(update={"max_advisory_age_hours": 10**6})
    )
    market: Market = field(default_factory=Market)
    configs: dict[str, Config] = field(default_factory=dict)
    raised: list[BaseException] = field(default_factory=list)
    debians: tuple[DebianPackage, ...] = ()
    environments: tuple[Environment, ...] = ()
    shard_bytes: int = 7000000
    file_bytes: int = 1 << 30
    generic: GenericFile = FETCHED

    def __post_init__(self) -> None:
        self.settings = Settings(project="test", shard_bytes=self.shard_bytes, file_bytes=self.file_bytes)
        self.store, self.blobs = MemoryStore(self.clock), MemoryBlobs(self.clock)
        self.registry, self.vms = MemoryRegistry(), MemoryVms(self._boot)
        self.bus = MemoryBus(copies=self.copies, max_delay=self.max_delay, seed=self.seed, attempts=10)
        self._once = itertools.count(1)
        self._guard = threading.Lock()
        stock(self)
        self.desks = {desk.stage: replace(desk, rests=(0.0,)) for desk in self._desks()}
        for desk in self.desks.values():
            self.bus.subscribe(desk.stage, functools.partial(self._receive, desk))

    def clock(self) -> float:
        return time.time() + self.ahead

    # --- what an operator does ---

    def request(self, workload: Workload = WORKLOAD, attributes: Mapping[str, str] | None = None) -> str:
        """Ask for a run and wait until all is quiet."""
        event_id = f"request-{next(self._once)}"
        body = json.dumps({"workload": workload.model_dump(mode="json")}).encode()
        self.bus.send("run-requested", body, {"ce-id": event_id, **(attributes or {})})
        self.quiet()
        return run_id_of(event_id)

    def sweep(self) -> None:
        """The watchdog's tick."""
        self.bus.send("sweep-requested", b"{}", {})
        self.quiet()

    def quiet(self) -> None:
        assert self.bus.drain(300), "deliveries are still under way"

    def run(self, run_id: str) -> Document:
        return self.store.get("runs", run_id) or {}

    def lock(self, run_id: str) -> Lock:
        return Lock.read(self.blobs.get(self.run(run_id)["lock"]), "The lock")

    def events(self, topic: str) -> list[Any]:
        """Payloads of the published events of a topic, each event once."""
        return [each.data for each in {e.id: e for e in self.bus.published if e.type == topic}.values()]

    def repositories(self) -> dict[str, list[str]]:
        names = ("dmz-python", "dmz-generic", "trixie")
        return {name: [each.name for each in self.registry.stored(name)] for name in names}

    def report(self, config: Config, payload: guests.Payload, **attributes: str) -> None:
        """A report reaches the system, from wherever."""
        topic, body, names = guests.message(config, payload)
        self.bus.send(topic, body, names | attributes)

    # --- the wiring ---

    def _desks(self) -> list[Desk]:
        through = self.through
        store, blobs = through("store", self.store), through("blobs", self.blobs)
        vms, bus = through("vms", self.vms), through("bus", self.bus)
        upstream = self.market.upstream()
        for name in ("index", "apt", "downloads", "resolver", "proof", "facts"):
            upstream = replace(upstream, **{name: through(name, getattr(upstream, name))})
        machines: dict[str, Any] = {
            "store": store,
            "blobs": blobs,
            "vms": vms,
            "settings": self.settings,
            "clock": self.clock,
            "secret": lambda: secrets.token_hex(24),
            "sink": self.sink,
        }
        judging: dict[str, Any] = {
            "store": store,
            "blobs": blobs,
            "advisories": through("advisories", self.market),
            "policy": lambda: self.policy,
            "clock": self.clock,
        }
        carrying: dict[str, Any] = {
            "registry": through("registry", self.registry),
            "upstream": lambda _workload: upstream,
            "settings": self.settings,
            "scratch": self.tmp,
        }
        desks = [
            outer_main.desk(vm_stages.Ports(**machines), bus),
            scanner_main.desk(
                scanner_stage.Ports(**judging, facts=lambda: through("facts", self.market)),
                bus,
                self.settings,
            ),
            sync_main.desk(sync_stage.Ports(**judging, **carrying), bus),
            inner_main.desk(vm_stages.Ports(**machines), bus),
        ]
        return [replace(desk, lease=self.lease) for desk in desks]

    def _receive(self, desk: Desk, delivery: Delivery) -> bool:
        try:
            desk.deliver(delivery)
        except BaseException as error:
            self.raised.append(error)
            raise
        return True

    def _boot(self, spec: VmSpec) -> None:
        config = guests.config_of(spec.metadata)
        with self._guard:
            self.configs[spec.name] = config
        play = (self.outer or self.install) if config.role == "outer" else (self.inner or self.install_inner)
        hosts = self.vms.hosts(spec.accelerator_type) if config.role == "inner" else 1
        for worker in range(hosts):
            payload = play(config)
            if payload is not None:
                self.report(config, payload | ({"worker": worker} if hosts > 1 else {}))

    # --- the VMs that do as they should ---

    def install(self, config: Config) -> guests.Payload:
        return guests.outer(config, self.claim())

    def install_inner(self, config: Config) -> guests.Payload:
        return guests.inner(config, self.inside(config))

    def inside(self, config: Config) -> ClaimedManifest:
        return guests.install(config, self.registry, self.base, self.market)

    def claim(self, **more: Any) -> ClaimedManifest:
        """What the outer VM installed: see `stock`."""
        return claims.manifest(self.debians, *self.environments, **{"generic": (self.generic,)} | more)

    @property
    def base(self) -> tuple[DebianPackage, ...]:
        return tuple(each for each in self.debians if each.in_base)


def stock(world: World) -> None:
    """The package world: lib 1.0 and the base image's openssl 3.0-1 are to be refused and replaced."""
    market = world.market
    libc = market.deb("libc6", "2.41-12", source="glibc")
    openssl = market.deb("openssl", "3.0-1", depends="libssl3 (= 3.0-1)")
    libssl = market.deb("libssl3", "3.0-1", source="openssl")
    market.deb("openssl", "3.0-2", depends="libssl3 (= 3.0-2)")
    market.deb("libssl3", "3.0-2", source="openssl")
    jq = market.deb("jq", "1.7-1", depends="libjq1 (= 1.7-1), libc6 (>= 2.36)")
    libjq = market.deb("libjq1", "1.7-1", source="jq")
    market.flaw("openssl", "3.0-1", "debian")
    world.debians = (
        debian(libc),
        debian(openssl),
        debian(libssl),
        debian(jq, in_base=False),
        debian(libjq, in_base=False),
    )
    app, lib, tool = (
        market.wheel("app", "1.0", "lib<2", "tool"),
        market.wheel("lib", "1.0"),
        market.wheel("tool", "1.0"),
    )
    market.wheel("lib", "1.1", "extra")
    market.wheel("lib", "2.0")
    market.wheel("extra", "1.0")
    market.sdist("old", "1.0", "builder")
    market.wheel("builder", "1.0")
    market.flaw("lib", "1.0")
    market.wheels[OWN.sha256] = OWN
    market.contents[URL] = GENERIC
    world.environments = (
        environment(
            python("app", "1.0", app, requires=("lib<2", "tool"), requested=True),
            python("lib", "1.0", lib),
            python("mine", "1.0", OWN, requires=("lib",), requested=True),
            python("old", "1.0", requested=True, tags=("cp313-cp313-linux_x86_64",)),
            python("tool", "1.0", tool),
        ),
        environment(python("pip", "25.1"), managed=True),
    )
    path = world.tmp / OWN.filename
    path.write_bytes(OWN.content)
    staging = world.settings.staging_repository
    world.registry.upload_generic(staging, "wheels", OWN.sha256[7:], OWN.filename, path)
    world.registry.uploads.clear()
