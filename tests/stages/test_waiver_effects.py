"""Waivers from the verdict to the repository: used where they count and no longer than they last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shared import waivers
from shared.errors import Permanent
from shared.events import Event
from shared.model.waiver import Waiver
from shared.ports.store import Bus, Put
from tests.stages import guests
from tests.stages.waiving import DAY, FLAW, LIB, Make, grant, refused, revoke, verdict, waiver
from tests.stages.world import WORKLOAD, World

# --- what they do ---


def admitted(world: World, given: Waiver, run_id: str) -> None:
    run = world.run(run_id)
    assert (run["state"], run.get("reason")) == ("completed", None)
    judged = verdict(world, run_id, LIB)
    assert (judged.decision, judged.waivers) == ("allow", (given.id,))
    assert "lib-1.0-py3-none-any.whl" in world.repositories()["dmz-python"]
    assert not [change for change in world.lock(run_id).changes if change.before.purl == LIB]
    (shown,) = run["waivers"]
    assert (shown["id"], shown["approver"], shown["packages"]) == (given.id, "ada@example.org", 1)
    assert shown["expires"] == given.expires
    assert FLAW in shown["waives"]


def not_admitted(world: World, run_id: str) -> None:
    assert verdict(world, run_id, LIB).decision == "block"
    assert verdict(world, run_id, LIB).waivers == ()
    assert world.run(run_id)["waivers"] == []
    assert [change.after.version for change in world.lock(run_id).changes if change.before.purl == LIB] == [
        "1.1"
    ]


@pytest.mark.parametrize("scope", ["advisory", "package", "both"])
def test_a_blocked_package_is_admitted_as_long_as_the_waiver_lasts(world: World, scope: str) -> None:
    scopes: dict[str, dict[str, Any]] = {
        "advisory": {"package": ""},
        "package": {"advisory": "", "package": LIB},
        "both": {},
    }
    given = waiver(world, **scopes[scope])
    not_admitted(world, world.request())
    grant(world, given)
    run_id = world.request()
    if scope == "package":
        assert verdict(world, run_id, LIB).waivers == (given.id,)
        assert world.run(run_id)["waivers"][0]["packages"] == 1
    else:
        admitted(world, given, run_id)
    world.ahead += 31 * DAY
    not_admitted(world, world.request())


def test_a_revoked_waiver_admits_nothing(world: World) -> None:
    given = grant(world, waiver(world))
    admitted(world, given, world.request())
    revoke(world, given.id)
    not_admitted(world, world.request())


@pytest.mark.parametrize("end", ["expired", "revoked"])
def test_what_a_waiver_admitted_is_judged_again_when_it_ends_and_goes(world: World, end: str) -> None:
    given = grant(world, waiver(world))
    admitted(world, given, world.request())
    world.sweep()
    assert "lib-1.0-py3-none-any.whl" in world.repositories()["dmz-python"]
    if end == "expired":
        world.ahead += 31 * DAY
        world.sweep()
    else:
        revoke(world, given.id)
    changed = [each for each in world.events("verdict-changed") if each.purl == LIB]
    assert [(each.before, each.after) for each in changed][-1:] == [("allow", "block")]
    assert "lib-1.0-py3-none-any.whl" not in world.repositories()["dmz-python"]
    assert refused(world) == []


def test_a_waiver_counts_for_its_workload_alone(world: World) -> None:
    given = grant(world, waiver(world))
    other = WORKLOAD.model_copy(update={"name": "other"})
    world.outer = lambda config: guests.outer(config, world.claim(workload="other"))
    not_admitted(world, world.request(other))
    world.outer = None
    admitted(world, given, world.request())


def test_malice_is_not_waived_with_a_package(world: World) -> None:
    key = ("pypi", "lib", "1.0")
    world.market.flaws[key] = world.market.flaws[key].model_copy(update={"malicious": True})
    grant(world, waiver(world, advisory="", package=LIB))
    not_admitted(world, world.request())


def test_a_replacement_that_leans_on_a_waiver_is_shown_too(world: World) -> None:
    """Every version of lib below 2 is flawed; the nearest one that a waiver admits takes the place."""
    world.market.flaw("lib", "1.1")
    given = grant(world, waiver(world, advisory="GHSA-lib-1.1"))
    run_id = world.request()
    assert world.run(run_id).get("reason") is None
    assert [each.after.version for each in world.lock(run_id).changes if each.before.purl == LIB] == ["1.1"]
    assert [shown["id"] for shown in world.run(run_id)["waivers"]] == [given.id]


# --- between the verdicts and what is shipped ---


@dataclass(frozen=True)
class Meanwhile:
    """A bus that lets something happen once the verdicts are on their way."""

    bus: Bus
    happens: Callable[[], None]

    def publish(self, event: Event) -> None:
        if event.type == "verdicts-written":
            self.happens()
        self.bus.publish(event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bus, name)


@pytest.mark.parametrize("end", ["expired", "revoked", "forgotten", "garbled"])
def test_nothing_is_shipped_by_a_waiver_that_ended_after_the_verdict(make: Make, end: str) -> None:
    worlds: list[World] = []
    ids: list[str] = []

    def happens() -> None:
        (world,), (id,) = worlds, ids
        if end == "expired":
            world.ahead += 31 * DAY
            return
        left: dict[str, dict[str, Any]] = {
            "revoked": {"state": "revoked", "ended": {"by": "bob@example.org"}},
            "garbled": {"expires": "never"},
            "forgotten": {},
        }
        world.store.put([Put("waivers", id, left[end], merge=end != "forgotten")])

    world = make(through=lambda name, port: Meanwhile(port, happens) if name == "bus" else port)
    worlds.append(world)
    given = grant(world, waiver(world))
    ids.append(given.id)
    run_id = world.request()
    run = world.run(run_id)
    assert run["state"] == "failed"
    assert f"{LIB} was admitted by {given.id}, which " in run["reason"]
    ending = {
        "expired": "ended at",
        "revoked": "was revoked by bob",
        "forgotten": "is not known",
        "garbled": "cannot",
    }
    assert f"{given.id}, which {ending[end]}" in run["reason"]
    assert world.repositories()["dmz-python"] == []


def test_a_replay_of_the_verdicts_does_not_ship_by_what_was_revoked(world: World) -> None:
    world.inner = lambda _: None
    given = grant(world, waiver(world))
    run_id = world.request()
    assert world.run(run_id)["state"] == "running"
    revoke(world, given.id)
    written = next(each for each in world.bus.published if each.type == "verdicts-written")
    world.bus.send("verdicts-written", written.body(), {"replay-id": "again"})
    world.quiet()
    assert "was revoked by bob@example.org" in world.run(run_id)["reason"]


def test_a_verdict_that_needs_no_waiver_needs_none_of_the_store(world: World) -> None:
    run_id = world.request()
    found = verdict(world, run_id, LIB).model_copy(update={"waivers": ("waiver-0123456789ab",)})
    waivers.check_still([found], world.store, world.clock())  # it is blocked, so nothing is shipped by it
    named = waiver(world)
    assert waivers.leaned_on([found.model_copy(update={"waivers": (named.id,)})], [named]) == []
    allowed = found.model_copy(update={"decision": "allow"})
    with pytest.raises(Permanent, match="waiver-0123456789ab, which is not known any more"):
        waivers.check_still([allowed], world.store, world.clock())
