"""The fault kit: one real platform in a package world of its own, and rounds of runs to which things happen."""

from __future__ import annotations

import base64
import contextlib
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx

from functions.local import metadata
from shared import journal
from shared.emulators.tokens import load_key
from shared.events import SUBSCRIBERS
from shared.machines import vm_name
from shared.model.value import sha256
from tests.chain import goods, world
from tests.chain.echo import Echo
from tests.chain.system import System
from tests.chain.world import World
from tests.faults import fall, instance, invariants
from tests.faults.kinds import ALONE, DISKS, KINDS, WEIGHTS
from tests.faults.lies import Routes
from tests.faults.relay import Relay
from tests.faults.rounds import Heard, Round, Told
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
_VALID = timedelta(days=1)
"""Of each round's Release: shorter than the policy takes advisories for new."""
_RESOLVER_CACHE = "package-dmz-resolver"


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
        self.twins: dict[str, Twin] = {}
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
            self._ending = ending.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def _start(self, ending: ExitStack) -> None:
        def address(name: str) -> Callable[[], str]:
            return lambda: self.system.up.addresses[name] if self._is_up else ""

        self.relays = {name: Relay(address(name)) for name in ("firestore", "pubsub", "registry", "tpu")}
        self.relays["upstream"] = Relay(lambda: f"127.0.0.1:{self.world.port}")
        key = self.directory / "state" / "token.key"
        self.metadata = {
            stage: Metadata(stage, address(f"metadata-{stage}"), lambda: load_key(key))
            for stage in SUBSCRIBERS
        }
        for served in (*self.relays.values(), *self.metadata.values()):
            ending.callback(served.close)
        at = {name: relay.address for name, relay in self.relays.items()}
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
        ending.callback(self._down)
        self.up()

    def up(self) -> None:
        """A platform, in the place of the one before if there was one."""
        self._is_up = False
        if self.bounded:
            self.scratch_disk.resize(_START)
        upstream = self.relays["upstream"].address
        self.system = System.start(
            self.directory / "state",
            self.world,
            self.sources,
            DMZ_SHARD_BYTES="4000000",  # a shard for each wheel: its size is not known before
            DMZ_PYTHON_INDEX=f"http://{upstream}/simple/",
            DMZ_DEBIAN_MIRROR=f"http://{upstream}/debian",
            DMZ_DEBIAN_SECURITY_MIRROR=f"http://{upstream}/security",
        )
        self._is_up = True
        self.bounded = self.bounded and self.scratch_disk.resize(_SCRATCH)
        self._deaths.clear()
        chance = random.Random(self.seed)  # noqa: S311 - to be repeated, not to be secret
        self.echo = Echo(self.system.up, chance, times=0, idle=0.3)
        self._listening = ExitStack()
        self._listening.enter_context(self.echo)

    def end_echo(self) -> None:
        """Before the broker goes that it listens to."""
        self._listening.close()

    def end_twin(self, stage: str) -> None:
        """SIGKILL; the next one that is asked for is a new one."""
        self.twins.pop(stage).close()

    def _down(self) -> None:
        """In order, whatever has happened."""
        for stage in list(self.twins):
            self.end_twin(stage)
        if self._is_up:
            with contextlib.suppress(httpx.HTTPError):
                self.end_echo()
            self.system.stop()

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
            round_.asked.append(id)
            round_.runs.append(self.request(round_, id))
        for thread in threads:
            thread.start()
        falls = max(each.falls for each in round_.faults)
        wrong = fall.fall(self, round_, falls) if falls else []
        wrong = wrong or self._ended(round_)
        round_.over.set()
        for thread in threads:
            thread.join(30)
        self.calm()
        if failure := self.system.started.failure():
            wrong = wrong or [f"The platform has ended: {failure}"]
        wrong = wrong or self._at_rest(round_)
        told = [fault.what for fault in round_.faults]
        if self.system.started.failure():
            return Told(number, told, [], wrong, time.monotonic() - began)
        wrong += list(invariants.repositories(self)) if wrong else invariants.problems(self, round_)
        ends = [_end(self.system.get("runs", run_id)) for run_id in round_.runs]
        return Told(number, told, ends, wrong, time.monotonic() - began)

    def request(self, round_: Round, id: str) -> str:
        """Asks for a run of the round's workload; the run's id."""
        return self.system.request(id, install=round_.install, apt=round_.apt, install_minutes=1)

    def _kinds(self, chance: random.Random) -> list[str]:
        found: list[str] = []
        for _ in range(chance.choice((1, 1, 2, 3))):
            left = [kind for kind in self.only if kind not in found and (kind not in DISKS or self.bounded)]
            found += chance.choices(left, [WEIGHTS.get(kind, 1.0) for kind in left]) if left else []
        return [ALONE] if ALONE in found else found

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
        goods.publish_suite(self.world.web, self.world.signer, "/debian", "trixie", debs, valid=_VALID)
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
        """The second instance of a stage; it stays for later rounds, unless it is ended."""
        if stage not in self.twins:
            self.twins[stage] = Twin(self.system, stage, self.sources)
        return self.twins[stage]

    def calm(self) -> None:
        """Nothing is injected any more."""
        for served in (*self.relays.values(), *self.metadata.values()):
            served.calm()
        for stage in SUBSCRIBERS:
            instance.set_clock(self.sources, stage, 0.0)
        for twin in self.twins.values():
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
        """What was published: as it came, and as it was written down, as a broker that dies takes some with it."""
        came = [
            (topic, base64.b64decode(message["data"]), message["attributes"])
            for topic, message in list(self.echo.heard)
        ]
        noted = [
            (each.topic, each.body, each.attributes) for each in journal.messages(self.system.layout.journal)
        ]
        for topic, body, attributes in (*came, *noted):
            if topic in topics:
                yield Heard(attributes["ce-id"], json.loads(body).get("run_id", ""))

    def outbox(self) -> list[str]:
        left = self.system.connection.documents.stale_outbox(time.time() + 1e5)  # type: ignore[attr-defined]
        return [f"{key} {event.type}" for key, event in left]

    def open_claims(self) -> list[str]:
        return [key for stage in SUBSCRIBERS for key in self.system.claims(stage, done=False)]

    def staged(self) -> set[str]:
        """Uploads that the registry has a part of."""
        return {each.name for each in (self.system.layout.registry / "staging").iterdir()}

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
