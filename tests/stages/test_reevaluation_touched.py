"""Whom a changed verdict touches: runs, machines and locks, and runs that only waited for their packages."""

from __future__ import annotations

from shared.held.reevaluation import standing_id
from shared.model.lock import Lock
from shared.ports.store import Put
from tests.stages.refreshing import TOOL, changes, refresh
from tests.stages.world import World

# --- whom it touches ---


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
