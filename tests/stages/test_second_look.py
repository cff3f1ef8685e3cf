"""Between the plan and the close: a waiver that ends, a package that is refused, a file that is taken out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from shared.errors import Permanent
from shared.events import Event
from shared.held.reevaluation import STANDING, standing_id
from shared.held_files import RECORDS, record_id
from shared.model.waiver import Waiver
from shared.ports.store import Bus, Document, Put
from shared.second_look import Basis
from tests.stages.waiving import LIB, grant, verdict, waiver
from tests.stages.world import WORKLOAD, World
from tests.support.claims import python

Make = Callable[..., World]
TOOL, WHEEL = "pkg:pypi/tool@1.0", "tool-1.0-py3-none-any.whl"


@dataclass
class Meanwhile:
    """Lets something happen once: when the shards are planned, or in the midst of a download."""

    marker: str = ""
    """Part of a URL; empty: as soon as a shard is planned, before anything is fetched."""
    happens: list[Callable[[], None]] = field(default_factory=list)

    def through(self, name: str, port: Any) -> Any:
        if name == "bus" and not self.marker:
            return _Bus(port, self)
        return _Downloads(port, self) if name == "downloads" and self.marker else port

    def now(self) -> None:
        while self.happens:
            self.happens.pop()()


@dataclass(frozen=True)
class _Bus:
    bus: Bus
    meanwhile: Meanwhile

    def publish(self, event: Event) -> None:
        if event.type == "sync-shard-planned":
            self.meanwhile.now()
        self.bus.publish(event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.bus, name)


@dataclass(frozen=True)
class _Downloads:
    port: Any
    meanwhile: Meanwhile

    def fetch(self, url: str, *given: Any, **more: Any) -> int:
        if self.meanwhile.marker in url:
            self.meanwhile.now()
        size: int = self.port.fetch(url, *given, **more)
        return size


def held(world: World) -> list[str]:
    return world.repositories()["dmz-python"]


# --- waivers ---


def end(world: World, given: Waiver, how: str) -> None:
    if how == "expired":
        world.ahead += 31 * 86_400.0
        return
    revoked = {"state": "revoked", "ended": {"by": "bob@example.org"}}
    world.store.put([Put("waivers", given.id, revoked, merge=True)])


@pytest.mark.parametrize(("how", "why"), [("revoked", "was revoked by bob"), ("expired", "ended at")])
@pytest.mark.parametrize("marker", ["", "lib-1.0"], ids=["before the first byte", "during the upload"])
def test_a_waiver_that_ends_after_the_plan_stops_the_run(make: Make, how: str, why: str, marker: str) -> None:
    meanwhile = Meanwhile(marker)
    world = make(through=meanwhile.through)
    given = grant(world, waiver(world))
    meanwhile.happens.append(lambda: end(world, given, how))
    run = world.run(world.request())
    assert run["state"] == "failed"
    assert f"{LIB} was admitted by {given.id}, which {why}" in run["reason"]
    assert world.events("sync-completed") == []
    if not marker:
        assert held(world) == []


def test_only_what_the_lock_holds_leans_on_a_waiver(world: World) -> None:
    """On the way to a lock, more is judged than gets into it."""
    run_id = world.request()
    (counted,) = (fields for _, fields in world.store.find("syncs", "run_id", run_id))
    basis = Basis.read(world.lock(run_id), WORKLOAD, counted["judged"], world.blobs)
    basis.check_waivers(world.settings, world.store, world.clock())
    leaning = verdict(world, run_id, TOOL).model_copy(update={"waivers": ("waiver-0123456789ab",)})
    beside = leaning.package.model_copy(update={"version": "9.9"})
    for package, stops in ((beside, False), (leaning.package, True)):
        some = basis.judged[0].model_copy(
            update={"verdicts": (leaning.model_copy(update={"package": package}),)}
        )
        other = replace(basis, judged=(*basis.judged, some))
        if not stops:
            other.check_waivers(world.settings, world.store, world.clock())
            continue
        with pytest.raises(Permanent, match="waiver-0123456789ab, which is not known any more"):
            other.check_waivers(world.settings, world.store, world.clock())


def test_a_lock_of_which_nobody_says_why_is_not_shipped(world: World) -> None:
    run_id = world.request()
    with pytest.raises(Permanent, match="Nobody says by which verdicts the lock sha256:"):
        Basis.read(world.lock(run_id), WORKLOAD, (), world.blobs)


# --- what was refused since ---


def stands(world: World, since: float, decision: str, *by_workload: tuple[str, str]) -> None:
    fields: Document = {
        "purl": TOOL,
        "decision": decision,
        "reason": "GHSA-new",
        "by_workload": [{"workload": name, "decision": said} for name, said in by_workload],
        "since": world.clock() + since,
    }
    world.store.put([Put(STANDING, standing_id(TOOL), fields)])


@pytest.mark.parametrize(
    ("since", "decision", "by_workload", "stops"),
    [
        (0.0, "block", [("small", "block")], True),
        (0.0, "hold", [("small", "hold")], True),
        (0.0, "allow", [("other", "allow"), ("small", "block")], True),
        (0.0, "block", [("other", "block")], True),
        (0.0, "block", [("other", "block"), ("small", "allow")], False),
        (0.0, "allow", [("other", "block")], False),
        (-3600.0, "block", [("small", "block")], False),
    ],
    ids=[
        "blocked",
        "held",
        "here alone",
        "for others",
        "elsewhere alone",
        "for one other",
        "before the verdict",
    ],
)
def test_what_was_refused_since_its_verdict_is_not_brought(
    make: Make, since: float, decision: str, by_workload: Sequence[tuple[str, str]], stops: bool
) -> None:
    meanwhile = Meanwhile()
    world = make(through=meanwhile.through)
    meanwhile.happens.append(lambda: stands(world, since, decision, *by_workload))
    run = world.run(world.request())
    if not stops:
        assert (run["state"], WHEEL in held(world)) == ("completed", True)
        return
    assert run["state"] == "failed"
    assert run["reason"] == f"{TOOL} was refused meanwhile (GHSA-new); run the workload again."
    assert WHEEL not in held(world)
    assert world.run(world.request())["state"] == "completed"  # judged anew, by what is known now


# --- what was taken out ---


def take_out(world: World, *, recorded: bool = True) -> None:
    """As an eviction does it: deleted first, then written down."""
    for stored in world.registry.stored("dmz-python"):
        if stored.name == WHEEL:
            world.registry.delete_version(stored.owner)
    if recorded:
        write_down(world)


def write_down(world: World) -> None:
    (file,) = world.market.projects["tool"]
    name = record_id("dmz-python", file.sha256)
    world.store.put([Put(RECORDS, name, {"evicted": world.clock()}, merge=True)])


@pytest.fixture
def taking(make: Make) -> tuple[World, Meanwhile]:
    """A world that holds everything but `newone`, and an upload of it in which something happens."""
    meanwhile = Meanwhile("newone")
    world = make(through=meanwhile.through)
    assert world.run(world.request())["state"] == "completed"
    wheel = world.market.wheel("newone", "1.0")
    first, *others = world.environments
    more = python("newone", "1.0", wheel, requested=True)
    world.environments = (first.model_copy(update={"packages": (*first.packages, more)}), *others)
    return world, meanwhile


def test_a_file_that_was_there_at_the_plan_and_was_evicted_ends_the_run(
    taking: tuple[World, Meanwhile],
) -> None:
    world, meanwhile = taking
    meanwhile.happens.append(lambda: take_out(world))
    run = world.run(world.request())
    assert run["state"] == "failed"
    assert run["reason"] == f"{TOOL} was refused meanwhile; run the workload again."
    assert world.run(world.request())["state"] == "completed"


def test_the_sweep_ends_it_where_the_eviction_was_written_down_late(taking: tuple[World, Meanwhile]) -> None:
    """What is merely not listed yet is waited for."""
    world, meanwhile = taking
    meanwhile.happens.append(lambda: take_out(world, recorded=False))
    run_id = world.request()
    world.sweep()
    assert world.run(run_id)["state"] == "running"
    write_down(world)
    world.sweep()
    run = world.run(run_id)
    assert (run["state"], run["reason"]) == (
        "failed",
        f"{TOOL} was refused meanwhile; run the workload again.",
    )
    world.sweep()
    assert len([each for each in world.events("run-failed") if each.run_id == run_id]) == 1


def test_a_file_that_is_never_listed_ends_the_run_after_its_time(taking: tuple[World, Meanwhile]) -> None:
    world, meanwhile = taking
    meanwhile.happens.append(lambda: take_out(world, recorded=False))
    run_id = world.request()
    world.ahead = 850
    world.sweep()  # when it is missed first, however long the run has taken
    world.ahead += 850
    world.sweep()
    assert world.run(run_id)["state"] == "running"
    world.ahead += 60
    world.sweep()
    run = world.run(run_id)
    assert (run["state"], run["stage"]) == ("failed", "sync")
    assert run["reason"].startswith(
        "1 uploaded files are not listed by the repositories after 15 minutes, sha256:"
    )
    assert run["reason"].endswith(" first; see who has deleted them there, and request the run again.")
