"""Several runs at once on one platform: what they left, counted from every side. Nothing twice, nothing lost."""

from __future__ import annotations

import base64
import json
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from functions.local.pubsub import PubSub
from shared.delivery import ENDED
from shared.events import SUBSCRIBERS, TYPES
from shared.gcp.firestore import FirestoreStore
from shared.machines import vm_name
from shared.model.payloads import SyncShardPlanned
from shared.model.plan import Plan, Shard, Transfer
from shared.ports.store import Document
from tests.chain.system import REPOSITORIES, System, wanted

_LINE = re.compile(r'^\{.*"event": "event-handled".*\}$', re.MULTILINE)
_QUIET = ("sweep-requested", "nonce-issued")
"""Come by the clock, or belong to no run."""


@dataclass
class Heard:
    """Every message of every topic from `begin` on, as a subscriber besides the stages gets them."""

    system: System
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def begin(cls, system: System) -> Heard:
        heard = cls(system)
        for topic in heard._topics:
            heard._pubsub.subscribe(f"heard--{topic}", topic)
        return heard

    def listen(self) -> None:
        """Take in what has come since."""
        for topic in self._topics:
            name = f"heard--{topic}"
            while found := self._pubsub.pull(name):
                self._pubsub.acknowledge(name, [each["ackId"] for each in found])
                self.messages[topic] += [each["message"] for each in found]

    def of(self, topic: str) -> dict[str, list[str]]:
        """Run to the event ids of its messages, in the order in which they came."""
        found: dict[str, list[str]] = defaultdict(list)
        for message in self.messages[topic]:
            body = json.loads(base64.b64decode(message.get("data", "")) or b"{}")
            found[str(body.get("run_id", ""))].append(message["attributes"]["ce-id"])
        return found

    def twice(self) -> Counter[str]:
        """Topic to how many messages were an event that had been published before."""
        found: Counter[str] = Counter()
        for topic, messages in self.messages.items():
            found[topic] = len(messages) - len({each["attributes"]["ce-id"] for each in messages})
        return +found

    def bodies(self, topic: str) -> Iterator[bytes]:
        for message in self.messages[topic]:
            yield base64.b64decode(message.get("data", ""))

    @property
    def _topics(self) -> list[str]:
        return [topic for topic in TYPES if topic not in _QUIET]

    @property
    def _pubsub(self) -> PubSub:
        return PubSub(self.system.up.addresses["pubsub"], self.system.up.project)


@dataclass(frozen=True)
class Counted:
    """What the stages say in their logs of their tries at events."""

    outcomes: Mapping[str, int]
    """`done`, `retried`, `failed`, `duplicate` to how often."""
    events: int
    """Different events that were handled."""


def counted(system: System) -> Counted:
    outcomes: Counter[str] = Counter()
    events = set()
    for stage in SUBSCRIBERS:
        for line in _LINE.findall((system.layout.logs / f"{stage}.log").read_text(errors="replace")):
            said = json.loads(line)
            outcomes[said["outcome"]] += 1
            events.add((stage, said["event_type"], said["event_id"]))
    return Counted(outcomes, len(events))


def ended(system: System, run_ids: Sequence[str], seconds: float) -> dict[str, Document]:
    """The documents of all runs, once each has ended and nothing is under way; those of the last look if patience ends.

    After a run's end its VMs are still deleted, and the ends of deliveries written.
    """
    deadline = time.monotonic() + seconds
    while True:
        runs = {run_id: system.get("runs", run_id) for run_id in run_ids}
        over = all(run.get("state") in ENDED for run in runs.values())
        if over and not system.vms() and not any(system.claims(stage, done=False) for stage in SUBSCRIBERS):
            return runs
        if time.monotonic() > deadline:
            return runs
        time.sleep(0.3)


def troubles(
    system: System, runs: Mapping[str, Document], heard: Heard, before: Mapping[str, set[str]]
) -> list[str]:
    """One sentence for each thing that does not hold. `before`: what the repositories held when the runs began."""
    heard.listen()
    found = []
    creations = system.creations()
    for run_id, run in runs.items():
        found += [f"{run_id} {said}" for said in _of_run(system, run_id, run, creations, heard)]
    found += _of_repositories(system, runs, before)
    store = system.connection.documents
    assert isinstance(store, FirestoreStore)
    left = store.stale_outbox(time.time() + 3600)
    found += [f"{key} has left {event.type} in its outbox" for key, event in left]
    letters = json.loads(system.dmz("dead-letters", "list", "--json").stdout or "[]")
    found += [f"dead letter of {letter['topic']}: {letter['reason']}" for letter in letters]
    found += [f"the VM {name} is still {state}" for name, state in system.vms().items()]
    for stage in SUBSCRIBERS:
        found += [f"{key} is not finished" for key in system.claims(stage, done=False)]
    return found


def _of_run(
    system: System, run_id: str, run: Document, creations: Mapping[str, int], heard: Heard
) -> Iterator[str]:
    """It ended once and says how, with one VM of each kind, and its shards add up."""
    state = run.get("state")
    if state not in ENDED:
        yield f"is {state}, in {run.get('stage')}"
        return
    if state == "failed" and not run.get("reason"):
        yield "failed without a reason"
    for topic, expected in (("run-completed", state == "completed"), ("run-failed", state == "failed")):
        ids = heard.of(topic).get(run_id, [])
        if len(set(ids)) != int(expected):
            yield f"was told to be over by {len(set(ids))} events {topic}"
    for kind in ("outer", "inner"):
        number = creations.get(vm_name(kind, run_id), 0)
        if number > 1 or (state == "completed" and number != 1):
            yield f"has had {number} {kind} VMs"
    if state == "completed":
        yield from _of_sync(system, run_id, run, heard)


def _of_sync(system: System, run_id: str, run: Document, heard: Heard) -> Iterator[str]:
    """Shards done are shards planned; files and bytes are those of the plan, by what the repositories hold."""
    documents = system.connection.documents
    syncs, shards = documents.find("syncs", "run_id", run_id), documents.find("shards", "run_id", run_id)
    if len(syncs) != 1:
        yield f"has {len(syncs)} plans"
        return
    ((_, plan),) = syncs
    if not plan["shards"] == plan.get("done") == len(shards):
        yield f"has {plan['shards']} shards, {plan.get('done')} done, {len(shards)} on record"
    for name in ("artifacts", "bytes"):
        numbers = [sum(each[name] for _, each in shards), plan.get(name), run["mirrored"][name]]
        if len(set(numbers)) != 1:
            yield f"has mirrored {name} as its shards, its plan and its own document say: {numbers}"
    sizes = {(name, sha256): size for name in REPOSITORIES for sha256, size in sizes_of(system, name).items()}
    planned = [sizes.get((each.repository, each.sha256), -1) for each in _planned(system, run_id, heard)]
    if (len(planned), sum(planned)) != (run["mirrored"]["artifacts"], run["mirrored"]["bytes"]):
        yield (
            f"planned {len(planned)} files of {sum(planned)} bytes and has mirrored "
            f"{run['mirrored']['artifacts']} of {run['mirrored']['bytes']}"
        )


def _planned(system: System, run_id: str, heard: Heard) -> Iterator[Transfer]:
    """Everything that the run's one plan wanted to carry."""
    said = [SyncShardPlanned.read(body, "A planned shard") for body in heard.bodies("sync-shard-planned")]
    blobs = system.connection.blobs
    for digest in {each.plan for each in said if each.run_id == run_id}:
        for part in Plan.read(blobs.get(digest), "The plan").parts:
            yield from (each.transfer for each in Shard.read(blobs.get(part), "The shard").files)


def _of_repositories(
    system: System, runs: Mapping[str, Document], before: Mapping[str, set[str]]
) -> Iterator[str]:
    """They hold what was there, and the union of what the completed runs' locks and papers name."""
    should = {name: set(before.get(name, ())) for name in REPOSITORIES}
    for run in runs.values():
        # Of a failed one its files may be there, or not: it says nothing of papers.
        if run.get("state") == "completed":
            for name, hashes in wanted(system.lock(run), run).items():
                should[name] |= hashes
    if any(run.get("state") != "completed" for run in runs.values()):
        return
    held = system.stored()
    for name in REPOSITORIES:
        if lost := should[name] - held[name]:
            yield f"{name} lacks {len(lost)} files that a lock names, {min(lost)} first"
        if more := held[name] - should[name]:
            yield f"{name} holds {len(more)} files that no lock names, {min(more)} first"
        if len(held[name]) != len(system.files(name)):
            yield f"{name} holds {len(system.files(name))} files with {len(held[name])} contents"


def sizes_of(system: System, repository: str) -> dict[str, int]:
    """sha256 to bytes of what a repository holds."""
    found = {}
    for file in system.files(repository):
        value = next(one["value"] for one in file["hashes"] if one["type"] == "SHA256")
        found["sha256:" + base64.b64decode(value).hex()] = int(file["sizeBytes"])
    return found
