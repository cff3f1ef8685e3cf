"""What is refused goes out of the repositories: really gone, with its neighbours put back, and by no old event."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from shared.errors import Transient
from shared.events import VerdictChanged
from shared.held import eviction
from shared.held.reevaluation import standing_id
from shared.held_files import record_id
from shared.machines import vm_name
from shared.memory.machines import MemoryRegistry
from shared.ports.registry import Stored
from tests.stages.refreshing import TOOL, alarms, changes, evictions, refresh
from tests.stages.world import WORKLOAD, World

# --- deletion ---


def test_what_may_not_be_deleted_is_kept_and_an_alarm(held: World) -> None:
    held.registry.sealed = True
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    ((purl, files, reason),) = evictions(held)
    assert (purl, files) == (TOOL, 0)
    assert "not permitted" in reason
    assert len(alarms(held, "kept")) == 1
    refresh(held, "two")
    assert len(evictions(held)) == 1
    held.registry.sealed = False
    held.ahead = 2 * 86_400.0
    refresh(held, "three")
    assert evictions(held)[1:] == [(TOOL, 1, "")]


def test_gone_is_what_is_not_listed_any_more(held: World) -> None:
    held.market.flaw("tool", "1.0")
    held.registry.sealed = True
    refresh(held, "one")
    event = next(each for each in held.bus.published if each.type == "verdict-changed")
    assert isinstance(event.data, VerdictChanged)
    listed, looks = held.registry.stored("dmz-python"), list[float]()

    class Lagging(MemoryRegistry):
        def stored(self, repository: str) -> Sequence[Stored]:
            return listed

    evictor = eviction.Evictor(
        store=held.store,
        blobs=held.blobs,
        registry=Lagging(),
        settings=held.settings,
        clock=held.clock,
        bring=lambda _: None,
        prove=lambda _: None,
        relock=lambda *_: (),
        sleep=looks.append,
    )
    with pytest.raises(Transient, match="was deleted, and dmz-python still lists it"):
        eviction.changed(event, event.data, evictor)
    assert len(looks) > 5


def test_what_came_back_goes_out_again(held: World) -> None:
    path = held.tmp / "again"
    path.write_bytes(held.market.contents["https://files.test/tool-1.0-py3-none-any.whl"])
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    file = next(
        package
        for each in held.lock(held.store.find("runs", "state", "completed")[0][0]).environments
        for package in each.packages
        if package.name == "tool"
    )
    held.registry.upload_python("dmz-python", file, path)
    refresh(held, "two")
    assert changes(held) == [(TOOL, "allow", "block")] * 2
    assert "tool-1.0-py3-none-any.whl" not in held.repositories()["dmz-python"]


def test_an_event_of_long_ago_evicts_nothing(held: World) -> None:
    held.market.flaw("tool", "1.0")
    held.registry.sealed = True
    refresh(held, "one")
    (old,) = [each for each in held.bus.published if each.type == "verdict-changed"]
    held.registry.sealed = False
    held.market.flaws.clear()
    refresh(held, "two")
    assert changes(held)[1:] == [(TOOL, "block", "allow")]
    held.bus.send(old.type, old.body(), {"replay-id": "again"})
    held.quiet()
    assert "tool-1.0-py3-none-any.whl" in held.repositories()["dmz-python"]


def test_files_of_the_version_that_must_stay_are_brought_back(held: World) -> None:
    """Artifact Registry deletes whole versions: of all architectures of an archive."""
    arm = held.market.deb("jq", "1.7-1", architecture="arm64")
    path = held.tmp / "arm.deb"
    path.write_bytes(held.market.contents[arm.url])
    lock = held.lock(held.store.find("runs", "state", "completed")[0][0])
    mine = next(one for one in lock.debian if one.name == "jq")
    other = mine.model_copy(
        update={
            "architecture": "arm64",
            "filename": arm.url.rsplit("/", 1)[-1],
            "url": arm.url,
            "sha256": arm.sha256,
            "size": arm.size,
            "source_name": "jq-other",
        }
    )
    held.registry.upload_apt("trixie", other, path)
    record = held.store.get("holdings", record_id("trixie", mine.sha256)) or {}
    subject = {**record["subject"], "package": {**record["subject"]["package"], "architecture": "arm64"}}
    subject["package"]["source_name"] = "jq-other"
    transfer = {**record["transfer"], "archive": other.model_dump(mode="json") | {"source_name": "jq"}}
    more = {"sha256": arm.sha256, "subject": subject, "transfer": transfer, "purl": "pkg:deb/debian/jq@other"}
    held.store.put_many("holdings", {record_id("trixie", arm.sha256): record | more})
    held.market.flaw("jq", "1.7-1", "debian")
    refresh(held, "one")
    assert held.bus.dead == []
    names = held.repositories()["trixie"]
    assert other.filename in names
    assert mine.filename not in names
    (gone,) = [
        each for _, each in held.store.find("evictions", "repository", "trixie") if "/jq@" in each["purl"]
    ]
    assert gone["back"] == [record_id("trixie", arm.sha256)]


# --- whom it touches ---


def test_runs_and_machines_that_hold_it_are_listed(make: Callable[..., World]) -> None:
    world = make()
    kept = world.request(WORKLOAD.model_copy(update={"after": "keep"}))
    done = world.request(WORKLOAD.model_copy(update={"after": "delete"}))
    world.market.flaw("tool", "1.0")
    refresh(world, "one")
    found = world.store.get("affected", standing_id(TOOL)) or {}
    assert (found["before"], found["after"], found["holders"], found["machines"]) == ("allow", "block", 2, 1)
    assert [(each["run_id"], each["vm"]) for each in found["runs"]] == [
        (kept, vm_name("inner", kept)),
        (done, ""),
    ]
    assert "GHSA-tool-1.0" in found["reason"]
    assert world.run(kept)["affected"][standing_id(TOOL)]["purl"] == TOOL
