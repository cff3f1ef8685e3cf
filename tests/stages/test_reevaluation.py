"""What is held is judged again: changed verdicts, eviction, and whom it touches."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shared.errors import Transient
from shared.events import VerdictChanged
from shared.held import eviction
from shared.held.reevaluation import standing_id
from shared.held_files import record_id
from shared.machines import vm_name
from shared.memory.machines import MemoryRegistry
from shared.model.case import Facts
from shared.model.lock import Lock, LockedPython
from shared.model.value import sha256
from shared.ports.registry import Stored
from shared.ports.store import Document, Put
from tests.stages import guests
from tests.stages.faults import Fuse
from tests.stages.world import WORKLOAD, World
from tests.support import built

TOOL, LIB = "pkg:pypi/tool@1.0", "pkg:pypi/lib@1.1"


def refresh(world: World, id: str) -> None:
    world.bus.send("advisories-refreshed", b"{}", {"ce-id": id})
    world.quiet()


def changes(world: World) -> list[tuple[str, str, str]]:
    return [(each.purl, each.before, each.after) for each in world.events("verdict-changed")]


def evictions(world: World) -> list[tuple[str, int, str]]:
    return [(each.purl, each.files, each.reason) for each in world.events("package-evicted")]


def standing(world: World, purl: str) -> Document:
    return world.store.get("standing", standing_id(purl)) or {}


def alarms(world: World, kind: str) -> list[Document]:
    return [fields for _, fields in world.store.find("alarms", "kind", kind) if fields["open"]]


@pytest.fixture
def held(world: World) -> World:
    """A world in which one workload has been installed."""
    assert world.run(world.request())["state"] == "completed"
    return world


def test_nothing_new_changes_nothing(held: World) -> None:
    before = held.repositories()
    refresh(held, "one")
    refresh(held, "two")
    assert len(held.events("holdings-listed")) == 2
    assert changes(held) == []
    assert held.repositories() == before
    latest = held.store.get("reevaluations", "latest") or {}
    assert (latest["changed"], latest["unanswered"]) == (0, 0)
    # libc6 and the rest of the base image were never brought in.
    assert latest["packages"] == len({name for names in before.values() for name in names} - locks(before))


def locks(repositories: dict[str, list[str]]) -> set[str]:
    return {name for name in repositories["dmz-generic"] if name.startswith(("lock:", "bom-"))}


def test_what_a_new_advisory_blocks_goes_out_and_everything_else_stays(held: World) -> None:
    before = held.repositories()
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    assert changes(held) == [(TOOL, "allow", "block")]
    assert evictions(held) == [(TOOL, 1, "")]
    after = held.repositories()
    assert set(before["dmz-python"]) - set(after["dmz-python"]) == {"tool-1.0-py3-none-any.whl"}
    assert (after["trixie"], after["dmz-generic"]) == (before["trixie"], before["dmz-generic"])
    assert standing(held, TOOL)["decision"] == "block"
    (gone,) = [fields for _, fields in held.store.find("evictions", "purl", TOOL)]
    assert (gone["state"], [each["name"] for each in gone["files"]]) == (
        "gone",
        ["tool-1.0-py3-none-any.whl"],
    )
    digest = gone["files"][0]["sha256"]
    assert (held.store.get("holdings", record_id("dmz-python", digest)) or {})["evicted"]
    assert {fields["kind"] for _, fields in held.store.find("decisions", "subject", TOOL)} >= {
        "verdict-changed",
        "eviction",
    }
    assert held.bus.dead == []


def test_a_second_refresh_with_the_same_data_publishes_nothing(held: World) -> None:
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    refresh(held, "two")
    assert (len(changes(held)), len(evictions(held))) == (1, 1)


def test_an_archive_goes_by_its_source(held: World) -> None:
    held.market.flaw("jq", "1.7-1", "debian")
    refresh(held, "one")
    purls = sorted(purl for purl, _, _ in changes(held))
    assert [purl.partition("@")[0] for purl in purls] == ["pkg:deb/debian/jq", "pkg:deb/debian/libjq1"]
    assert all("jq" not in name for name in held.repositories()["trixie"])


def test_a_file_by_url_goes_when_the_policy_wants_it_no_more(held: World) -> None:
    generic = held.policy.generic.model_copy(update={"fetched_by_url": "block"})
    held.policy = held.policy.model_copy(update={"generic": generic})
    refresh(held, "one")
    assert [purl for purl, _, _ in changes(held)] == [
        f"pkg:generic/data.bin@{sha256(b'a file by URL').replace(':', '%3A')}"
    ]
    assert [name for name in held.repositories()["dmz-generic"] if name.startswith("generic:")] == []


# --- want of data ---


def test_old_data_evicts_nobody_and_says_so(held: World) -> None:
    before = held.repositories()
    held.policy = held.policy.model_copy(update={"max_advisory_age_hours": 1})
    held.ahead = 10 * 86_400.0
    refresh(held, "one")
    assert (changes(held), held.repositories()) == ([], before)
    assert (held.store.get("reevaluations", "latest") or {})["unanswered"] > 5
    (alarm,) = alarms(held, "no-data")
    assert "older than the policy's 1 hours" in alarm["message"]
    held.policy = held.policy.model_copy(update={"max_advisory_age_hours": 10**6})
    refresh(held, "two")
    assert alarms(held, "no-data") == []


def test_what_old_data_blocks_is_blocked(held: World) -> None:
    held.policy = held.policy.model_copy(update={"max_advisory_age_hours": 1})
    held.ahead = 10 * 86_400.0
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    assert changes(held) == [(TOOL, "allow", "block")]


def test_a_source_that_does_not_answer_evicts_nobody(make: Callable[..., World]) -> None:
    dark: list[str] = []

    class Dark:
        def __init__(self, port: Any) -> None:
            self._port = port

        def known(self, *words: Any) -> Any:
            if dark:
                raise Transient("OSV does not answer.")
            return self._port.known(*words)

    world = make(through=lambda name, port: Dark(port) if name == "advisories" else port)
    world.request()
    before = world.repositories()
    dark.append("now")
    refresh(world, "one")
    assert (changes(world), world.repositories(), world.bus.dead) == ([], before, [])
    assert "OSV does not answer" in alarms(world, "no-data")[0]["message"]


# --- workloads ---


def test_a_package_stays_while_one_workload_may_have_it(held: World) -> None:
    held.outer = lambda config: guests.outer(config, held.claim(workload="other"))
    other = held.request(WORKLOAD.model_copy(update={"name": "other"}))
    assert held.run(other)["state"] == "completed", held.run(other)
    held.market.flaw("tool", "1.0")
    waiver = {
        "advisory": "GHSA-tool-1.0",
        "workload": "other",
        "reason": "borne",
        "approver": "Ada",
        "granted": "2020-01-01T00:00:00Z",
        "expires": "2099-01-01T00:00:00Z",
        "package": "",
        "until_fixed": False,
        "state": "granted",
    }
    held.store.put_many("waivers", {"any": waiver})
    refresh(held, "one")
    assert changes(held) == [(TOOL, "allow", "block")]
    assert standing(held, TOOL)["decision"] == "allow"
    assert evictions(held) == [(TOOL, 0, "The workload other may have it.")]
    assert "tool-1.0-py3-none-any.whl" in held.repositories()["dmz-python"]


# --- strays ---


def test_a_file_without_a_record_is_an_alarm_and_judged_by_its_name(held: World) -> None:
    made = built.wheel("stranger", "2.0")
    path = held.tmp / made.filename
    path.write_bytes(made.content)
    file = LockedPython(
        name="stranger", version="2.0", filename=made.filename, sha256=made.sha256, url="x", record=None
    )
    held.registry.upload_python("dmz-python", file, path)
    held.registry.upload_generic("dmz-generic", "odd", "1", "thing", path)
    refresh(held, "one")
    assert {alarm["subject"] for alarm in alarms(held, "stray")} == {
        f"dmz-python {made.filename}",
        "dmz-generic odd:1:thing",
    }
    assert changes(held) == []
    held.market.flaw("stranger", "2.0")
    refresh(held, "two")
    assert changes(held) == [("pkg:pypi/stranger@2.0", "allow", "block")]
    assert made.filename not in held.repositories()["dmz-python"]
    refresh(held, "three")
    assert {alarm["subject"] for alarm in alarms(held, "stray")} == {"dmz-generic odd:1:thing"}


def test_what_no_run_remembers_is_known_by_its_record(held: World) -> None:
    held.store.expire(held.clock() + 500 * 86_400)
    assert held.store.find("runs", "state", "completed") == []
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    assert alarms(held, "stray") == []
    assert changes(held) == [(TOOL, "allow", "block")]
    assert evictions(held) == [(TOOL, 1, "")]


# --- upstream ---


def offer(world: World, name: str, **changes: Any) -> None:
    """From now on the index says something else about the files of `name`."""
    world.market.projects[name] = [replace(file, **changes) for file in world.market.projects[name]]


def test_a_replaced_file_is_an_alarm_and_evicts_nothing(
    held: World, capsys: pytest.CaptureFixture[str]
) -> None:
    before = held.repositories()
    original = held.market.projects["tool"][0].sha256
    offer(held, "tool", sha256=sha256(b"other bytes"))
    refresh(held, "one")
    (alarm,) = alarms(held, "drift")
    assert alarm["subject"] == "dmz-python tool-1.0-py3-none-any.whl"
    assert sha256(b"other bytes") in alarm["message"]
    assert original in alarm["message"]
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"package-alarm"' in line]
    assert [(line["severity"], line["kind"], line["stage"]) for line in lines] == [("ERROR", "drift", "sync")]
    assert (held.repositories(), changes(held)) == (before, [])
    offer(held, "tool", sha256=original)
    refresh(held, "two")
    assert alarms(held, "drift") == []


def test_a_file_that_was_taken_back_and_a_yanked_one_are_alarms(held: World) -> None:
    held.market.projects["tool"] = []
    offer(held, "extra", yanked=True, yank_reason="a broken build")
    refresh(held, "one")
    assert [alarm["subject"] for alarm in alarms(held, "drift")] == ["dmz-python tool-1.0-py3-none-any.whl"]
    (yanked,) = alarms(held, "yanked")
    assert "a broken build" in yanked["message"]
    assert changes(held) == []


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


def test_the_smallest_compliant_relock_is_proposed(held: World) -> None:
    (run_id, run) = held.store.find("runs", "state", "completed")[0]
    held.market.wheel("tool", "1.1")
    held.market.wheel("tool", "3.0")
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    found = held.store.get("affected", standing_id(TOOL)) or {}
    (relock,) = found["relocks"]
    assert (relock["lock"], relock["runs"]) == (run["lock"], [run_id])
    rows = [(row["names"], row["from"], row["to"]) for row in relock["changes"]["rows"]]
    assert rows == [(["tool"], "1.0", "1.1")]
    assert any("tool" in line and "GHSA-tool-1.0" in line for line in relock["lines"])
    proposed = Lock.read(held.blobs.get(relock["proposal"]), "The proposal")
    names = {file.filename for each in proposed.environments for file in each.packages}
    assert "tool-1.1-py3-none-any.whl" in names
    # Never silent, and never done: the run has the lock that it had.
    assert held.run(run_id)["lock"] == run["lock"]


def test_where_nothing_is_left_the_reason_is_told(held: World) -> None:
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    found = held.store.get("affected", standing_id(TOOL)) or {}
    (relock,) = found["relocks"]
    assert "proposal" not in relock
    assert "tool" in relock["why"]


# --- holds that end ---


def cooling(world: World, days: int) -> None:
    """From now on a version waits for so many days."""
    pypi = world.policy.pypi
    rules = pypi.model_copy(update={"cooldown": pypi.cooldown.model_copy(update={"days": days})})
    world.policy = world.policy.model_copy(update={"pypi": rules})


@pytest.fixture
def waiting(world: World) -> World:
    """A world in which tool 1.0 was uploaded a day ago, has no older version, and must wait for three."""
    yesterday = datetime.fromtimestamp(world.clock() - 86_400, UTC).isoformat().replace("+00:00", "Z")
    world.market.said["tool", "1.0"] = Facts(uploaded=yesterday, licences=("MIT",))
    cooling(world, 3)
    world.market.flaws.clear()  # nothing else stands in its way
    return world


def test_a_run_that_only_waited_is_requested_again_by_itself_once(waiting: World) -> None:
    first = waiting.request()
    assert (waiting.run(first)["state"], waiting.run(first)["stage"]) == ("failed", "sync"), waiting.run(
        first
    )
    assert [each["purl"] for each in waiting.run(first)["held"]["packages"]] == [TOOL]
    refresh(waiting, "too soon")
    assert changes(waiting) == []
    waiting.ahead = 3 * 86_400.0
    refresh(waiting, "in time")
    assert changes(waiting) == [(TOOL, "hold", "allow")]
    again = waiting.run(first)["again"]
    assert waiting.run(again["run_id"])["state"] == "completed", waiting.run(again["run_id"])
    assert "tool-1.0-py3-none-any.whl" in waiting.repositories()["dmz-python"]
    refresh(waiting, "later")
    assert (len(changes(waiting)), len(waiting.events("run-requested"))) == (1, 1)
    assert waiting.bus.dead[1:] == []  # the first run's own failure alone


def test_what_was_requested_by_itself_is_not_requested_so_again(waiting: World) -> None:
    first = waiting.request()
    waiting.ahead = 3 * 86_400.0
    waiting.outer = lambda _: None
    refresh(waiting, "in time")
    second = waiting.run(first)["again"]["run_id"]
    fields = {"state": "failed", "stage": "sync", "requested": waiting.clock()}
    like = {name: waiting.run(first)[name] for name in ("held", "case", "manifest", "verdicts")}
    waiting.store.put([Put("runs", second, fields | like, merge=True)])
    refresh(waiting, "later")
    assert waiting.run(second)["again"]["may"]
    assert waiting.run(second)["again"]["run_id"] == ""
    assert len(waiting.events("run-requested")) == 1


def test_a_run_that_took_another_version_may_be_requested_again(waiting: World) -> None:
    waiting.market.wheel("tool", "0.9")
    run_id = waiting.request()
    assert waiting.run(run_id)["state"] == "completed", waiting.run(run_id)
    assert "tool-0.9-py3-none-any.whl" in waiting.repositories()["dmz-python"]
    waiting.ahead = 3 * 86_400.0
    refresh(waiting, "in time")
    assert (waiting.run(run_id)["again"]["may"], waiting.run(run_id)["again"]["run_id"]) == (True, "")
    assert waiting.events("run-requested") == []


# --- death ---


def deaths(make: Callable[..., World]) -> int:
    fuse = Fuse()
    world = make(through=fuse.through)
    world.request()
    world.market.flaw("tool", "1.0")
    fuse.arm(0)
    refresh(world, "one")
    return len(fuse.calls)


def test_killed_after_any_step_it_goes_on(make: Callable[..., World]) -> None:
    steps = deaths(make)
    assert steps > 10
    for at in range(1, steps + 1):
        fuse = Fuse()
        world = make(through=fuse.through, lease=0.2)
        world.request()
        before = set(world.repositories()["dmz-python"])
        world.market.flaw("tool", "1.0")
        fuse.arm(at)
        refresh(world, "one")
        assert fuse.blown, at
        assert before - set(world.repositories()["dmz-python"]) == {"tool-1.0-py3-none-any.whl"}, fuse.blown
        assert {(purl, files) for purl, files, _ in evictions(world)} == {(TOOL, 1)}, fuse.blown
        assert set(changes(world)) == {(TOOL, "allow", "block")}, fuse.blown
        assert world.bus.dead == [], fuse.blown
