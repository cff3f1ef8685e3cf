"""Garbage in the private repositories: what no remembered lock needs, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from functions.ctl.collect import Place, go
from shared.errors import Permanent, Transient
from shared.held import collection
from shared.held.collection import Garbage
from shared.held_files import RECORDS, record_id
from shared.model.plan import transfers
from shared.ports.registry import NotPermitted, Registry, Stored
from shared.ports.store import Put
from tests.stages.world import World

DAY = 86_400.0
REPOSITORIES = ("dmz-python", "dmz-generic", "trixie")


def found(world: World, days: float = 0) -> Garbage:
    return collection.garbage(
        world.store, world.blobs, world.registry, world.settings, world.clock() + 1, days
    )


def purls(garbage: Garbage) -> set[str]:
    return {each.purl.partition("?")[0] for each in garbage.versions}


def files(world: World) -> list[Stored]:
    return [each for name in REPOSITORIES for each in world.registry.stored(name)]


def forget(world: World, run_id: str) -> None:
    """As Firestore does when a run's time is over."""
    del world.store._documents["runs", run_id]


def two_runs(world: World) -> tuple[str, str]:
    """The second has another version of a package, and not the file by URL's old bytes."""
    first = world.request()
    world.market.flaw("app", "1.0")
    world.market.wheel("app", "1.1", "lib<2", "tool")
    second = world.request()
    assert [world.run(each)["state"] for each in (first, second)] == ["completed", "completed"]
    return first, second


def test_what_a_remembered_run_needs_is_no_garbage(world: World) -> None:
    two_runs(world)
    garbage = found(world)
    assert (garbage.versions, garbage.young, garbage.unknown) == ((), 0, 0)
    assert garbage.needed > 5


def test_what_only_a_forgotten_run_needed_goes_and_nothing_else(world: World) -> None:
    first, second = two_runs(world)
    forget(world, first)
    garbage = found(world)
    assert purls(garbage) == {"pkg:pypi/app@1.0"}
    before = files(world)
    (version,) = garbage.versions
    collection.collect(version, world.store, world.registry, world.clock())
    gone = {each.sha256 for each in version.files}
    assert files(world) == [each for each in before if each.sha256 not in gone]
    held = {(each.repository, each.sha256) for each in files(world)}
    lock = world.lock(second)
    wanted = transfers(lock, "dmz-python", "trixie", "dmz-generic")
    assert {(each.repository, each.sha256) for each in wanted} <= held
    assert found(world).versions == ()


def test_what_came_in_lately_stays(world: World) -> None:
    first, second = two_runs(world)
    forget(world, first)
    forget(world, second)
    garbage = found(world, days=1)
    assert (garbage.versions, garbage.needed) == ((), 0)
    assert garbage.young == len(found(world).versions) > 5


def test_what_nobody_has_a_record_of_stays(world: World, tmp_path: Path) -> None:
    world.request()
    (tmp_path / "stray").write_bytes(b"stray")
    world.registry._upload("dmz-python", "stray-1.0-py3-none-any.whl", tmp_path / "stray", "stray", "1.0")
    assert (found(world).versions, found(world).unknown) == ((), 1)


def test_nor_does_a_version_go_of_which_one_file_has_no_record(world: World, tmp_path: Path) -> None:
    forget(world, world.request())
    assert "pkg:pypi/tool@1.0" in purls(found(world))
    (tmp_path / "other").write_bytes(b"another build of it")
    world.registry._upload("dmz-python", "tool-1.0-1-py3-none-any.whl", tmp_path / "other", "tool", "1.0")
    assert "pkg:pypi/tool@1.0" not in purls(found(world))


def test_one_needed_file_keeps_its_version(world: World, tmp_path: Path) -> None:
    """Another file of a version that a lock names: not needed itself, and not to be deleted alone."""
    run_id = world.request()
    (tmp_path / "other").write_bytes(b"another build of it")
    world.registry._upload("dmz-python", "tool-1.0-1-py3-none-any.whl", tmp_path / "other", "tool", "1.0")
    digest = next(each.sha256 for each in files(world) if each.name == "tool-1.0-1-py3-none-any.whl")
    record = {"purl": "pkg:pypi/tool@1.0", "sha256": digest, "repository": "dmz-python", "came": 1.0}
    world.store.put([Put(RECORDS, record_id("dmz-python", digest), record)])
    assert found(world).versions == ()
    forget(world, run_id)
    assert "pkg:pypi/tool@1.0" in purls(found(world))


def test_a_lock_that_cannot_be_read_needs_everything(world: World) -> None:
    first, _ = two_runs(world)
    world.store.put([Put("runs", first, {"lock": "sha256:" + "0" * 64}, merge=True)])
    with pytest.raises(Permanent, match=f"The lock of {first} cannot be read, so nobody knows what it needs"):
        found(world)


def test_the_lock_that_the_vm_installed_counts_as_well(world: World) -> None:
    """A replay may have given the run's document another one."""
    first, second = two_runs(world)
    world.store.put([Put("runs", first, {"lock": world.run(second)["lock"]}, merge=True)])
    assert found(world).versions == ()


def test_nothing_is_deleted_while_a_run_goes_on(world: World) -> None:
    first, second = two_runs(world)
    forget(world, first)
    (version,) = found(world).versions
    world.store.put([Put("runs", second, {"state": "running"}, merge=True)])
    before = files(world)
    with pytest.raises(Transient, match=f"The run {second} goes on"):
        collection.collect(version, world.store, world.registry, world.clock())
    assert files(world) == before


@pytest.mark.parametrize("since", [{"evicted": 5.0}, {"came": 1e12}], ids=["evicted", "here again"])
def test_what_is_no_longer_what_it_was_is_left_to_whoever_changed_it(
    world: World, since: dict[str, float]
) -> None:
    first, _ = two_runs(world)
    forget(world, first)
    (version,) = found(world).versions
    name = record_id(version.repository, version.files[0].sha256)
    world.store.put([Put(RECORDS, name, since, merge=True)])
    before = world.store.get(RECORDS, name)
    with pytest.raises(Transient, match="was evicted or came in once more meanwhile"):
        collection.collect(version, world.store, world.registry, world.clock())
    assert (world.store.get(RECORDS, name), world.registry.deleted) == (before, [])


def test_what_cannot_be_deleted_is_on_record_as_before(world: World) -> None:
    first, _ = two_runs(world)
    forget(world, first)
    (version,) = found(world).versions
    world.registry.sealed = True
    with pytest.raises(NotPermitted):
        collection.collect(version, world.store, world.registry, world.clock())
    assert found(world).versions == (version,)


@pytest.mark.parametrize("looks", [2, 99], ids=["for a while", "for long"])
def test_a_listing_that_lags_is_waited_for_and_makes_nothing_held_again(world: World, looks: int) -> None:
    first, _ = two_runs(world)
    forget(world, first)
    (version,) = found(world).versions
    before = files(world)

    class Lagging:
        left = looks

        def __getattr__(self, name: str) -> object:
            return getattr(world.registry, name)

        def stored(self, repository: str) -> Sequence[Stored]:
            self.left -= 1
            return [each for each in before if each.repository == repository] if self.left >= 0 else []

    lagging, pauses = cast(Registry, Lagging()), list[float]()
    if looks == 2:
        collection.collect(version, world.store, lagging, 7.0, pauses.append)
    else:
        with pytest.raises(Transient, match="still lists it"):
            collection.collect(version, world.store, lagging, 7.0, pauses.append)
    assert len(pauses) == min(looks, 9)
    record = world.store.get(RECORDS, record_id(version.repository, version.files[0].sha256)) or {}
    assert record["evicted"] == 7.0


def test_a_package_that_was_collected_comes_in_again(world: World) -> None:
    first, second = two_runs(world)
    forget(world, first)
    forget(world, second)
    for version in found(world).versions:
        collection.collect(version, world.store, world.registry, world.clock())
    assert found(world).versions == ()
    world.market.flaws.pop(("pypi", "app", "1.0"))
    third = world.request()
    assert world.run(third)["state"] == "completed", world.run(third)


# --- the command ---


def said(
    world: World, capsys: pytest.CaptureFixture[str], *flags: bool
) -> tuple[int, dict[str, object], str]:
    place = Place(world.store, world.blobs, world.registry, world.settings, lambda: world.clock() + 1)
    capsys.readouterr()
    code = go(place, 0, flags[0], True)
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def names(answer: dict[str, object]) -> Sequence[str]:
    versions = answer["versions"]
    assert isinstance(versions, list)
    return [each["purl"] for each in versions]


def test_a_dry_run_says_what_would_go_and_deletes_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = two_runs(world)
    forget(world, first)
    before = files(world)
    code, answer, _ = said(world, capsys, True)
    assert (code, names(answer), answer["dry_run"]) == (0, ["pkg:pypi/app@1.0"], True)
    assert files(world) == before
    assert world.registry.deleted == []
    code, answer, _ = said(world, capsys, False)
    assert (code, names(answer), answer["left"]) == (0, ["pkg:pypi/app@1.0"], 0)
    assert len(world.registry.deleted) == 1


def test_a_run_that_ends_while_its_lock_is_not_yet_looked_at_keeps_what_it_needs(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The runs are listed, then every lock and record is read: that takes minutes, and a run may end in them."""
    first, _ = two_runs(world)
    ended = world.run(first)
    forget(world, first)

    class Slow:
        def get(self, digest: str) -> bytes:
            world.store.put([Put("runs", first, ended)])
            return world.blobs.get(digest)

    before = files(world)
    place = Place(world.store, Slow(), world.registry, world.settings, lambda: world.clock() + 1)
    assert go(place, 0, False, False) == 1
    assert f"The run {first} has a lock since" in capsys.readouterr().err
    assert (files(world), world.registry.deleted) == (before, [])


def test_a_run_that_begins_and_ends_between_two_deletions_keeps_what_it_needs(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it happens while one version is being deleted: no look ever meets a run that goes on."""
    first, second = two_runs(world)
    lock = {run: world.lock(run) for run in (first, second)}
    ended = world.run(second)
    forget(world, first)
    forget(world, second)
    going = found(world).versions
    kept = {each.sha256 for each in transfers(lock[second], "dmz-python", "trixie", "dmz-generic")}
    assert any(kept.isdisjoint(file.sha256 for file in each.files) for each in going)

    class Registering:
        def __getattr__(self, name: str) -> object:
            return getattr(world.registry, name)

        def delete_version(self, owner: str) -> None:
            world.registry.delete_version(owner)
            world.store.put([Put("runs", "run-new", ended)])

    # Nothing that the new run needs goes first, or it would have found that missing.
    order = sorted(going, key=lambda each: not kept.isdisjoint(file.sha256 for file in each.files))
    assert len(order) > 2
    place = Place(
        world.store, world.blobs, cast(Registry, Registering()), world.settings, lambda: world.clock() + 1
    )
    listed = replace(found(world), versions=tuple(order))
    monkeypatch.setattr(collection, "garbage", lambda *_: listed)
    assert go(place, 0, False, True) == 1
    out, err = capsys.readouterr()
    assert "The run run-new has a lock since: nothing more was deleted" in err
    assert len(json.loads(out)["versions"]) == len(world.registry.deleted) == 1
    assert kept <= {each.sha256 for each in files(world)}


def test_a_deletion_that_is_not_permitted_is_a_sentence(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = two_runs(world)
    forget(world, first)
    world.registry.sealed = True
    code, answer, words = said(world, capsys, False)
    assert (code, names(answer), answer["left"]) == (1, [], 1)
    assert "is not permitted" in words
