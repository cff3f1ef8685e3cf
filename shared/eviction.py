"""Eviction: what may not be held any more goes out of the private repositories. Sync's part of re-evaluation.

1. Only what stands counts: an event that came late, or was replayed, evicts nothing that was allowed since.
2. What goes is written down before anything is deleted: whoever comes after a death knows it.
3. Whole versions are deleted, as Artifact Registry can do no other; what else belonged to them is brought back, fetched
   and proved like everything that comes in.
4. Gone is what the repository does not list any more; until then the event comes again.
5. Record, log, standing and event are one batch. Done twice, it is done once.

A package is kept only where a workload that holds it may have it, or where the stage has no right to delete: with the
reason, and with an alarm in the latter case. That a VM runs with it keeps nothing: what is installed there stays
installed; the run is listed (`shared.affected`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared import affected, alarms, awaiting, decision_log
from shared.delivery import Outcome
from shared.errors import Transient
from shared.events import Event, PackageEvicted, VerdictChanged, derive
from shared.holdings import RECORDS, record_id, recorded
from shared.model.holdings import HeldFile, Holdings
from shared.model.plan import Transfer
from shared.model.value import printable, sha256
from shared.model.verdict import Verdicts
from shared.ports import Blobs, Document, NotPermitted, Put, Registry, Store, Stored, Write
from shared.reevaluation import STANDING, standing_id
from shared.settings import Settings

COLLECTION = "evictions"
_LOOKS = 10
"""Times that a repository is asked whether a file is gone; what it lists may lag behind."""
_PAUSE = 0.2
"""Seconds before the second look; each pause is longer than the one before."""

Relock = Callable[[Sequence[affected.Holder]], Sequence[Document]]
"""Runs that hold it to the smallest compliant relock of each, as documents."""


@dataclass(frozen=True)
class Evictor:
    """What eviction needs from the world."""

    store: Store
    blobs: Blobs
    registry: Registry
    settings: Settings
    clock: Callable[[], float]
    bring: Callable[[Sequence[Transfer]], None]
    """Fetches, proves and uploads files that must stay."""
    relock: Relock
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class _Doomed:
    """What goes out of one repository."""

    id: str
    repository: str
    files: tuple[HeldFile, ...]


def changed(event: Event, data: VerdictChanged, evictor: Evictor) -> Outcome:
    """Do what follows from a verdict that has changed."""
    standing = evictor.store.get(STANDING, standing_id(data.purl)) or {}
    waited = awaiting.admitted(event, data, evictor.store, evictor.blobs, evictor.clock())
    if standing.get("verdicts") != data.verdicts:  # 1
        return waited
    files, workloads = _files(data, evictor)
    refused = [each["workload"] for each in standing["by_workload"] if each["decision"] != "allow"]
    now = evictor.clock()
    if not refused:
        affected.over(standing_id(data.purl), evictor.store, now)
        return waited
    if standing["decision"] == "allow":
        may = ", ".join(each["workload"] for each in standing["by_workload"] if each["decision"] == "allow")
        reason = f"The workload {may} may have it."
        outcome = _kept(event, data, _doomed(data, files), reason, now)
    else:
        outcome = _evict(event, data, files, evictor)
    found = affected.holders(
        files, [name for name in workloads if name in refused], evictor.store, evictor.blobs, evictor.settings
    )
    relocks = evictor.relock(found)
    affected.tell(
        standing_id(data.purl),
        data.purl,
        data.before,
        data.after,
        data.reason,
        found,
        relocks,
        evictor.store,
        now,
    )
    return outcome


def _files(data: VerdictChanged, evictor: Evictor) -> tuple[tuple[HeldFile, ...], tuple[str, ...]]:
    """Everything of the package that was held when it was judged, and that has come in since; its workloads."""
    verdicts = Verdicts.read(evictor.blobs.get(data.verdicts), f"The verdicts {data.verdicts}")
    holdings = Holdings.read(evictor.blobs.get(verdicts.manifest), f"The holdings {verdicts.manifest}")
    held = next((one for one in holdings.held if one.purl == data.purl), None)
    files = {(file.repository, file.sha256): file for file in (held.files if held else ())}
    for _, fields in evictor.store.find(RECORDS, "purl", data.purl):
        if not fields.get("evicted"):
            place = (str(fields["repository"]), str(fields["sha256"]))
            name = recorded(fields)[2].file
            known = getattr(name, "filename", "") or f"generic:{place[1][7:]}:file"
            files.setdefault(place, HeldFile(repository=place[0], name=known, sha256=place[1]))
    return tuple(files[place] for place in sorted(files)), held.workloads if held else ()


def _doomed(data: VerdictChanged, files: Sequence[HeldFile]) -> Iterator[_Doomed]:
    for repository in sorted({file.repository for file in files}):
        name = sha256(f"{repository} {data.purl} {data.verdicts}".encode())[7:39]
        yield _Doomed(name, repository, tuple(file for file in files if file.repository == repository))


def _evict(event: Event, data: VerdictChanged, files: Sequence[HeldFile], evictor: Evictor) -> Outcome:
    now = evictor.clock()
    writes: list[Write] = []
    events: list[Event] = []
    for doomed in _doomed(data, files):
        try:
            back = _delete(data, doomed, evictor)
        except NotPermitted as error:
            kept = _kept(event, data, [doomed], str(error), now)
            alarms.sound(
                evictor.store,
                "kept",
                data.purl,
                f"{data.purl} is refused and still held: {error}",
                now,
                "sync",
            )
            writes += [*kept.writes, Put(STANDING, standing_id(data.purl), {"kept": now}, merge=True)]
            events += kept.events
            continue
        gone = PackageEvicted(
            purl=data.purl, repository=doomed.repository, files=len(doomed.files), verdicts=data.verdicts
        )
        events.append(derive(event, "package-evicted", gone, stage="sync", now=now))
        writes += _gone(event, data, doomed, back, now)  # 5
    return Outcome(tuple(writes), tuple(events))


def _delete(data: VerdictChanged, doomed: _Doomed, evictor: Evictor) -> Sequence[str]:
    """Delete, bring back what must stay, and see that it is so; ids of the records of what was brought back."""
    digests = {file.sha256 for file in doomed.files}
    begun = evictor.store.get(COLLECTION, doomed.id) or {}
    listed = evictor.registry.stored(doomed.repository)
    owners = sorted({one.owner for one in listed if one.sha256 in digests})
    beside = [one for one in listed if one.owner in owners and one.sha256 not in digests]
    back = sorted({*begun.get("back", ()), *(record_id(one.repository, one.sha256) for one in beside)})
    note = {"purl": data.purl, "repository": doomed.repository, "state": "deleting", "back": back}
    evictor.store.put([Put(COLLECTION, doomed.id, {**note, "begun": evictor.clock()}, merge=True)])  # 2
    for owner in owners:
        evictor.registry.delete_version(owner)
    _wait(doomed, digests, evictor)  # 4
    known = {name: evictor.store.get(RECORDS, name) for name in back}
    transfers = {name: recorded(fields)[2] for name, fields in known.items() if fields}
    if transfers:
        here = {one.sha256 for one in evictor.registry.stored(doomed.repository)}
        evictor.bring([each for each in transfers.values() if each.sha256 not in here])  # 3
    return sorted(transfers)


def _wait(doomed: _Doomed, digests: set[str], evictor: Evictor) -> None:
    """Transient if the repository goes on listing what was deleted."""
    left: list[Stored] = []
    for look in range(_LOOKS):
        if look:
            evictor.sleep(_PAUSE * look)
        left = [one for one in evictor.registry.stored(doomed.repository) if one.sha256 in digests]
        if not left:
            return
    raise Transient(f"{left[0].name} was deleted, and {doomed.repository} still lists it.")


def _gone(
    event: Event, data: VerdictChanged, doomed: _Doomed, back: Sequence[str], now: float
) -> Iterator[Write]:
    names = [file.name for file in doomed.files]
    fields: Mapping[str, object] = {
        "state": "gone",
        "purl": data.purl,
        "repository": doomed.repository,
        "files": [{"name": file.name, "sha256": file.sha256} for file in doomed.files],
        "back": list(back),
        "before": data.before,
        "after": data.after,
        "reason": data.reason,
        "verdicts": data.verdicts,
        "at": now,
    }
    yield Put(COLLECTION, doomed.id, fields, merge=True)
    for file in doomed.files:
        yield Put(RECORDS, record_id(doomed.repository, file.sha256), {"evicted": now}, merge=True)
    yield Put(STANDING, standing_id(data.purl), {"evicted": now, "kept": None}, merge=True)
    yield decision_log.entry(
        "eviction",
        data.purl,
        data.reason,
        event,
        now,
        stage="sync",
        about=data.verdicts,
        repository=doomed.repository,
        files=names[:50],
    )


def _kept(
    event: Event,
    data: VerdictChanged,
    several: Iterator[_Doomed] | Sequence[_Doomed],
    reason: str,
    now: float,
) -> Outcome:
    """The package stays, and everybody hears why."""
    writes: list[Write] = []
    events: list[Event] = []
    for doomed in several:
        fields = {
            "state": "kept",
            "why": printable(reason, 1000),
            "purl": data.purl,
            "repository": doomed.repository,
            "verdicts": data.verdicts,
            "at": now,
        }
        writes.append(Put(COLLECTION, doomed.id, fields, merge=True))
        writes.append(
            decision_log.entry(
                "kept",
                data.purl,
                f"refused ({data.reason}), and kept: {reason}",
                event,
                now,
                stage="sync",
                about=data.verdicts,
                repository=doomed.repository,
            )
        )
        told = PackageEvicted(
            purl=data.purl,
            repository=doomed.repository,
            files=0,
            reason=printable(reason, 1000),
            verdicts=data.verdicts,
        )
        events.append(derive(event, "package-evicted", told, stage="sync", now=now))
    return Outcome(tuple(writes), tuple(events))
