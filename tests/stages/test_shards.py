"""Shards: cut by true bytes, each for itself, and never more of them on the disk than it has."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from functions.sync import decide
from shared import weighing
from shared.diskspace import DiskSpace
from shared.errors import Transient
from shared.memory.machines import MemoryRegistry
from shared.model.case import Subject
from shared.model.lock import LockedPython
from shared.model.package import Package
from shared.model.plan import Plan, Planned, Shard, Size, Transfer, transfers
from shared.ports.registry import Stored
from shared.ports.store import Put
from shared.ports.upstream import IndexFile, Larger
from tests.stages.world import World
from tests.support import built
from tests.support.claims import environment, python
from tests.support.market import TRIXIE, Market

Make = Callable[..., World]
LIMIT = 40_000
"""Bytes of a shard and of its disk."""


@dataclass
class Disk:
    """Downloads that write piece by piece, and see at each piece what lies in the shard's folder by then."""

    hidden: bool = False
    """Whether a file's length is known only when all of it has come."""
    port: Market = field(default_factory=Market)
    peak: int = 0
    """Bytes, where more than one file was there."""
    fetched: Counter[str] = field(default_factory=Counter)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def through(self, name: str, port: Any) -> Any:
        if name != "downloads":
            return port
        self.port = port
        return self

    def fetch(
        self, url: str, digest: str, to: Path, size: int | None = None, room: int | None = None, **more: Any
    ) -> int:
        self.fetched[url] += 1
        content = self.port.contents.get(url, b"")
        if not self.hidden or room is None:
            self.port.fetch(url, digest, to, size=size, room=room, **more)
            to.unlink()
        part = to.with_suffix(".part")
        try:
            with part.open("wb", buffering=0) as file:
                for start in range(0, len(content), 500):
                    if room is not None and start + 500 > room and len(content) > room:
                        raise Larger(f"{url} has more than {room} bytes.", start + 500)
                    file.write(content[start : start + 500])
                    self._look(to.parent)
            part.replace(to)
        finally:
            part.unlink(missing_ok=True)
        return len(content)

    def _look(self, folder: Path) -> None:
        with self.guard:
            sizes = list(_sizes(folder))
            if len(sizes) > 1:
                self.peak = max(self.peak, sum(sizes))


def _sizes(folder: Path) -> Iterator[int]:
    for each in folder.iterdir():
        try:
            yield each.stat().st_size
        except FileNotFoundError:  # uploaded meanwhile
            continue


def stock(
    world: World, sizes: Sequence[int], said: Callable[[int], int | None] = lambda _: None
) -> list[str]:
    """As many projects of one wheel each, and nothing else of Python: their URLs. `said`: what the index says."""
    urls, packages = [], []
    for number, size in enumerate(sizes):
        name = f"part{number}"
        made = built.wheel(name, "1.0", text="x" * size)
        url = f"https://files.test/{made.filename}"
        world.market.contents[url] = made.content
        world.market.requires[name, "1.0"] = ()
        world.market.wheels[made.sha256] = made
        listed = IndexFile(made.filename, url, made.sha256, "", False, size=said(len(made.content)))
        world.market.projects[name] = [listed]
        packages.append(python(name, "1.0", made, requested=True))
        urls.append(url)
    world.environments = (environment(*packages),)
    return urls


def parts(world: World, run_id: str) -> list[Shard]:
    """The stored shards of the run's newest plan."""
    (plan,) = {each.plan for each in world.events("sync-shard-planned") if each.run_id == run_id}
    read = Plan.read(world.blobs.get(plan), "The plan")
    return [Shard.read(world.blobs.get(each), "The shard") for each in read.parts]


SIZES = [13_000, 9_000, 5_000, 21_000, 7_000, 50_000, 3_000, 1_000, 17_000, 11_000, 2_000, 70_000]


@pytest.mark.parametrize("whose", ["the index", "the host", "nobody"])
def test_shards_are_cut_by_true_bytes(make: Make, whose: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weighing, "GUESS", Size(count=15_000, promised=False))
    disk = Disk()
    world = make(shard_bytes=LIMIT, through=disk.through)
    urls = stock(world, SIZES, (lambda size: size) if whose == "the index" else (lambda _: None))
    if whose == "the host":
        world.market.hints = {url: len(world.market.contents[url]) for url in urls}
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    made = parts(world, run_id)
    files = [each for one in made for each in one.files]
    promised = {each.transfer.file.url for each in files if each.size.promised}
    assert promised >= set(urls) if whose == "the index" else not promised & set(urls)
    stored = {
        each.sha256: each.size
        for name in ("dmz-python", "dmz-generic", "trixie")
        for each in world.registry.stored(name)
    }
    if whose != "nobody":
        for one in made:
            true = sum(stored[each.transfer.sha256] for each in one.files)
            assert true == sum(each.size.count for each in one.files)
            assert true <= LIMIT or len(one.files) == 1
        assert all(times == 1 for times in disk.fetched.values())
    assert disk.peak <= LIMIT


@pytest.mark.parametrize("hidden", [False, True], ids=["a length is given", "no length is given"])
def test_no_more_lies_on_the_disk_than_one_shard_may_have(make: Make, hidden: bool) -> None:
    """Every file is said to be far smaller than it is, so that all of them are one shard."""
    disk = Disk(hidden)
    world = make(shard_bytes=LIMIT, through=disk.through)
    urls = stock(world, SIZES)
    world.market.hints = dict.fromkeys(urls, 1_000)
    world.debians = world.debians[:1]
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    (one,) = parts(world, run_id)
    assert len(one.files) == len(urls) + 1
    assert sum(len(world.market.contents[url]) for url in urls) > 4 * LIMIT
    assert 0 < disk.peak <= LIMIT
    again = max(disk.fetched[url] for url in urls)
    assert again == 2 if not hidden else 3 <= again <= 8


def test_another_size_than_the_index_promised_is_refused(make: Make) -> None:
    world = make()
    stock(world, [1_000, 2_000], lambda size: size - 1)
    run = world.run(world.request())
    assert run["state"] == "failed"
    assert "bytes and not the expected" in run["reason"]
    assert world.repositories()["dmz-python"] == []


@pytest.mark.parametrize("said", [True, False], ids=["known before", "seen when it comes"])
def test_a_file_that_no_instance_holds_ends_the_run(make: Make, said: bool) -> None:
    world = make(file_bytes=20_000)
    (url,) = stock(world, [30_000], (lambda size: size) if said else (lambda _: None))
    if not said:
        world.market.hints = {url: 20_001}
    run = world.run(world.request())
    assert run["state"] == "failed"
    assert "part0-1.0-py3-none-any.whl has " in run["reason"]
    assert "no file of more than 20000 is brought in (DMZ_FILE_BYTES)" in run["reason"]
    assert world.events("sync-shard-planned") == []


# --- a shard does what is its own ---


@dataclass
class Watch:
    """Counts what the stages ask the blobs and the repositories for."""

    read: Counter[str] = field(default_factory=Counter)
    listed: Counter[str] = field(default_factory=Counter)
    asked: list[tuple[str, str]] = field(default_factory=list)

    def through(self, name: str, port: Any) -> Any:
        if name == "registry":
            return _Registry(port, self)
        return _Blobs(port, self) if name == "blobs" else port


@dataclass(frozen=True)
class _Blobs:
    port: Any
    watch: Watch

    def get(self, digest: str) -> bytes:
        self.watch.read[digest] += 1
        content: bytes = self.port.get(digest)
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


@dataclass(frozen=True)
class _Registry:
    port: MemoryRegistry
    watch: Watch

    def stored(self, repository: str) -> Sequence[Stored]:
        self.watch.listed[repository] += 1
        return self.port.stored(repository)

    def find(self, repository: str, versions: Collection[tuple[str, str]]) -> Sequence[Stored]:
        self.watch.asked += versions
        return self.port.find(repository, versions)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)


def test_the_work_of_a_shard_does_not_grow_with_the_lock(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten shards read the lock, the verdicts and the lists of the repositories as often as one does."""
    monkeypatch.setattr(decide, "_ROWS", 0)  # what is small is else listed as a whole
    reads, lists = [], []
    for shard_bytes in (10**9, LIMIT):
        watch = Watch()
        world = make(shard_bytes=shard_bytes, through=watch.through)
        stock(world, [*SIZES, *SIZES], lambda size: size)
        run_id = world.request()
        run = world.run(run_id)
        assert run["state"] == "completed"
        made = parts(world, run_id)
        about = (run["lock"], run["verdicts"], run["case"], *run["replacement_cases"])
        reads.append([watch.read[digest] for digest in about])
        lists.append(watch.listed)
        files = [each for one in made for each in one.files]
        assert len(watch.asked) == len(files) == run["planned"]
        assert [watch.read[one.digest] for one in made] == [1] * len(made)
    assert len(made) > 8
    assert reads[0] == reads[1]
    assert lists[0] == lists[1]
    assert set(lists[1].values()) == {2}  # by the plan, and by whoever closes


def test_what_is_small_is_listed_in_one_go() -> None:
    one = built.wheel("lib", "1.0")
    shard = _shard_of(one, 32)
    assert decide.to_ask(shard) == {"pip": ()}
    assert decide.to_ask(_shard_of(one, 33)) == {"pip": (("lib", "1.0"),)}


def _shard_of(wheel: built.Built, holding: int) -> Shard:
    file = LockedPython(
        name="lib",
        version="1.0",
        filename=wheel.filename,
        sha256=wheel.sha256,
        url="https://files.test/lib",
        record=None,
    )
    planned = Planned(
        transfer=Transfer(repository="pip", python=file),
        size=Size(count=1, promised=True),
        subject=Subject(package=Package(ecosystem="pypi", name="lib", version="1.0")),
        cases=(),
    )
    return Shard(
        lock=wheel.sha256,
        workload="small",
        release=TRIXIE,
        files=(planned,),
        leaning={},
        holding={"pip": holding},
    )


def test_an_event_about_a_plan_of_the_old_form_is_carried_out(make: Make) -> None:
    """It may come for as long as a subscription keeps it."""
    world = make()
    world.inner = lambda _: None
    run_id = world.request()
    lock = world.lock(run_id)
    names = world.settings
    wanted = transfers(lock, names.python_repository, "trixie", names.generic_repository)
    (counted,) = (fields for _, fields in world.store.find("syncs", "run_id", run_id))
    for owner in {each.owner for each in world.registry.stored("dmz-python")}:
        world.registry.delete_version(owner)
    before = world.registry.uploads.copy()
    plan = Plan(lock=lock.digest, shards=(wanted[:2], wanted[2:]))
    assert '"parts"' in plan.canonical().decode()
    old = plan.canonical().replace(b'"parts":[],', b"")  # as it was written then
    assert Plan.read(old, "An old plan") == plan
    digest = world.blobs.put(old)
    name = decide.sync_id(run_id, digest)
    world.store.put([Put("syncs", name, {key: counted[key] for key in ("run_id", "judged", "lock")})])
    world.store.put([Put("syncs", name, {"shards": 2}, merge=True)])
    for number in range(2):
        body = f'{{"run_id": "{run_id}", "plan": "{digest}", "shard": {number}}}'
        world.bus.send("sync-shard-planned", body.encode(), {})
    world.quiet()
    assert world.bus.dead == [], world.raised
    done = world.store.get("syncs", name) or {}
    assert (done["done"], done["artifacts"]) == (2, len(wanted))
    python_files = [each.python.filename for each in wanted if each.python]
    assert sorted(world.registry.uploads[len(before) :]) == sorted(python_files)
    assert world.run(run_id)["state"] == "running"


def test_of_shards_that_finish_in_the_same_moment_one_closes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.inner = lambda _: None
    run_id = world.request()
    events = [each for each in world.bus.published if each.type == "sync-shard-planned"]
    ((name, _),) = world.store.find("syncs", "run_id", run_id)
    mark = world.store.get("shards", f"{name}-closed")
    assert mark is not None
    others = [each for each in events if each.id != mark["by"]]
    assert 0 < len(others) == len(events) - 1

    def listed(_: str) -> Sequence[Stored]:
        raise Transient("Somebody lists a repository.")

    monkeypatch.setattr(world.registry, "stored", listed)
    settle = world.desks["sync"].settle
    assert [settle(each) for each in others] == [()] * len(others)
    (closer,) = (each for each in events if each.id == mark["by"])
    with pytest.raises(Transient, match="Somebody lists"):  # it may have died before it told anybody
        settle(closer)
    assert len({each.id for each in world.bus.published if each.type == "sync-completed"}) == 1


# --- room ---


def until(there: Callable[[], bool]) -> None:
    """Gives up in the end: whoever waits for it then says what is wrong."""
    end = time.monotonic() + 20
    while not there() and time.monotonic() < end:
        time.sleep(0.002)


def test_who_fits_goes_in_and_nobody_is_overtaken() -> None:
    space, inside, order = DiskSpace(10), threading.Event(), list[int]()
    leave = threading.Event()

    def first() -> None:
        with space.room(6):
            inside.set()
            assert leave.wait(60)

    def then(wanted: int) -> None:
        with space.room(wanted):
            order.append(wanted)

    with ThreadPoolExecutor(4) as pool:
        pool.submit(first)
        assert inside.wait(60)
        large = pool.submit(then, 20)  # as large as no disk: alone
        until(lambda: len(space._queue) == 1)
        small = pool.submit(then, 1)  # there is room, but somebody was here before
        until(lambda: len(space._queue) == 2)
        before = order.copy()
        leave.set()
        large.result(60)
        small.result(60)
    assert (before, order) == ([], [20, 1])


def test_room_comes_back_whatever_happens_inside() -> None:
    space = DiskSpace(10)
    for _ in range(3):
        with pytest.raises(ValueError, match="inside"), space.room(10):
            raise ValueError("inside")
    with space.room(4), space.room(6):
        pass
