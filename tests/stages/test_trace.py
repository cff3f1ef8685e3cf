"""A run is one trace: every event, both VMs with the steps of their installs, every shard."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import handling
from shared.events import Delivery, decode, run_id_of
from shared.model import trace as tracing
from shared.model.trace import Span, span
from tests.stages import guests
from tests.stages.world import World

CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Callable[..., World]]:
    worlds: list[World] = []

    def make(**given: Any) -> World:
        (folder := tmp_path / str(len(worlds))).mkdir()
        worlds.append(World(folder, **given))
        return worlds[-1]

    yield make
    for world in worlds:
        world.bus.close()


def spans(world: World, run_id: str) -> dict[str, Span]:
    return {(one := span(fields)).id: one for _, fields in world.store.find("spans", "run_id", run_id)}


def shape(found: dict[str, Span]) -> set[tuple[str, str, str]]:
    """(name, outcome, parent's name) of each span that was not tried again."""
    return {
        (one.name, one.outcome, found[one.parent].name if one.parent in found else "")
        for one in found.values()
        if one.outcome != "retried"
    }


CHAIN = {
    ("outer run-requested", "done", ""),
    ("outer VM", "installed", "outer run-requested"),
    ("outer VM: install", "done", "outer VM"),
    ("outer outer-install-completed", "done", "outer VM"),
    ("scanner manifest-published", "done", "outer outer-install-completed"),
    ("sync verdicts-written", "done", "scanner manifest-published"),
    ("sync sync-shard-planned 0", "done", "sync verdicts-written"),
    ("inner VM", "installed", "inner sync-completed"),
    ("inner VM: install", "done", "inner VM"),
    ("inner inner-install-completed", "done", "inner VM"),
}


def test_a_run_is_one_trace_that_hangs_together(made: Callable[..., World]) -> None:
    world = made()
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    found = spans(world, run_id)
    assert shape(found) >= CHAIN
    (shards,) = ({one.parent for one in found.values() if one.name == "inner sync-completed"},)
    assert {found[each].name.rpartition(" ")[0] for each in shards} == {"sync sync-shard-planned"}
    assert {one.trace for one in found.values()} == {tracing.trace_id(run_id)}
    assert {each.trace for each in world.bus.published} == {tracing.trace_id(run_id)}
    assert all(tracing.read(each.traceparent) for each in world.bus.published)
    brought = [one.attributes for one in found.values() if "shard" in one.attributes]
    assert sum(int(each["bytes"]) for each in brought) > 0
    assert all(one.ended is not None and one.ended >= one.started for one in found.values())


def test_duplicates_add_nothing_to_a_trace(made: Callable[..., World]) -> None:
    """The ids of spans follow from the events: whoever handles them, and however often they come."""
    once, twice = made(), made(copies=3, max_delay=0.02, seed=7)
    alone, several = (
        Counter((one.name, one.outcome) for one in spans(world, world.request()).values())
        for world in (once, twice)
    )
    assert alone == several


def test_a_callers_trace_is_gone_on_with_and_what_a_vm_says_of_it_is_not(made: Callable[..., World]) -> None:
    other = "00-" + "ab" * 16 + "-00f067aa0ba902b7-01"
    world = made(outer=lambda _config: None)
    run_id = world.request(attributes={"traceparent": CALLER})
    (config,) = world.configs.values()
    world.report(config, guests.outer(config, world.claim()), traceparent=other)
    world.quiet()
    assert world.run(run_id)["state"] == "completed"
    found = spans(world, run_id)
    assert {one.trace for one in found.values()} == {CALLER[3:35]}
    assert {each.trace for each in world.bus.published} == {CALLER[3:35]}
    (first,) = (one for one in found.values() if one.name == "outer run-requested")
    assert first.parent == CALLER[36:52]
    assert ("outer outer-install-completed", "done", "outer VM") in shape(found)


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "x",
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        CALLER.upper(),
        CALLER + "-more",
        "ff" + CALLER[2:],
        CALLER.replace("-01", "-1"),
        "00-\u0664" + CALLER[4:],
        "01" + CALLER[2:] + "-" + "x" * 300,
    ],
)
def test_a_traceparent_that_is_none_is_as_if_it_were_not_there(broken: str) -> None:
    names = {"ce-id": "one", "traceparent": broken}
    event = decode(Delivery(b'{"workload":"quickstart"}', "run-requested", names))
    assert event.traceparent == ""
    assert event.trace == tracing.trace_id(run_id_of("one"))


def test_a_vm_is_told_its_place_in_the_trace(made: Callable[..., World]) -> None:
    world = made(outer=lambda _config: None)
    run_id = world.request(attributes={"traceparent": CALLER[:-1]})
    (config,) = world.configs.values()
    place = tracing.read(config.attributes["traceparent"])
    assert place is not None
    assert place.trace == tracing.trace_id(run_id)


def test_a_later_version_of_the_standard_is_read() -> None:
    place = tracing.read(CALLER)
    assert place is not None
    assert tracing.read("01" + CALLER[2:] + "-what-ever") == place


def test_what_the_watchdog_ends_stands_in_the_runs_trace(made: Callable[..., World]) -> None:
    world = made(outer=lambda _config: None)
    run_id = world.request(attributes={"traceparent": CALLER})
    world.ahead = 7 * 86_400
    world.sweep()
    assert world.run(run_id)["state"] == "failed"
    found = spans(world, run_id)
    assert ("outer watchdog: run-failed", "done", "") in shape(found)
    assert ("inner run-failed", "done", "outer watchdog: run-failed") in shape(found)
    assert {one.trace for one in found.values()} == {CALLER[3:35]}
    (silent,) = (one for one in found.values() if one.name == "outer VM")
    assert silent.ended is None


def test_a_failed_install_is_a_vm_that_failed(made: Callable[..., World]) -> None:
    world = made(outer=lambda config: guests.outer_failed(config, "no such package\n"))
    run_id = world.request()
    assert ("outer VM", "failed", "outer run-requested") in shape(spans(world, run_id))


def test_nonsense_of_a_vm_about_its_steps_is_bounded(made: Callable[..., World]) -> None:
    claimed = {f"s{number}": 1e300 for number in range(100)} | {"install": -5.0, "apt": 1e300}
    world = made(
        outer=lambda config: (
            guests.outer(config, world.claim()) | {"seconds": dict(list(claimed.items())[-99:])}
        )
    )
    run_id = world.request()
    found = spans(world, run_id)
    steps = [one for one in found.values() if one.name.startswith("outer VM: ")]
    (vm,) = (one for one in found.values() if one.name == "outer VM")
    assert 0 < len(steps) <= 20
    assert all(vm.started <= one.started <= (one.ended or 0) <= (vm.ended or 0) for one in steps)
    assert run_id == run_id_of("request-1")


def test_a_vms_record_out_of_which_no_span_can_be_made_fails_no_report(
    made: Callable[..., World], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_vm = handling.of_vm
    monkeypatch.setattr(
        handling, "of_vm", lambda event, record, now: of_vm(event, {**record, "asked": None}, now)
    )
    world = made()
    run_id = world.request()
    assert "manifest" in (world.store.get("runs", run_id) or {})
