"""What lies in the private repositories and no lock of a remembered run needs any more, and its deletion.

1. Needed is every file of the lock of every run that the store remembers, whatever became of it, and of the lock that
   its inner VM has installed. A lock that cannot be read needs everything: then nothing is collected.
2. What is deleted is a version, as Artifact Registry can do no other. One file that is needed keeps all of its version,
   and so nothing has to be brought back.
3. What came in within `days` stays, as somebody may be about to use it; what has no record stays, since nobody knows
   when it came or how it could come again. It is an alarm already (`shared.held.holdings`).
4. While a run goes on nothing is deleted: its plan counts on what it found there. That is looked at before each
   version, and whether a run that began and ended since the last look has left a lock: it may need what none did.
5. Before a version is deleted its records say that it goes. A run that planned in between ends with a sentence, and
   does not wait for files; where the deletion fails, the records say again what they said. A version that was evicted
   since, or came in once more, is another's to speak of.

Locks and papers (bills of materials, VEX) are left alone: they install nothing, and are small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from shared.bom.names import is_document
from shared.creation import vm_name
from shared.errors import DmzError, Permanent, Transient
from shared.held.holdings import repositories, wanted
from shared.held_files import RECORDS, record_id
from shared.model.lock import Lock
from shared.model.value import Digest
from shared.ports.registry import Registry, Stored
from shared.ports.store import Document, Put, Write
from shared.settings import Settings

_DAY = 86_400.0
_LOOKS = 10
"""Times that a repository is asked whether a file is gone."""
_PAUSE = 0.2
"""Seconds before the second look; each pause is longer than the one before."""
_STATES = ("running", "completed", "failed")
Place = tuple[str, str]
"""Repository and sha256."""


class Documents(Protocol):
    """The part of the store that this needs."""

    def get(self, collection: str, id: str) -> Document | None: ...
    def find(self, collection: str, field: str, equals: Any) -> Sequence[tuple[str, Document]]: ...
    def put(self, writes: Sequence[Write]) -> None: ...


class Contents(Protocol):
    """The part of `Blobs` that this needs."""

    def get(self, digest: Digest) -> bytes: ...


@dataclass(frozen=True)
class Version:
    """A version of a package in a repository, with all of its files."""

    repository: str
    owner: str
    files: tuple[Stored, ...]
    purl: str
    came: float
    """When the last of its files came in, in seconds since the epoch."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Garbage:
    """What may go, and how much of the rest stays for which reason."""

    versions: tuple[Version, ...]
    needed: int
    """Versions that a lock needs; of the following, versions that none does."""
    young: int
    unknown: int
    locks: frozenset[Digest]
    """Those that were asked."""
    runs: Mapping[str, Digest]
    """Each run with a lock when that was looked at, and its lock."""


def needed(store: Documents, blobs: Contents, settings: Settings) -> frozenset[Place]:
    """Permanent if one lock cannot be read: then nobody knows what it needs (1)."""
    return _needed(_locks(store, _runs(store)), blobs, settings)


def _runs(store: Documents) -> dict[str, Document]:
    return {run_id: run for state in _STATES for run_id, run in store.find("runs", "state", state)}


def _locks(store: Documents, runs: Mapping[str, Document]) -> dict[Digest, str]:
    """Each lock with a run that has it."""
    locks: dict[Digest, str] = {}
    for run_id, run in runs.items():
        installed = store.get("vms", vm_name("inner", run_id)) or {}
        locks |= {str(each["lock"]): run_id for each in (run, installed) if each.get("lock")}
    return locks


def _needed(locks: Mapping[Digest, str], blobs: Contents, settings: Settings) -> frozenset[Place]:
    found: set[Place] = set()
    for digest, run_id in sorted(locks.items()):
        try:
            lock = Lock.read(blobs.get(digest), f"The lock {digest}")
        except Permanent as error:
            raise Permanent(
                f"The lock of {run_id} cannot be read, so nobody knows what it needs: {error}"
            ) from error
        found |= {(each.repository, each.sha256) for each in wanted(lock, settings)}
    return frozenset(found)


def garbage(
    store: Documents,
    blobs: Contents,
    registry: Registry,
    settings: Settings,
    now: float,
    days: float,
) -> Garbage:
    """What could be deleted now. Reads only."""
    runs = _runs(store)
    locks = _locks(store, runs)
    kept = _needed(locks, blobs, settings)
    counts = {"needed": 0, "young": 0, "unknown": 0}
    going: list[Version] = []
    for repository in repositories(settings):
        for owner, files in _versions(registry.stored(repository)):
            if any((repository, file.sha256) in kept for file in files):  # 2
                counts["needed"] += 1
                continue
            records = [store.get(RECORDS, record_id(repository, file.sha256)) for file in files]
            known = [record for record in records if record and not record.get("evicted")]
            if len(known) < len(files):  # 3
                counts["unknown"] += 1
                continue
            came = max(float(record["came"]) for record in known)
            if now - came < days * _DAY:  # 3
                counts["young"] += 1
                continue
            going.append(Version(repository, owner, files, str(known[0]["purl"]), came))
    having = {run_id: str(run["lock"]) for run_id, run in runs.items() if run.get("lock")}
    return Garbage(tuple(going), **counts, locks=frozenset(locks), runs=having)


def going_on(store: Documents) -> Sequence[str]:
    """Ids of the runs that go on (4)."""
    return [run_id for run_id, _ in store.find("runs", "state", "running")]


def check_still(garbage: Garbage, store: Documents) -> None:
    """Transient if a run goes on, or has left a lock since: it may need what is none of the others' (4)."""
    _check_quiet(store)
    # Of a run whose lock is what it was, nothing more is read: this is done before each deletion.
    others = {name: run for name, run in _runs(store).items() if garbage.runs.get(name) != run.get("lock")}
    if more := [run_id for digest, run_id in _locks(store, others).items() if digest not in garbage.locks]:
        raise Transient(f"The run {min(more)} has a lock since: nothing more was deleted, look again.")


def _check_quiet(store: Documents) -> None:
    if runs := going_on(store):
        raise Transient(f"The run {runs[0]} goes on: nothing is deleted before it has ended.")


def collect(
    version: Version,
    store: Documents,
    registry: Registry,
    now: float,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Delete one version. NotPermitted if that is not ours to do; Transient if a run goes on, if it is no longer what
    it was, or is still listed: the list may lag behind, so what was deleted stays on record as that."""
    _check_quiet(store)
    for file in version.files:  # 5
        record = store.get(RECORDS, record_id(version.repository, file.sha256)) or {"evicted": True}
        if record.get("evicted") or float(record["came"]) > version.came:
            raise Transient(f"{version.purl} was evicted or came in once more meanwhile; look again.")
    _mark(version, store, now)  # 5
    try:
        registry.delete_version(version.owner)
    except DmzError:
        _mark(version, store, None)  # 5
        raise
    gone = {file.sha256 for file in version.files}
    for look in range(_LOOKS):
        if look:
            sleep(_PAUSE * look)
        if not any(one.sha256 in gone for one in registry.stored(version.repository)):
            return
    raise Transient(f"{version.purl} was deleted, and {version.repository} still lists it; look again later.")


def _mark(version: Version, store: Documents, evicted: float | None) -> None:
    names = [record_id(version.repository, file.sha256) for file in version.files]
    store.put([Put(RECORDS, name, {"evicted": evicted}, merge=True) for name in names])


def _versions(stored: Sequence[Stored]) -> Iterator[tuple[str, tuple[Stored, ...]]]:
    """(resource name, files) of each version that has nothing but packages and files by URL."""
    found: dict[str, list[Stored]] = {}
    for one in stored:
        found.setdefault(one.owner, []).append(one)
    for owner, files in sorted(found.items()):
        papers = any(
            one.name == f"lock:{one.sha256[7:]}:lock.json" or is_document(one.name, one.sha256)
            for one in files
        )
        if owner and not papers:
            yield owner, tuple(files)
