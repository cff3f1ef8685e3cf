"""Every event three times, late and out of order, and old ones after the end: nothing of it shows."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from functions.local import leftovers
from shared.machines import vm_name
from tests.chain.echo import Echo
from tests.chain.goods import module
from tests.chain.system import System, eventually, wanted
from tests.chain.test_kills import install
from tests.chain.world import World

EVENTS = {
    "run-requested": 1,
    "outer-install-completed": 1,
    "manifest-published": 1,
    "verdicts-written": 1,
    "sync-shard-planned": 1,
    "sync-completed": 1,
    "inner-install-completed": 1,
    "run-completed": 1,
}
"""What a run of one shard publishes, by their ids: a copy that comes while the original is about to send its outbox
sends it, too, so an event may be told twice."""


def everything(system: System, run_id: str) -> dict[str, Any]:
    """What the run has left in the world, of which a duplicate must change nothing."""
    documents = system.connection.documents
    return {
        "run": system.get("runs", run_id),
        "vms": [system.get("vms", vm_name(kind, run_id)) for kind in ("outer", "inner")],
        "syncs": sorted(documents.find("syncs", "run_id", run_id), key=str),
        "shards": sorted(documents.find("shards", "run_id", run_id), key=str),
        "verdicts": sorted(documents.find("verdicts", "run_id", run_id), key=str),
        "files": [system.files(name) for name in ("dmz-python", "trixie", "dmz-generic")],
        "created": system.creations(),
    }


@pytest.fixture(scope="module")
def system(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Nobody dies here, so leases may be long: a copy waits for the original however slow the machine is."""
    made = System.start(tmp_path_factory.mktemp("platform") / "state", world, DMZ_LEASE_SECONDS="40")
    yield made
    made.stop()
    assert leftovers.processes(made.layout.home) == []


_BAD = re.compile(r'"severity": "(?!INFO")|Traceback')


@pytest.mark.parametrize("seed", [7])
def test_every_event_three_times_and_old_ones_after_the_end(system: System, world: World, seed: int) -> None:
    path = world.shelf.add("parcel", module("parcel", "1.0", ""))
    known = {stage: set(system.claims(stage, done=True)) for stage in ("outer", "scanner", "sync", "inner")}
    with Echo(system.up, random.Random(seed)) as echo:  # noqa: S311 - to be repeated, not to be secret
        run_id = system.request("echoed", install=install("parcel"))
        run = system.ended(run_id)
        assert run["state"] == "completed", run
        eventually(lambda: any(topic == "run-completed" for topic, _ in echo.heard))
        time.sleep(4)  # late copies come still
        before = everything(system, run_id)
        echo.repeat()
        echo.repeat()
        eventually(lambda: quiet(system, known), "the end of the old events")
        time.sleep(1)
        heard = {
            (topic, message.get("attributes", {}).get("ce-id", message["messageId"]))
            for topic, message in echo.heard
        }
    after = everything(system, run_id)
    assert after == before
    assert Counter(topic for topic, _ in heard) == EVENTS
    # Fetched once, uploaded once: the repositories hold what the lock names, and it came from upstream in one go.
    assert system.stored() == wanted(system.lock(run), run)
    assert world.fetched(path) == 1
    assert after["created"] == {vm_name("outer", run_id): 1, vm_name("inner", run_id): 1}
    assert [record["state"] for record in after["vms"]] == ["ended", "ended"]
    assert system.vms() == {}
    # No stage has refused a copy or asked for it again.
    logs = {stage: (system.layout.logs / f"{stage}.log").read_text() for stage in known}
    assert {stage: text for stage, text in logs.items() if _BAD.search(text)} == {}
    for stage, keys in known.items():
        new = {key: claim for key, claim in system.claims(stage, done=True).items() if key not in keys}
        assert {claim["attempt"] for claim in new.values()} <= {1}, new


def quiet(system: System, known: dict[str, set[str]]) -> bool:
    return not any(system.claims(stage, done=False) for stage in known)


def test_the_same_request_twice_is_one_run_and_another_id_another(system: System) -> None:
    first = system.request("twice")
    assert system.request("twice") == first
    second = system.request("thrice")
    runs = [system.ended(run_id) for run_id in (first, second)]
    assert [run["state"] for run in runs] == ["completed", "completed"]
    assert runs[0]["lock"] == runs[1]["lock"]
    created = system.creations()
    for run_id in (first, second):
        assert [created[vm_name(kind, run_id)] for kind in ("outer", "inner")] == [1, 1]
