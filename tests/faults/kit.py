"""The fault kit: one real platform in a package world of its own, and rounds of runs to which things happen."""

from __future__ import annotations

import base64
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from functions.local import metadata
from shared.emulators.tokens import load_key
from shared.events import SUBSCRIBERS
from shared.machines import vm_name
from shared.model.value import sha256
from tests.chain import goods, world
from tests.chain.echo import Echo
from tests.chain.system import System
from tests.chain.world import World
from tests.faults import instance, invariants
from tests.faults.fault import Fault
from tests.faults.kinds import DISKS, KINDS, WEIGHTS
from tests.faults.lies import Routes
from tests.faults.relay import Relay
from tests.faults.tokens import Metadata
from tests.faults.twins import Twin
from tests.faults.volume import Volume
from tests.upstream.conftest import make_signer, stop_agent
from tests.upstream.support import Reply

PATIENCE = 600.0
"""Seconds after which a run that has not ended never will: many times what all tries and leases of a run take."""
_REST = 240.0
"""Seconds in which all that a round has left comes to rest: longer than any retry's pause."""
_START, _SCRATCH, _STORE = 300, 24, 1024
"""Megabytes: what a platform wants to see before it begins, what its temporary files have then, and its registry."""
_DEATHS, _WINDOW = 3, 31.0
"""The supervisor takes a part that dies five times in thirty seconds for broken, and ends."""
_RESOLVER_CACHE = "package-dmz-resolver"


@dataclass
class Round:
    """Some runs, and what happens to them."""

    number: int
    install: str
    apt: list[str]
    files: dict[str, bytes]
    """What upstream has for this round: path to content."""
    pages: dict[str, str]
    """Index pages of this round's packages: path to the package's name."""
    scratch_before: set[str]
    runs: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def rest(self, seconds: float) -> None:
        """Until then, or until the round is over."""
        self.over.wait(seconds)

    def words(self, path: str) -> tuple[str, ...]:
        """One of these stands in a reason that is about the file."""
        name = path.rsplit("/", 1)[-1]
        if name in ("InRelease", "Packages.xz"):
            return ("InRelease", "Packages", "trixie")
        return (name, name.split("-")[0].split("_")[0])


@dataclass(frozen=True)
class Told:
    """How a round went."""

    number: int
    faults: Sequence[str]
    ends: Sequence[str]
    """Of each run: `completed`, or `failed: ` and why."""
    wrong: Sequence[str]
    seconds: float


@dataclass(frozen=True)
class Heard:
    """An event that was published."""

    id: str
    run_id: str


class Kit:
    """Up between `__enter__` and `__exit__`. Everything is below `directory`."""

    def __init__(self, directory: Path, seed: str, only: Collection[str] = ()) -> None:
        self.directory, self.seed = directory, seed
        directory.mkdir(exist_ok=True)
        self.only = sorted(only or KINDS)
        self.truth: dict[str, str] = {}
        """What upstream has ever published: hash to file name."""
        self.forgiven: set[tuple[str, str]] = set()
        """What came in before the store was lost, and its records with it: repository and hash."""
        self._known: dict[tuple[str, str, str], str] = {}
        self._locks: dict[str, bytes] = {}
        self._deaths: dict[str, list[float]] = defaultdict(list)
        self._made_before: Counter[str] = Counter()
        self._twins: dict[str, Twin] = {}
        self.rounds: dict[int, Round] = {}

    def __enter__(self) -> Kit:
        with ExitStack() as ending:
            signer = make_signer(self.directory / "keys")
            ending.callback(stop_agent, signer)
            (self.directory / "world").mkdir()
            self.world = World(self.directory / "world", signer)
            ending.callback(self.world.close)
            # A client that is killed breaks its connection.
            self.world.web._server.handle_error = lambda *_: None  # type: ignore[method-assign]
            self.world.proxy._server.handle_error = lambda *_: None  # type: ignore[method-assign]
            self.routes = Routes(self.world.web.routes)
            self.world.web.routes = self.routes
            for built in (world.COURIER_1_0, world.COURIER_1_1, world.COURIER_2_0, world.DEPOT):
                self.truth[built.sha256] = built.filename
            self._mount(ending)
            self._start(ending)
            self.bounded = self.bounded and self.scratch_disk.resize(_SCRATCH)
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def _start(self, ending: ExitStack) -> None:
        up: list[System] = []

        def address(name: str) -> Callable[[], str]:
            return lambda: up[0].up.addresses[name] if up else ""

        self.relays = {name: Relay(address(name)) for name in ("firestore", "pubsub", "registry", "tpu")}
        self.relays["upstream"] = Relay(lambda: f"127.0.0.1:{self.world.port}")
        for relay in self.relays.values():
            ending.callback(relay.close)
        at = {name: relay.address for name, relay in self.relays.items()}
        self.metadata = {
            stage: Metadata(stage, address(f"metadata-{stage}"), lambda: load_key(up[0].layout.token_key))
            for stage in SUBSCRIBERS
        }
        for server in self.metadata.values():
            ending.callback(server.close)
        self.sources = self.directory / "sources"
        instance.write(
            self.sources,
            {
                "FIRESTORE_EMULATOR_HOST": at["firestore"],
                "PUBSUB_EMULATOR_HOST": at["pubsub"],
                "DMZ_REGISTRY_ENDPOINT": f"http://{at['registry']}",
                "DMZ_TPU_ENDPOINT": at["tpu"],
            },
            {
                name: metadata.environment(int(server.address.rpartition(":")[2]))
                for name, server in self.metadata.items()
            },
        )
        self.system = System.start(
            self.directory / "state",
            self.world,
            self.sources,
            DMZ_SHARD_BYTES="4000000",  # a shard for each wheel: its size is not known before
            DMZ_PYTHON_INDEX=f"http://{at['upstream']}/simple/",
            DMZ_DEBIAN_MIRROR=f"http://{at['upstream']}/debian",
            DMZ_DEBIAN_SECURITY_MIRROR=f"http://{at['upstream']}/security",
        )
        ending.callback(self.system.stop)
        up.append(self.system)
        chance = random.Random(self.seed)  # noqa: S311 - to be repeated, not to be secret
        self.echo = ending.enter_context(Echo(self.system.up, chance, times=0, idle=0.3))

    # --- a round ---

    def play(self, number: int) -> Told:
        """The round of this number: the same for the same seed, as far as chance decides."""
        began = time.monotonic()
        chance = random.Random(f"{self.seed}-{number}")  # noqa: S311 - to be repeated
        self.world.web.requests.clear()
        self.echo.heard.clear()
        round_ = self.rounds[number] = self._goods(number, chance)
        kinds = self._kinds(chance)
        round_.faults = [KINDS[kind](self, round_, chance) for kind in kinds]
        threads = [threading.Thread(target=fault.work, daemon=True) for fault in round_.faults]
        for id in [f"{self.seed}-{number}-{one}" for one in range(chance.choice((1, 1, 2)))]:
            fields = {"install": round_.install, "apt": round_.apt, "install_minutes": 1}
            round_.runs.append(self.system.request(id, **fields))
        for thread in threads:
            thread.start()
        wrong = self._ended(round_)
        round_.over.set()
        for thread in threads:
            thread.join(30)
        self.calm()
        wrong = wrong or self._at_rest(round_)
        wrong += list(invariants.repositories(self)) if wrong else invariants.problems(self, round_)
        ends = [_end(self.system.get("runs", run_id)) for run_id in round_.runs]
        told = [fault.what for fault in round_.faults]
        return Told(number, told, ends, wrong, time.monotonic() - began)

    def _kinds(self, chance: random.Random) -> list[str]:
        found: list[str] = []
        for _ in range(chance.choice((1, 1, 2, 3))):
            left = [kind for kind in self.only if kind not in found and (kind not in DISKS or self.bounded)]
            found += chance.choices(left, [WEIGHTS.get(kind, 1.0) for kind in left]) if left else []
        return found

    def _goods(self, number: int, chance: random.Random) -> Round:
        """New files, so that something has to be brought."""
        files, pages, names = dict[str, bytes](), dict[str, str](), list[str]()
        for each in range(chance.choice((1, 1, 2, 3))):
            name = f"cargo{number}x{each}"
            noise = chance.randbytes(int(2 ** chance.uniform(4, 20))).hex()
            file = goods.module(name, "1.0", f"noise = '{noise}'")
            files[self.world.shelf.add(name, file)] = file.content
            pages[f"/simple/{name}/"] = name
            names.append(name)
        deb = goods.Deb(f"dmz-round{number}", "1.0-1")
        debs = (world.LIBRARY, world.PROGRAM, deb)
        goods.publish_suite(self.world.web, self.world.signer, "/debian", "trixie", debs)
        files |= {f"/debian/{one.pool}": one.built.content for one in debs[2:]}
        for name in ("InRelease", "main/binary-amd64/Packages.xz"):
            path = f"/debian/dists/trixie/{name}"
            route = dict.get(self.routes, path)
            files[path] = route.body if isinstance(route, Reply) else b""
        table = f"a,b\n{number},{chance.random()}\n".encode()
        url = f"https://{world.HOST}/generic/table{number}.csv"
        self.world.offer(url, table)
        files[f"/generic/table{number}.csv"] = table
        for path, content in files.items():
            self.truth[sha256(content)] = path.rsplit("/", 1)[-1]
        for one in debs:
            self.truth[one.built.sha256] = one.built.filename
        install = world.INSTALL.replace(" depot", " ".join(("", "depot", *names)))
        install += f"dmz-fetch {url} /opt/work/table.csv\n"
        apt = ["dmz-program", deb.name]
        return Round(number, install, apt, files, pages, self.scratch_files())

    def _ended(self, round_: Round) -> list[str]:
        """Waits for the end of all runs; what is wrong if that does not come."""
        deadline = time.monotonic() + PATIENCE
        while left := [
            one
            for one in round_.runs
            if self.system.get("runs", one).get("state") not in ("completed", "failed")
        ]:
            if failure := self.system.started.failure():
                return [f"The platform has ended: {failure}"]
            if time.monotonic() > deadline:
                said = {one: self.system.get("runs", one).get("stage") for one in left}
                return [f"Not ended after {PATIENCE:.0f} s: {said}; {invariants.waits(self, round_)}."]
            time.sleep(0.2)
        return []

    def _at_rest(self, round_: Round) -> list[str]:
        """Waits until nothing is under way any more; what is wrong if that does not come."""
        deadline = time.monotonic() + _REST
        while waiting := invariants.waits(self, round_) or ", ".join(self.system.vms()):
            if time.monotonic() > deadline:
                return [f"No rest within {_REST:.0f} s: {waiting}."]
            time.sleep(0.2)
        return []

    # --- what faults do ---

    def kill(self, name: str) -> None:
        """SIGKILL to a part of the platform, unless the supervisor would take that for a defect of the part."""
        now = time.monotonic()
        recent = [when for when in self._deaths[name] if now - when < _WINDOW]
        if len(recent) < _DEATHS:
            self._deaths[name] = [*recent, now]
            if name == "tpu":
                self._made_before += self.system.creations()
            self.system.kill(name)

    def twin(self, stage: str) -> Twin:
        """The second instance of a stage; it stays for later rounds."""
        if stage not in self._twins:
            made = self._twins[stage] = Twin(self.system, stage, self.sources)
            self._ending.callback(made.close)
        return self._twins[stage]

    def calm(self) -> None:
        """Nothing is injected any more."""
        for served in (*self.relays.values(), *self.metadata.values()):
            served.calm()
        for stage in SUBSCRIBERS:
            instance.set_clock(self.sources, stage, 0.0)
        for twin in self._twins.values():
            twin.set_clock(0.0)
        self.routes.lies.clear()
        self.echo.times = 0
        for volume in (self.scratch_disk, self.store_disk):
            volume.empty()

    # --- what there is ---

    @property
    def created(self) -> dict[str, dict[str, int]]:
        """Run to how often a VM of each kind was made."""
        counted = self._made_before + self.system.creations()
        return _Counted(counted)

    def heard(self, topics: Collection[str]) -> Iterator[Heard]:
        for topic, message in list(self.echo.heard):
            if topic in topics:
                data = json.loads(base64.b64decode(message["data"]))
                yield Heard(message["attributes"]["ce-id"], data.get("run_id", ""))

    def outbox(self) -> list[str]:
        left = self.system.connection.documents.stale_outbox(time.time() + 1e5)  # type: ignore[attr-defined]
        return [f"{key} {event.type}" for key, event in left]

    def open_claims(self) -> list[str]:
        return [key for stage in SUBSCRIBERS for key in self.system.claims(stage, done=False)]

    def scratch_files(self) -> set[str]:
        if not self.scratch.exists():
            return set()
        return {entry.name for entry in self.scratch.iterdir() if not entry.name.startswith(_RESOLVER_CACHE)}

    def content(self, repository: str, file: dict[str, Any]) -> tuple[str, str]:
        """Name and true hash of a file of a repository: fetched when it is new, or says that it has changed."""
        name = unquote(file["name"].rsplit("/files/", 1)[-1]).rsplit("/", 1)[-1]
        key = (repository, name, json.dumps(file["hashes"]))
        if key not in self._known:
            content = self.system.content(file)
            self._known[key] = sha256(content)
            if name.startswith("lock:"):
                self._locks[sha256(content)] = content
        return name, self._known[key]

    def bytes_of(self, lock: str) -> bytes:
        return self._locks[lock]

    # --- disks of their own for temporary files and for the registry ---

    @property
    def scratch(self) -> Path:
        return self.directory / "scratch"

    def _mount(self, ending: ExitStack) -> None:
        """Small file systems in the places of two directories of the platform; only root can mount one."""
        self.scratch_disk, self.store_disk = Volume(self.scratch), Volume(self.directory / "store")
        self.bounded = True
        (self.directory / "state").mkdir()
        for volume, size, name in ((self.scratch_disk, _START, "tmp"), (self.store_disk, _STORE, "registry")):
            ending.callback(volume.close)
            self.bounded = volume.mount(size) and self.bounded
            (self.directory / "state" / name).symlink_to(volume.place)


class _Counted(dict[str, dict[str, int]]):
    def __init__(self, counted: Counter[str]) -> None:
        super().__init__()
        self._counted = counted

    def __missing__(self, run_id: str) -> dict[str, int]:
        return {kind: self._counted[vm_name(kind, run_id)] for kind in ("outer", "inner")}


def _end(run: dict[str, Any]) -> str:
    return f"failed: {run.get('reason')}" if run.get("state") == "failed" else str(run.get("state"))
