"""What is held is judged again: changed verdicts, eviction, and whom it touches."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.errors import Transient
from shared.held_files import record_id
from shared.model.lock import LockedPython
from shared.model.value import sha256
from tests.stages import guests
from tests.stages.refreshing import TOOL, alarms, changes, evictions, offer, refresh, standing
from tests.stages.world import WORKLOAD, World
from tests.support import built


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
