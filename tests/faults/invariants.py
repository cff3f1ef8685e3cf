"""What must be true after whatever has happened: the one function that every round is judged by.

1. Each run has ended once: completed, or failed with one sentence that names what was injected, or what that caused.
2. It has cost one VM of each kind at most, and none is left of it.
3. The counts reconcile: the shards planned are the shards done, and files and bytes are the sums of theirs.
4. The repositories hold only what upstream truly published, under its name, byte for byte; every file has a record of
   how it came in, a file by URL its proof, and a lock that names it.
5. Nothing waits for ever: no event in an outbox, no claim without an end, no temporary file, no half of an upload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from shared.bom.names import is_document
from shared.held_files import RECORDS, record_id
from shared.machines import vm_name
from shared.model.lock import Lock
from shared.model.plan import transfers
from tests.chain.system import REPOSITORIES, wanted

if TYPE_CHECKING:
    from tests.faults.kit import Kit, Round

_LONGEST_REASON = 2500
_ENDED = ("run-completed", "run-failed")


def problems(kit: Kit, round_: Round) -> list[str]:
    """What is wrong, each in a sentence; empty is what a round wants."""
    found = [each for run_id in round_.runs for each in of_run(kit, round_, run_id)]
    return [*found, *repositories(kit), *_of_scratch(kit, round_), *_of_store(kit)]


# --- runs ---


def of_run(kit: Kit, round_: Round, run_id: str) -> Iterator[str]:
    """1, 2, 3."""
    run = kit.system.get("runs", run_id)
    state = run.get("state")
    if state not in ("completed", "failed"):
        yield f"{run_id} has not ended: {run}."
        return
    if kit.system.get("endings", run_id).get("state") != state:  # 1
        yield f"{run_id} is {state}, and its ending is not."
    ends = ends_of(kit, run_id)
    if len(ends) != 1:
        yield f"{run_id} was told to have ended {len(ends)} times: {sorted(ends)}."
    yield from _of_machines(kit, run_id, state)
    if state == "failed":
        yield from of_reason(round_, run_id, str(run.get("reason", "")))
    else:
        yield from _of_counts(kit, run_id, run)


def ends_of(kit: Kit, run_id: str) -> set[str]:
    """Ids of the events that told everybody of the run's end."""
    return {each.id for each in kit.heard(_ENDED) if each.run_id == run_id}


def of_reason(round_: Round, run_id: str, reason: str) -> Iterator[str]:
    """1: a sentence, and one that is about what was done to the run."""
    if not reason.strip() or len(reason) > _LONGEST_REASON or "\n" in reason or not reason.endswith("."):
        yield f"{run_id} failed, and its reason is no sentence: {reason!r}."
    if "Traceback" in reason or "has a defect" in reason:
        yield f"{run_id} failed by a defect: {reason}"
    marks = [mark for fault in round_.faults for mark in fault.marks]
    if not any(re.search(mark, reason) for mark in marks):
        yield f"{run_id} failed, and nothing that was injected explains it: {reason}"


def _of_machines(kit: Kit, run_id: str, state: str) -> Iterator[str]:
    created = kit.created[run_id]
    for kind in ("outer", "inner"):  # 2
        if created[kind] > 1 or (state == "completed" and created[kind] != 1):
            yield f"{run_id} is {state}, and its {kind} VM was made {created[kind]} times."
        if vm_name(kind, run_id) in kit.system.vms():
            yield f"{run_id} has ended, and its VM {vm_name(kind, run_id)} is left."


def _of_counts(kit: Kit, run_id: str, run: dict[str, Any]) -> Iterator[str]:
    documents = kit.system.connection.documents
    syncs = [(name, each) for name, each in documents.find("syncs", "run_id", run_id) if each.get("shards")]
    for name, sync in syncs:  # 3
        shards = [
            each for key, each in documents.find("shards", "run_id", run_id) if key.startswith(f"{name}-")
        ]
        if sync["lock"] != run["lock"]:
            continue
        sums = {field: sum(int(each[field]) for each in shards) for field in ("artifacts", "bytes")}
        counted = {field: int(sync.get(field, 0)) for field in sums}
        if not sync["shards"] == sync.get("done") == len(shards):
            yield f"{name} has {sync['shards']} shards, {sync.get('done')} done and {len(shards)} documents."
        if counted != sums:
            yield f"{name} counts {counted}, and its shards {sums}."
    if run["mirrored"] not in [
        {field: int(each.get(field, 0)) for field in ("artifacts", "bytes")} for _, each in syncs
    ]:
        yield f"{run_id} says {run['mirrored']}, and its syncs {syncs}."
    held = kit.system.stored()
    for repository, hashes in wanted(kit.system.lock(run), run).items():
        if absent := hashes - held[repository]:
            yield f"{run_id} is completed, and {repository} lacks {sorted(absent)}."


# --- repositories ---


def repositories(kit: Kit) -> Iterator[str]:
    """4: what is new since the last look is downloaded, whole; all of it must have its papers."""
    locks: dict[str, Lock] = {}
    listed = []
    for repository in REPOSITORIES:
        for file in kit.system.files(repository):
            name, content = kit.content(repository, file)
            listed.append((repository, name, content))
            if name.startswith("lock:"):
                locks[name] = Lock.read(kit.bytes_of(content), f"The lock {name}")
    named = {
        (each.repository, each.sha256): each
        for lock in locks.values()
        for each in transfers(lock, "dmz-python", lock.release.codename, "dmz-generic")
    }
    for repository, name, content in listed:
        yield from _of_file(kit, repository, name, content, named)


def _of_file(
    kit: Kit, repository: str, name: str, content: str, named: dict[tuple[str, str], Any]
) -> Iterator[str]:
    if name.startswith("lock:"):
        if name != f"lock:{content[7:]}:lock.json":
            yield f"{repository} holds {name} with the content {content}."
        return
    if is_document(name, content):
        return
    if not _is_true(kit.truth.get(content), repository, name):
        yield f"{repository} holds {name} with {content}, which upstream never published under this name."
    if (repository, content) in kit.forgiven:
        return
    document = kit.system.get(RECORDS, record_id(repository, content))
    if not document:
        yield f"{repository} holds {name}, and no record says how it came in."
    transfer = named.get((repository, content))
    if transfer is None:
        yield f"{repository} holds {name}, and no lock names it."
    elif transfer.proof and not kit.system.get("proved", transfer.proof):
        yield f"{repository} holds {name}, and nothing proves its URL."


def _is_true(published: str | None, repository: str, name: str) -> bool:
    """Whether upstream has published these bytes as the file of this name; a file by URL is named by its hash."""
    if published is None or repository == "dmz-generic":
        return published is not None
    # Artifact Registry adds a word of its own to the name of an archive.
    return name == published or name.startswith(f"{published.removesuffix('.deb')}_")


# --- what is left ---


def _of_scratch(kit: Kit, round_: Round) -> Iterator[str]:
    left = kit.scratch_files() - round_.scratch_before  # 5
    if left and not any(fault.kills for fault in round_.faults):
        yield f"Temporary files are left: {sorted(left)}."


def _of_store(kit: Kit) -> Iterator[str]:
    """The registry's disk holds the content of its files and nothing else."""
    named = {content[7:] for hashes in kit.system.stored().values() for content in hashes}
    kept = {each.name for each in (kit.system.layout.registry / "blobs").glob("*/*")}
    if kept != named:  # 5
        yield f"The registry keeps {sorted(kept - named)} for no file, and lacks {sorted(named - kept)}."


def waits(kit: Kit, round_: Round) -> str:
    """5: what has not come to rest yet, in words; empty once everything has."""
    if untold := [run_id for run_id in round_.runs if not ends_of(kit, run_id)]:
        return f"nobody has heard of the end of {untold}"
    if left := kit.outbox():
        return f"{len(left)} events in outboxes, {left[0]} first"
    if busy := kit.open_claims():
        return f"the claims {sorted(busy)}"
    if staged := kit.staged():
        return f"the uploads {sorted(staged)} of the registry"
    return ""
