"""Eviction where something goes wrong beside it: neighbours in one version, deaths, alarms that end."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from shared.held.reevaluation import standing_id
from shared.held_files import package_id, record_id
from shared.memory.machines import MemoryRegistry
from shared.model.case import Subject
from shared.model.lock import LockedArchive
from shared.model.manifest import GenericFile
from shared.model.value import sha256
from shared.ports.registry import Stored
from shared.ports.store import MAX_INDEXED, Document, Put
from tests.stages.refreshing import TOOL, alarms, changes, evictions, refresh
from tests.stages.relocking import broken as broken
from tests.stages.relocking import recorded
from tests.stages.world import GENERIC, WORKLOAD, World

# --- neighbours in one version ---


def neighbour(world: World, source: str = "jq", name: str = "jq", record: bool = True) -> LockedArchive:
    """jq 1.7-1 for arm64 as well, held in the same version, of this source."""
    arm = world.market.deb(name, "1.7-1", architecture="arm64", source=source)
    path = world.tmp / "arm.deb"
    path.write_bytes(world.market.contents[arm.url])
    lock = world.lock(world.store.find("runs", "state", "completed")[0][0])
    mine = next(one for one in lock.debian if one.name == name)
    more: Document = {"architecture": "arm64", "filename": arm.url.rsplit("/", 1)[-1], "url": arm.url}
    more |= {"sha256": arm.sha256, "size": arm.size, "source_name": source}
    other = mine.model_copy(update=more)
    world.registry.upload_apt("trixie", other, path)
    known = world.store.get("holdings", record_id("trixie", mine.sha256)) or {}
    package = {**known["subject"]["package"], "architecture": "arm64", "source_name": source}
    subject = {**known["subject"], "package": package}
    fields: Document = {
        **known,
        "sha256": arm.sha256,
        "subject": subject,
        "transfer": {**known["transfer"], "archive": other.model_dump(mode="json")},
        "purl": Subject.check(subject, "The neighbour").package.purl,
    }
    if record:
        world.store.put_many("holdings", {record_id("trixie", arm.sha256): fields})
    return other


def of_jq(world: World) -> list[str]:
    return [name for name in world.repositories()["trixie"] if name.startswith("jq_")]


class Together:
    """A registry in which both workers have listed before either deletes."""

    def __init__(self, port: MemoryRegistry) -> None:
        self._port = port
        self._both = threading.Barrier(2)
        self.armed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def delete_version(self, owner: str) -> None:
        if self.armed and "/jq/" in owner:
            with contextlib.suppress(threading.BrokenBarrierError):  # the other one found nothing to delete
                self._both.wait(2)
        self._port.delete_version(owner)


@pytest.mark.parametrize("at_once", [True, False])
def test_two_refused_files_of_one_version_do_not_bring_each_other_back(
    at_once: bool, make: Callable[..., World]
) -> None:
    made: list[Together] = []

    def through(name: str, port: Any) -> Any:
        if name != "registry":
            return port
        made.append(Together(port))
        return made[0]

    world = make(through=through)
    world.request()
    neighbour(world)
    made[0].armed = at_once
    world.market.flaw("jq", "1.7-1", "debian")
    refresh(world, "one")
    assert of_jq(world) == []
    assert [files for purl, files, _ in evictions(world) if "/jq@" in purl] == [1, 1]
    assert world.bus.dead == []
    told = len(changes(world))
    refresh(world, "two")
    assert (of_jq(world), len(changes(world))) == ([], told)
    assert alarms(world, "stray") == []


def test_what_is_refused_while_it_is_brought_back_goes_out_again(world: World) -> None:
    world.request()
    other = neighbour(world, "jq-other")
    world.market.flaw("jq", "1.7-1", "debian")
    upload, begun = world.registry.upload_apt, list[str]()

    def slow(repository: str, file: LockedArchive, path: Any) -> None:
        if file.sha256 == other.sha256 and not begun:
            begun.append("now")
            fields = world.store.get("holdings", record_id("trixie", other.sha256)) or {}
            stands = {"purl": fields["purl"], "decision": "block", "by_workload": [], "verdicts": ""}
            world.store.put([Put("standing", standing_id(str(fields["purl"])), stands)])
        upload(repository, file, path)

    world.registry.upload_apt = slow
    refresh(world, "one")
    assert begun
    assert of_jq(world) == []
    assert world.bus.dead == []


def test_a_neighbour_comes_back_when_its_run_is_forgotten(world: World) -> None:
    world.request()
    other = neighbour(world, "jq-other")
    world.store.expire(world.clock() + 500 * 86_400)
    world.blobs.expire(world.clock() + 500 * 86_400)
    assert world.store.find("runs", "state", "completed") == []
    world.market.flaw("jq", "1.7-1", "debian")
    refresh(world, "one")
    assert of_jq(world) == [other.filename]
    assert world.bus.dead == []


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (True, "cannot be had again"),
        (False, "no record says how it could come in"),
        ("broken", "its record cannot be read"),
    ],
)
def test_what_could_not_come_back_keeps_the_version(record: bool | str, reason: str, world: World) -> None:
    """The source of libjq1 is jq; what is known by its name alone is no part of that source."""
    world.request()
    other = neighbour(world, "jq-other", "libjq1", bool(record))
    world.market.contents[other.url] = b"other bytes"
    if record == "broken":
        broken = {"transfer": {"another": "format"}}
        world.store.put([Put("holdings", record_id("trixie", other.sha256), broken, merge=True)])
    world.market.flaw("jq", "1.7-1", "debian")
    refresh(world, "one")
    assert sum(name.startswith("libjq1_") for name in world.repositories()["trixie"]) == 2
    assert all("libjq1" not in owner for owner in world.registry.deleted)
    (kept,) = [(files, why) for purl, files, why in evictions(world) if "/libjq1@" in purl]
    assert kept[0] == 0
    assert reason in kept[1]
    (alarm,) = alarms(world, "kept")
    assert reason in alarm["message"]
    assert world.bus.dead == []


# --- what comes in while it is judged ---


@pytest.mark.parametrize("readable", [True, False])
def test_a_file_that_came_in_since_the_judgement_goes_too(world: World, readable: bool) -> None:
    """Of a package whose name is longer than any index of the store."""
    url = "https://files.test/" + "%" * 600
    file = GenericFile(url=url, sha256=sha256(GENERIC), size=len(GENERIC), path="/opt/w/data.bin")
    world.generic, world.market.contents[url] = file, GENERIC
    workload = WORKLOAD.model_copy(update={"install": f"dmz-fetch {url} /opt/w/data.bin"})
    assert world.run(world.request(workload))["state"] == "completed"
    purl = file.package().purl
    assert len(purl) > MAX_INDEXED
    ((name, fields),) = world.store.find("holdings", "package", package_id(purl))
    late = {**fields, "sha256": sha256(b"other bytes")} | ({} if readable else {"transfer": {"v": 2}})
    world.store.put([Put("holdings", "late", late)])
    rules = world.policy.generic.model_copy(update={"fetched_by_url": "block"})
    world.policy = world.policy.model_copy(update={"generic": rules})
    refresh(world, "one")
    assert [files for of, files, _ in evictions(world) if of == purl] == [2 if readable else 1]
    assert (world.store.get("holdings", name) or {})["evicted"]
    assert world.bus.dead == []
    told = [(each["subject"], purl[:300] in each["message"]) for each in alarms(world, "stray")]
    assert told == ([] if readable else [("record late", True)])
    refresh(world, "two")
    assert alarms(world, "stray") == []


# --- what was left halfway ---


def half_done(world: World) -> None:
    """The stage deletes, and fails for good before it has recorded anything."""
    stored = world.registry.stored

    def failing(repository: str) -> Sequence[Stored]:
        if world.registry.deleted:
            raise KeyError(repository)
        return stored(repository)

    world.registry.stored = failing
    refresh(world, "one")
    world.registry.stored = stored


def test_the_sweep_takes_up_what_was_left_halfway(world: World) -> None:
    world.request()
    world.market.flaw("tool", "1.0")
    half_done(world)
    assert "tool-1.0-py3-none-any.whl" not in world.repositories()["dmz-python"]
    assert (evictions(world), recorded(world, TOOL)) == ([], ["deleting"])
    world.sweep()
    assert recorded(world, TOOL) == ["deleting"]  # its event may still come again
    world.ahead = 3600.0
    world.sweep()
    assert (evictions(world), recorded(world, TOOL)) == ([(TOOL, 1, "")], ["gone"])
    digest = next(fields for _, fields in world.store.find("evictions", "purl", TOOL))["files"][0]["sha256"]
    assert (world.store.get("holdings", record_id("dmz-python", digest)) or {})["evicted"]
    world.sweep()
    assert len(evictions(world)) == 1


def test_the_sweep_deletes_nothing_that_may_be_held_again(world: World) -> None:
    world.request()
    world.market.flaw("tool", "1.0")
    world.registry.sealed = True
    refresh(world, "one")
    ((name, _),) = world.store.find("evictions", "purl", TOOL)
    world.store.put([Put("evictions", name, {"state": "deleting"}, merge=True)])
    world.market.flaws.clear()
    world.registry.sealed = False
    refresh(world, "two")
    world.ahead = 3600.0
    world.sweep()
    assert "tool-1.0-py3-none-any.whl" in world.repositories()["dmz-python"]
    assert recorded(world, TOOL) == ["over"]


# --- the alarm ends ---


@pytest.fixture
def kept(world: World) -> World:
    """A world in which the stage may not delete what is refused."""
    world.request()
    world.registry.sealed = True
    world.market.flaw("tool", "1.0")
    refresh(world, "one")
    assert len(alarms(world, "kept")) == 1
    return world


def test_the_alarm_ends_when_it_is_gone(kept: World) -> None:
    kept.registry.sealed = False
    kept.ahead = 2 * 86_400.0
    refresh(kept, "two")
    assert evictions(kept)[1:] == [(TOOL, 1, "")]
    assert alarms(kept, "kept") == []


def test_the_alarm_ends_when_nothing_is_refused_any_more(kept: World) -> None:
    kept.market.flaws.clear()
    refresh(kept, "two")
    assert alarms(kept, "kept") == []


def test_the_alarm_ends_when_somebody_else_has_deleted_it(kept: World) -> None:
    refresh(kept, "two")
    assert len(alarms(kept, "kept")) == 1
    kept.registry.sealed = False
    owner = next(one.owner for one in kept.registry.stored("dmz-python") if "tool" in one.name)
    kept.registry.delete_version(owner)
    refresh(kept, "three")
    assert alarms(kept, "kept") == []
