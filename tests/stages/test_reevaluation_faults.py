"""What is held is judged again, and something is wrong: data lacks, a record is broken, one package cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from functions.scanner import stage
from shared.errors import Permanent
from shared.held import affected, holdings, reevaluation
from shared.held.reevaluation import standing_id
from shared.model.case import Facts, Subject
from shared.model.manifest import GenericFile
from shared.model.package import Package
from shared.model.payloads import VerdictChanged
from shared.model.policy import Policy, PythonOverride, WorkloadRules
from shared.model.value import sha256
from shared.ports.store import Put
from tests.stages import guests
from tests.stages.refreshing import TOOL, alarms, changes, cooling, evictions, offer, refresh, standing
from tests.stages.world import GENERIC, WORKLOAD, World

TOOL_FILE = "tool-1.0-py3-none-any.whl"


def stale(world: World) -> None:
    """From now on the advisories are too old to answer anything."""
    world.policy = world.policy.model_copy(update={"max_advisory_age_hours": 1})
    world.ahead = 2 * 86_400.0


# --- want of data ---


def test_what_was_admitted_again_is_not_evicted_for_want_of_data(held: World) -> None:
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    assert evictions(held) == [(TOOL, 1, "")]
    held.market.flaws.pop(("pypi", "tool", "1.0"))
    assert held.run(held.request())["state"] == "completed"
    fresh = held.policy
    stale(held)
    refresh(held, "two")
    assert TOOL_FILE in held.repositories()["dmz-python"]
    assert changes(held) == [(TOOL, "allow", "block")]
    assert held.bus.dead == []
    held.policy = fresh
    refresh(held, "three")
    assert changes(held)[1:] == [(TOOL, "block", "allow")]
    assert evictions(held) == [(TOOL, 1, "")]


def test_what_came_in_again_is_allowed_to_whom_nobody_can_answer(held: World) -> None:
    """Of two workloads one is answered and one is not: what stood for the latter is what let the package in again."""
    held.outer = lambda config: guests.outer(config, held.claim(workload="other"))
    other = WORKLOAD.model_copy(update={"name": "other"})
    assert held.run(held.request(other))["state"] == "completed"
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    assert evictions(held) == [(TOOL, 1, "")]
    held.market.flaws.pop(("pypi", "tool", "1.0"))
    assert held.run(held.request(other))["state"] == "completed"
    held.market.flaw("tool", "1.0")
    facts = Facts(uploaded="2020-01-01T00:00:00Z", lacking="its licence could not be read")
    held.market.said["tool", "1.0"] = facts
    licences = held.policy.pypi.licences.model_copy(update={"allow": ("MIT",), "unknown": "hold"})
    never = held.policy.pypi.severity.model_copy(update={"hold": "never", "block": "never"})
    rules = WorkloadRules(pypi=PythonOverride(severity=never, licences=licences))
    held.policy = held.policy.model_copy(update={"workloads": {"other": rules}})
    refresh(held, "two")
    by_workload = {each["workload"]: each["decision"] for each in standing(held, TOOL)["by_workload"]}
    assert by_workload == {"other": "allow", "small": "block"}
    assert TOOL_FILE in held.repositories()["dmz-python"]


def test_a_known_yank_counts_whatever_else_is_unknown(held: World) -> None:
    pypi = held.policy.pypi
    licences = pypi.licences.model_copy(update={"allow": ("MIT",), "refused": "block", "unknown": "hold"})
    rules = pypi.model_copy(update={"yanked": "block", "licences": licences})
    held.policy = held.policy.model_copy(update={"pypi": rules})
    said = Facts(uploaded="2020-01-01T00:00:00Z", lacking="its licence could not be read: HTTP 404")
    held.market.said["tool", "1.0"] = said
    refresh(held, "one")
    assert TOOL not in [purl for purl, _, _ in changes(held)]
    held.market.said["tool", "1.0"] = said.model_copy(update={"yanked": "a back door"})
    refresh(held, "two")
    assert (TOOL, "allow", "block") in changes(held)
    assert TOOL_FILE not in held.repositories()["dmz-python"]


# --- one that cannot be told, read or judged ---


def test_a_file_by_url_with_a_long_name_goes_like_any_other(world: World) -> None:
    url = "https://files.test/" + "%" * 1900
    world.market.contents[url] = GENERIC
    world.generic = GenericFile(url=url, sha256=sha256(GENERIC), size=len(GENERIC), path="/opt/w/data.bin")
    workload = WORKLOAD.model_copy(update={"install": f"dmz-fetch {url} /opt/w/data.bin"})
    assert world.run(world.request(workload))["state"] == "completed"
    generic = world.policy.generic.model_copy(update={"fetched_by_url": "block"})
    world.policy = world.policy.model_copy(update={"generic": generic})
    world.market.flaw("tool", "1.0")
    refresh(world, "one")
    assert world.bus.dead == []
    assert {purl[:11] for purl, _, _ in changes(world)} == {"pkg:generic", "pkg:pypi/to"}
    assert [name for name in world.repositories()["dmz-generic"] if name.startswith("generic:")] == []


def test_a_package_that_cannot_be_told_keeps_no_other_in(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = VerdictChanged

    def telling(**words: Any) -> Any:
        return made(**words | ({"purl": "x" * 9000} if "app@" in words["purl"] else {}))

    monkeypatch.setattr(reevaluation, "VerdictChanged", telling)
    held.market.flaw("tool", "1.0")
    held.market.flaw("app", "1.0")
    refresh(held, "one")
    assert changes(held) == [(TOOL, "allow", "block")]
    assert held.bus.dead == []
    (alarm,) = alarms(held, "kept")
    assert alarm["subject"] == "pkg:pypi/app@1.0"
    assert "cannot be told" in alarm["message"]
    assert standing(held, "pkg:pypi/app@1.0") == {}


@pytest.mark.parametrize("broken", [{"newfield": 1}, None], ids=["another format", "nothing"])
def test_a_record_that_cannot_be_read_makes_a_stray(held: World, broken: Any) -> None:
    held.store.expire(held.clock() + 500 * 86_400)
    ((name, fields),) = held.store.find("holdings", "package", standing_id("pkg:pypi/app@1.0"))
    about = {"subject": {**fields["subject"], **broken}} if broken else {"subject": None, "release": None}
    held.store.put_many("holdings", {name: {**fields, **about}})
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    assert changes(held) == [(TOOL, "allow", "block")]
    assert held.bus.dead == []
    (alarm,) = alarms(held, "stray")
    assert alarm["subject"] == "dmz-python app-1.0-py3-none-any.whl"


def test_a_mistake_in_the_policy_is_an_alarm_and_evicts_nobody(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, policy = held.repositories(), held.policy
    held.market.flaw("tool", "1.0")
    del held.policy

    def mistaken(_world: World) -> Policy:
        raise Permanent("The policy file has a mistake in line 3.")

    monkeypatch.setattr(World, "policy", property(mistaken), raising=False)
    refresh(held, "one")
    assert (changes(held), held.repositories(), held.bus.dead) == ([], before, [])
    (alarm,) = alarms(held, "no-data")
    assert "mistake in line 3" in alarm["message"]
    monkeypatch.undo()
    held.policy = policy
    refresh(held, "two")
    assert changes(held) == [(TOOL, "allow", "block")]
    assert alarms(held, "no-data") == []


def test_one_workload_that_cannot_be_judged_silences_no_other(
    held: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.outer = lambda config: guests.outer(config, held.claim(workload="other", generic=()))
    other = WORKLOAD.model_copy(update={"name": "other"})
    assert held.run(held.request(other))["state"] == "completed"
    honest = stage._court

    def partial(ports: Any, release: Any, workload: str) -> Any:
        if workload == "other":
            raise Permanent("The rules of other are mistaken.")
        return honest(ports, release, workload)

    monkeypatch.setattr(stage, "_court", partial)
    generic = held.policy.generic.model_copy(update={"fetched_by_url": "block"})
    held.policy = held.policy.model_copy(update={"generic": generic})
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    by_workload = {each["workload"]: each["decision"] for each in standing(held, TOOL)["by_workload"]}
    assert by_workload == {"other": "allow", "small": "block"}
    assert [name for name in held.repositories()["dmz-generic"] if name.startswith("generic:")] == []
    assert "The rules of other are mistaken" in alarms(held, "no-data")[0]["message"]


# --- who keeps it in ---


def test_a_run_that_failed_keeps_nothing_in(held: World) -> None:
    held.outer = lambda config: guests.outer(config, held.claim(workload="lax"))
    lax = held.request(WORKLOAD.model_copy(update={"name": "lax"}))
    held.store.put([Put("runs", lax, {"state": "failed"}, merge=True)])
    never = held.policy.pypi.severity.model_copy(update={"hold": "never", "block": "never"})
    rules = WorkloadRules(pypi=PythonOverride(severity=never))
    held.policy = held.policy.model_copy(update={"workloads": {"lax": rules}})
    held.market.flaw("tool", "1.0")
    refresh(held, "one")
    assert evictions(held) == [(TOOL, 1, "")]
    assert TOOL_FILE not in held.repositories()["dmz-python"]


@pytest.mark.parametrize("own_first", [True, False])
def test_what_is_not_all_ones_own_is_judged_like_anybodys(own_first: bool) -> None:
    """A wheel of one's own and one of the index, of the same name and version."""
    own = Subject(package=Package(ecosystem="pypi", name="tool", version="1.0"), own_wheel=True)
    index = own.model_copy(update={"own_wheel": False})
    pair = (own, index) if own_first else (index, own)
    assert not holdings._joined(*pair).own_wheel
    assert holdings._joined(own, own).own_wheel


# --- upstream ---


def test_one_broken_page_hides_no_drift_of_the_others(make: Callable[..., World]) -> None:
    broken: list[str] = []

    class Broken:
        def __init__(self, port: Any) -> None:
            self._port = port

        def prefetch(self, names: Any) -> None:
            for name in names:
                self.files(name)

        def files(self, name: str) -> Any:
            if name in broken:
                raise Permanent(f"The page of {name} is no simple page.")
            return self._port.files(name)

    world = make(through=lambda name, port: Broken(port) if name == "index" else port)
    world.request()
    offer(world, "app", sha256=sha256(b"other"))
    refresh(world, "one")
    assert len(alarms(world, "drift")) == 1
    broken.append("app")
    offer(world, "tool", sha256=sha256(b"other"))
    refresh(world, "two")
    # What could not be compared has not come right.
    assert {alarm["subject"] for alarm in alarms(world, "drift")} == {
        f"dmz-python {TOOL_FILE}",
        "dmz-python app-1.0-py3-none-any.whl",
    }
    (alarm,) = alarms(world, "no-data")
    assert "app" in alarm["message"]
    assert "no simple page" in alarm["message"]
    broken.clear()
    refresh(world, "three")
    assert alarms(world, "no-data") == []


# --- many at once ---


def test_advisories_and_facts_are_asked_once_for_all_that_is_held_and_waited_for(
    make: Callable[..., World],
) -> None:
    questions: list[set[str]] = []
    askers: list[object] = []

    class Counted:
        def __init__(self, port: Any) -> None:
            self._port = port

        def known(self, packages: Any, release: Any) -> Any:
            questions.append({each.name for each in packages})
            return self._port.known(packages, release)

        def of(self, *given: Any) -> Any:
            askers.append(self)
            return self._port.of(*given)

    world = make(through=lambda name, port: Counted(port) if name in ("advisories", "facts") else port)
    yesterday = datetime.fromtimestamp(world.clock() - 86_400, UTC).isoformat().replace("+00:00", "Z")
    world.market.said["tool", "1.0"] = Facts(uploaded=yesterday, licences=("MIT",))
    world.market.wheel("tool", "0.9")
    cooling(world, 3)
    for name in ("small", "other"):
        world.outer = lambda config, name=name: guests.outer(config, world.claim(workload=name))
        run_id = world.request(WORKLOAD.model_copy(update={"name": name}))
        assert world.run(run_id)["state"] == "completed", world.run(run_id)
        assert world.run(run_id)["held"]["packages"]
    questions.clear()
    askers.clear()
    refresh(world, "one")
    assert len(questions) == 1
    assert {"tool", "app", "jq"} <= questions[0]
    assert len(askers) == 4  # two workloads, and two runs that wait
    assert len({id(each) for each in askers}) == 1


def test_many_changes_are_written_in_several_batches(held: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    finish = held.store.finish

    def counted(claim: Any, writes: Any, outbox: Any, now: float) -> None:
        if outbox and any(event.type == "verdict-changed" for event in outbox):
            sizes.append(len(outbox))
        finish(claim, writes, outbox, now)

    monkeypatch.setattr(held.store, "finish", counted)
    monkeypatch.setattr(reevaluation, "_AT_ONCE", 2)
    names = ("app", "builder", "extra", "tool", "old")
    for name in names:
        held.market.flaw(name, "1.0")
    refresh(held, "one")
    held.ahead = 60.0
    held.sweep()
    assert sizes == [2, 2, 1]
    assert sorted(purl for purl, _, _ in changes(held)) == [f"pkg:pypi/{name}@1.0" for name in sorted(names)]
    assert {purl for purl, _, _ in evictions(held)} == {f"pkg:pypi/{name}@1.0" for name in names}
    refresh(held, "two")
    assert len(changes(held)) == len(names)


def test_a_runs_document_has_room_for_what_touches_it(held: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affected, "_PER_RUN", 1)
    ((run_id, _),) = held.store.find("runs", "state", "completed")
    for name in ("tool", "app"):
        held.market.flaw(name, "1.0")
        refresh(held, name)
    assert set(held.run(run_id)["affected"]) == {standing_id(TOOL)}
    found = held.store.get("affected", standing_id("pkg:pypi/app@1.0")) or {}
    assert [each["run_id"] for each in found["runs"]] == [run_id]
