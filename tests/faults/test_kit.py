"""Two short rounds of the kit, and that its judge sees what it is there for. By hand it runs for hours."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from functions.local import leftovers
from shared.ports.store import Increment
from tests.faults import invariants
from tests.faults.kit import Kit, Round, Told

# Twice what a run may take, and a start; idle it is a minute.
pytestmark = pytest.mark.timeout(2400)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    with Kit(tmp_path_factory.mktemp("faults") / "kit", "suite") as up:
        yield up
    assert leftovers.processes(up.system.layout.home) == []


@pytest.fixture(scope="module")
def survived(kit: Kit) -> Told:
    """A round whose runs must complete, whatever happens to them."""
    kit.only = ["cut", "events", "kill", "outage", "slow"]
    return kit.play(1)


def test_a_round_of_broken_and_slow_connections_and_outages(survived: Told) -> None:
    assert survived.wrong == []
    assert set(survived.ends) == {"completed"}


def test_a_round_of_lies(kit: Kit, survived: Told) -> None:
    kit.only = ["lie"]
    told = kit.play(2)
    assert told.wrong == []
    assert told.faults


def test_what_nobody_has_published_is_seen(kit: Kit, survived: Told) -> None:
    assert list(invariants.repositories(kit)) == []
    for content, name in list(kit.truth.items()):
        if name.startswith("dmz-program_") or name == "table1.csv":
            del kit.truth[content]
    found = list(invariants.repositories(kit))
    assert sorted(each.split(" holds ")[0] for each in found) == ["dmz-generic", "trixie"], found
    assert all("which upstream never published" in each for each in found)


def test_a_count_that_is_off_and_a_reason_that_nothing_explains_are_seen(kit: Kit, survived: Told) -> None:
    round_: Round = kit.rounds[1]
    run_id = round_.runs[0]
    documents = kit.system.connection.documents
    name, sync = next(
        (name, each) for name, each in documents.find("syncs", "run_id", run_id) if each.get("shards")
    )
    documents.put([Increment("syncs", name, "bytes", 1)])
    found = invariants.of_run(kit, round_, run_id)
    assert len(list(found)) >= 1, sync
    assert any("and its shards" in each for each in invariants.of_run(kit, round_, run_id))
    calm = replace(round_, faults=[])
    assert list(invariants.of_reason(calm, run_id, "It rained.")) == [
        f"{run_id} failed, and nothing that was injected explains it: It rained."
    ]
