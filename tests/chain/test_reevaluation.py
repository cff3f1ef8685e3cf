"""A flaw becomes known after the install, on the real emulators: what holds it is judged again, and it goes out."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import pytest
from google.api_core.client_options import ClientOptions
from google.cloud import artifactregistry_v1
from google.oauth2.credentials import Credentials

from functions.local.project import OPERATOR, account
from functions.local.pubsub import PubSub
from shared.emulators import tokens
from shared.held.reevaluation import standing_id
from shared.machines import vm_name
from shared.model.lock import Lock
from tests.chain.goods import module
from tests.chain.system import PATIENCE, System, eventually
from tests.chain.world import World, flaw, from_stage

COURIER, FILE = "pkg:pypi/courier@1.1", "courier-1.1-py3-none-any.whl"
RATE = "/opt/work/bin/python -c 'import depot; assert depot.rate == {}'"


def held(system: System) -> set[str]:
    """File names in the Python repository, by Google's own client."""
    token = tokens.mint(tokens.load_key(system.layout.token_key), account(OPERATOR), time.time())
    client = artifactregistry_v1.ArtifactRegistryClient(
        credentials=Credentials(token),
        transport="rest",
        client_options=ClientOptions(api_endpoint=f"http://{system.up.addresses['registry']}"),
    )
    parent = f"projects/{system.up.project}/locations/us-central1/repositories/dmz-python"
    return {file.name.rpartition("%2F")[2] for file in client.list_files(parent=parent)}


def refresh(system: System, id: str) -> None:
    system.publish("advisories-refreshed", b"{}", {"ce-id": id})


class Seen:
    """Everything that is published to some topics from now on."""

    def __init__(self, system: System, *topics: str) -> None:
        self._base = f"http://{system.up.addresses['pubsub']}/v1/projects/{system.up.project}"
        self._topics, self._events = topics, dict[str, tuple[str, Any]]()
        for topic in topics:
            PubSub(system.up.addresses["pubsub"], system.up.project).subscribe(f"see--{topic}", topic)

    def events(self, topic: str) -> list[Any]:
        """Each event once, however often it was delivered."""
        for each in self._topics:
            name = f"{self._base}/subscriptions/see--{each}"
            wish = {"maxMessages": 100, "returnImmediately": True}
            answer = httpx.post(f"{name}:pull", json=wish, timeout=60, trust_env=False).json()
            for one in answer.get("receivedMessages", []):
                message = one["message"]
                self._events[message["attributes"]["ce-id"]] = (
                    each,
                    json.loads(base64.b64decode(message["data"])),
                )
                acknowledged = {"ackIds": [one["ackId"]]}
                httpx.post(f"{name}:acknowledge", json=acknowledged, timeout=60, trust_env=False)
        return [data for where, data in self._events.values() if where == topic]


@pytest.fixture(scope="module")
def run_id(system: System) -> str:
    """A run whose inner VM is still up, with courier 1.1."""
    name = system.request("before-the-flaw", after="keep")
    assert system.ended(name)["state"] == "completed", system.get("runs", name)
    return name


def test_a_flaw_that_becomes_known_evicts_although_sync_dies_over_it(
    system: System, world: World, run_id: str
) -> None:
    seen = Seen(system, "verdict-changed", "package-evicted", "holdings-listed")
    refresh(system, "nothing-new")
    eventually(lambda: system.get("reevaluations", "latest"))
    assert system.get("reevaluations", "latest")["unanswered"] == 0, system.get("reevaluations", "latest")
    assert seen.events("verdict-changed") == []
    before = held(system)
    assert FILE in before

    world.shelf.add("courier", module("courier", "1.2", "rate = 12"))
    world.publish_advisories(flaw("GHSA-new", "courier", ("introduced", "0"), ("fixed", "1.2")))
    # The index is asked for a relock once the file is gone, and before that is committed: there sync is killed.
    hold = world.hold("/simple/courier/", lambda request: from_stage(request) and FILE not in held(system))
    refresh(system, "news")
    assert hold.reached.wait(PATIENCE), system.get("reevaluations", "latest")
    assert before - held(system) == {FILE}
    assert seen.events("package-evicted") == []
    system.kill("sync")
    hold.go.set()

    (changed,) = eventually(lambda: seen.events("verdict-changed"))
    assert (changed["purl"], changed["before"], changed["after"]) == (COURIER, "allow", "block")
    assert "GHSA-new" in changed["reason"]
    (evicted,) = eventually(lambda: seen.events("package-evicted"))
    assert (evicted["purl"], evicted["repository"], evicted["files"], evicted["reason"]) == (
        COURIER,
        "dmz-python",
        1,
        "",
    )
    assert before - held(system) == {FILE}

    affected = system.get("affected", standing_id(COURIER))
    assert [(each["run_id"], each["vm"]) for each in affected["runs"]] == [(run_id, vm_name("inner", run_id))]
    assert affected["machines"] == 1
    (relock,) = affected["relocks"]
    rows = [(row["names"], row["from"], row["to"]) for row in relock["changes"]["rows"]]
    assert rows == [(["courier"], "1.1", "1.2")]
    assert system.get("runs", run_id)["affected"][standing_id(COURIER)]["after"] == "block"
    proposed = Lock.read(system.connection.blobs.get(relock["proposal"]), "The proposal")

    # Once more with the same data: nothing is published.
    judged = system.get("reevaluations", "latest")["at"]
    refresh(system, "again")
    eventually(lambda: system.get("reevaluations", "latest")["at"] > judged)
    assert len(seen.events("holdings-listed")) == 3
    assert len(seen.events("verdict-changed")) == len(seen.events("package-evicted")) == 1

    # Who asks again gets what was proposed.
    run = system.ended(system.request("after-the-flaw", smoke=RATE.format(12)))
    assert run["state"] == "completed", run
    assert system.lock(run).environments == proposed.environments
    assert FILE not in held(system)
