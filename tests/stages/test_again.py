"""A second run of the same workload: nothing is transferred, and nothing that may have changed goes unasked."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from typing import Any

import pytest

from shared.carrier import remembered
from shared.memory.store import MemoryStore
from shared.model.lock import Lock, LockedPython
from shared.model.package import Release
from shared.model.value import Digest, sha256
from shared.ports.store import Put
from tests.stages.test_release_lies import lying
from tests.stages.world import World
from tests.support import built
from tests.support.built import Built
from tests.support.market import TRIXIE


class Watched:
    """What a world's upstream is asked for."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fetched: list[str] = []
        self.listed: list[str] = []
        market, fetch, archives = world.market, world.market.fetch, world.market.archives

        def fetching(url: str, *args: Any, **named: Any) -> int:
            self.fetched.append(url)
            return fetch(url, *args, **named)

        def listing(release: Release) -> Any:
            self.listed.append(release.codename)
            return archives(release)

        monkeypatch.setattr(market, "fetch", fetching)
        monkeypatch.setattr(market, "archives", listing)


def completed(world: World) -> str:
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed", world.run(run_id)
    return run_id


def failed(world: World) -> str:
    run = world.run(world.request())
    assert run["state"] == "failed", run
    return str(run["reason"])


def test_a_second_run_transfers_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(world, monkeypatch)
    first = completed(world)
    assert watched.fetched
    assert "lib-1.1-py3-none-any.whl" in world.market.recorded  # it replaces lib 1.0, and no VM has had it
    before = world.repositories()
    watched.fetched.clear()
    world.market.recorded.clear()
    second = completed(world)
    run = world.run(second)
    assert (run["planned"], run["mirrored"]["bytes"]) == (0, 0)
    assert (watched.fetched, world.market.recorded) == ([], [])
    assert {**world.repositories(), "dmz-generic": []} == {**before, "dmz-generic": []}
    assert packages(world.lock(second)) == packages(world.lock(first))


def packages(lock: Lock) -> list[tuple[str, str, str | None]]:
    return [(file.filename, file.sha256, file.record) for each in lock.environments for file in each.packages]


# --- what has changed since ---


def swapped(world: World, made: Built) -> None:
    """The index offers other bytes under the name of a file that is held."""
    offered = world.market.projects["tool"]
    offered[0] = replace(offered[0], sha256=made.sha256)
    world.market.contents[offered[0].url] = made.content


def test_a_held_file_that_the_index_replaced_is_refused(world: World) -> None:
    completed(world)
    before = world.repositories()["dmz-python"]
    swapped(world, built.wheel("tool", "1.0", text="another"))
    assert "is not what the outer VM installed" in failed(world)
    assert world.repositories()["dmz-python"] == before


def test_nor_does_the_same_record_let_other_bytes_in(world: World) -> None:
    completed(world)
    before = world.repositories()["dmz-python"]
    tool = built.wheel("tool", "1.0")
    other = io.BytesIO(tool.content)
    with zipfile.ZipFile(other, "a") as archive:
        archive.comment = b"other bytes"
    swapped(world, replace(tool, content=other.getvalue()))
    assert "already holds" in failed(world)
    assert world.repositories()["dmz-python"] == before


def test_a_held_file_that_the_index_took_back_is_not_locked(world: World) -> None:
    completed(world)
    world.market.projects["tool"].clear()
    assert "tool 1.0: the index has no project of that name" in failed(world)


# --- the distribution's indexes ---


def base_alone(world: World) -> None:
    """A world in which the install added no archive, and none of the base image is refused."""
    world.debians = tuple(each for each in world.debians if each.in_base)
    world.market.flaws = {key: found for key, found in world.market.flaws.items() if key[0] != "debian"}


def test_no_archive_enters_and_no_index_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(world, monkeypatch)
    base_alone(world)
    assert world.lock(completed(world)).debian == ()
    assert watched.listed == []
    world.market.flaw("openssl", "3.0-1", "debian")
    assert [each.name for each in world.lock(completed(world)).debian] == ["libssl3", "openssl"]
    assert watched.listed == ["trixie"]


def test_a_release_without_pinned_keys_is_refused_all_the_same(world: World) -> None:
    base_alone(world)
    lying(world, TRIXIE.model_copy(update={"codename": "bookworm"}))
    assert "is not supported: the keys of Debian 12 and 13" in failed(world)


# --- what is remembered of a content ---

A, B, C = (sha256(letter) for letter in (b"a", b"b", b"c"))
RECORDS = {A: B, B: C}


def locked(digest: Digest) -> LockedPython:
    name = "demo-1.0-py3-none-any.whl"
    return LockedPython(
        name="demo", version="1.0", filename=name, sha256=digest, url=f"https://f.test/{name}", record=None
    )


def test_a_record_is_proved_once_for_each_content() -> None:
    store, asked = MemoryStore(), []

    def prove(file: LockedPython) -> Digest:
        asked.append(file.sha256)
        return RECORDS[file.sha256]

    assert [remembered(prove, store)(locked(each)) for each in (A, B, A, B)] == [B, C, B, C]
    assert asked == [A, B]


@pytest.mark.parametrize(
    "changed", [{"sha256": C}, {"record": "sha256:" + "0" * 63}, {"record": None}, {"record": 1}]
)
def test_what_is_not_about_these_bytes_is_proved_anew(changed: dict[str, Any]) -> None:
    store = MemoryStore()
    known = remembered(lambda file: RECORDS[file.sha256], store)
    known(locked(A))
    ((name, fields),) = store.find("proved", "sha256", A)
    store.put([Put("proved", name, {**fields, "record": C, **changed})])
    assert known(locked(A)) == B
