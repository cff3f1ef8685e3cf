"""Eviction: what may not be held any more goes out of the private repositories. Sync's part of re-evaluation.

1. Only what stands counts: an event that came late, or was replayed, evicts nothing that was allowed since.
2. What goes is written down before anything is deleted: whoever comes after a death knows it.
3. Whole versions are deleted, as Artifact Registry can do no other; what else belonged to them is brought back, fetched
   and proved like everything that comes in: before anything is deleted, to see that it can be, and after it
   (`shared.held.bringing_back`).
4. Gone is what the repository does not list any more, after that as well; until then the event comes again.
5. Record, log, standing and event are one batch. Done twice, it is done once.
6. Whom it touches is searched after that, within bounds, and keeps no eviction from being recorded; what a death left
   halfway is taken up by the sweep.
7. A record that cannot be read keeps no other file in, and evicts nothing: an alarm says so. The next refresh finds its
   file as a stray, and judges it by its name.

A package is kept only where a workload that holds it may have it, where the stage has no right to delete, or where
something that may be held would be lost with it: with the reason, and with an alarm in the latter cases. That a VM runs
with it keeps nothing: what is installed there stays installed; the run is listed (`shared.held.affected`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from shared import alarms, decision_log
from shared.delivery import Outcome
from shared.errors import DmzError, Permanent, Transient
from shared.events import Event, PackageEvicted, VerdictChanged, derive
from shared.held import affected, awaiting
from shared.held.bringing_back import CannotReturn, leaves, proved, refused_of, staying
from shared.held.reevaluation import STANDING, standing_id
from shared.held.searched import Searched
from shared.held_files import RECORDS, package_id, record_id, recorded, recorded_key
from shared.model.holdings import HeldFile, Holdings
from shared.model.plan import Transfer
from shared.model.value import printable, sha256
from shared.model.verdict import Verdicts
from shared.ports.registry import NotPermitted, Registry, Stored
from shared.ports.store import Blobs, Document, Put, Store, Write
from shared.settings import Settings

COLLECTION = "evictions"
_LOOKS = 10
"""Times that a repository is asked whether a file is gone; what it lists may lag behind."""
_PAUSE = 0.2
"""Seconds before the second look; each pause is longer than the one before."""

_LEFT = 900.0
"""Seconds after which an eviction was left halfway by a death: until then its event may come again."""

Relock = Callable[[Sequence[affected.Holder], Searched], Sequence[Document]]
"""Runs that hold it to the smallest compliant relock of each, as documents; and what this refresh has found already."""


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
    prove: Callable[[Sequence[Transfer]], None]
    """The same without the upload."""
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
    standing = evictor.store.get(STANDING, standing_id(data.key)) or {}
    waited = awaiting.admitted(event, data, evictor.store, evictor.blobs, evictor.clock())
    if standing.get("verdicts") != data.verdicts:  # 1
        return waited
    files, workloads = _files(data, evictor)
    refused = [each["workload"] for each in standing["by_workload"] if each["decision"] != "allow"]
    now = evictor.clock()
    if not refused:
        affected.over(standing_id(data.key), evictor.store, now)
        alarms.over(evictor.store, "kept", data.key, now)
        return waited
    if standing["decision"] == "allow":
        may = ", ".join(each["workload"] for each in standing["by_workload"] if each["decision"] == "allow")
        reason = f"The workload {may} may have it."
        outcome = _kept(event, data, _doomed(data, files), reason, now)
        alarms.over(evictor.store, "kept", data.key, now)
    else:
        outcome = _evict(event, data, files, evictor)
    names = [name for name in workloads if name in refused]
    found = affected.holders(files, names, evictor.store, evictor.blobs, evictor.settings)
    searched = Searched(evictor.store, evictor.blobs, data.verdicts, evictor.clock)
    affected.tell(
        standing_id(data.key), data, found, lambda each: evictor.relock(each, searched), evictor.store, now
    )  # 6
    return outcome


def _files(data: VerdictChanged, evictor: Evictor) -> tuple[tuple[HeldFile, ...], tuple[str, ...]]:
    """Everything of the package that was held when it was judged, and that has come in since; its workloads."""
    verdicts = Verdicts.read(evictor.blobs.get(data.verdicts), f"The verdicts {data.verdicts}")
    holdings = Holdings.read(evictor.blobs.get(verdicts.manifest), f"The holdings {verdicts.manifest}")
    held = next((one for one in holdings.held if one.key == data.key), None)
    files = {(file.repository, file.sha256): file for file in (held.files if held else ())}
    for name, fields in evictor.store.find(RECORDS, "package", package_id(data.purl)):
        place = (str(fields.get("repository")), str(fields.get("sha256")))
        if fields.get("evicted") or place in files or recorded_key(fields) != data.key:
            continue
        try:
            file = recorded(fields)[2].file
            known = getattr(file, "filename", "") or f"generic:{place[1][7:]}:file"
            files[place] = HeldFile.check(
                {"repository": place[0], "name": known, "sha256": place[1]}, "A held file"
            )
        except Permanent as error:  # 7
            words = f"The record {name} of a file in {place[0]} cannot be read, so the file is not evicted before "
            words += f"the next refresh lists it, although {data.purl[:500]} is refused: {error}"
            alarms.sound(evictor.store, "stray", f"record {name}", words, evictor.clock(), "sync")
    return tuple(files[place] for place in sorted(files)), held.workloads if held else ()


def _doomed(data: VerdictChanged, files: Sequence[HeldFile]) -> Iterator[_Doomed]:
    for repository in sorted({file.repository for file in files}):
        name = sha256(f"{repository} {data.key} {data.verdicts}".encode())[7:39]
        yield _Doomed(name, repository, tuple(file for file in files if file.repository == repository))


def _evict(event: Event, data: VerdictChanged, files: Sequence[HeldFile], evictor: Evictor) -> Outcome:
    several = [_evict_one(event, data, doomed, evictor) for doomed in _doomed(data, files)]
    events = [each for one in several for each in one.events]
    if all(isinstance(each.data, PackageEvicted) and not each.data.reason for each in events):
        alarms.over(evictor.store, "kept", data.key, evictor.clock())
    return Outcome([write for one in several for write in one.writes], events)


def _evict_one(event: Event, data: VerdictChanged, doomed: _Doomed, evictor: Evictor) -> Outcome:
    """Of one repository: gone, or kept with an alarm."""
    now = evictor.clock()
    try:
        back = _delete(data, doomed, evictor)
    except (NotPermitted, CannotReturn) as error:
        words = f"{data.key} is refused and still held: {error}"
        alarms.sound(evictor.store, "kept", data.key, words, now, "sync")
        kept = _kept(event, data, [doomed], str(error), now)
        told = Put(STANDING, standing_id(data.key), {"kept": now}, merge=True)
        return Outcome((*kept.writes, told), kept.events)
    standing = Put(STANDING, standing_id(data.key), {"evicted": now, "kept": None}, merge=True)
    return _gone(event, data, doomed, back, now, standing)  # 5


def _delete(data: VerdictChanged, doomed: _Doomed, evictor: Evictor) -> Sequence[str]:
    """Delete, bring back what must stay, and see that it is so; ids of the records of what was brought back."""
    begun = evictor.store.get(COLLECTION, doomed.id) or {}
    digests = {file.sha256 for file in doomed.files}
    # What was brought back, and is refused since, may lie there after its own eviction.
    digests |= refused_of(begun.get("back", ()), evictor.store)
    listed = evictor.registry.stored(doomed.repository)
    owners = sorted({one.owner for one in listed if one.sha256 in digests})
    beside = [one for one in listed if one.owner in owners and one.sha256 not in digests]
    stays = staying(beside, evictor.store, evictor.settings)
    proved(list(stays.values()), evictor.prove)  # 3
    back = sorted({*begun.get("back", ()), *stays})
    evictor.store.put(
        [Put(COLLECTION, doomed.id, _note(data, doomed, back, evictor.clock()), merge=True)]
    )  # 2
    for owner in owners:
        evictor.registry.delete_version(owner)
    _wait(doomed, digests, evictor)  # 4
    brought = _bring_back(doomed, back, evictor)  # 3
    if brought:
        _wait(doomed, digests, evictor)  # 4
    return brought


def _note(data: VerdictChanged, doomed: _Doomed, back: Sequence[str], now: float) -> Document:
    """All that whoever comes after a death needs."""
    return {
        "state": "deleting",
        "purl": data.purl,
        "own_wheel": data.own_wheel,
        "repository": doomed.repository,
        "files": [{"name": file.name, "sha256": file.sha256} for file in doomed.files],
        "back": list(back),
        "before": data.before,
        "after": data.after,
        "reason": data.reason,
        "verdicts": data.verdicts,
        "begun": now,
    }


def _bring_back(doomed: _Doomed, back: Sequence[str], evictor: Evictor) -> Sequence[str]:
    """Ids of those records whose files are there again. Transient if one is refused meanwhile."""
    known = {name: evictor.store.get(RECORDS, name) for name in back}
    stays = {
        name: recorded(each)[2] for name, each in known.items() if each and not leaves(each, evictor.store)
    }
    here = {one.sha256 for one in evictor.registry.stored(doomed.repository)} if stays else set()
    for each in stays.values():
        if each.sha256 not in here:
            try:
                evictor.bring([each])
            except NotPermitted as error:  # the version is gone all the same: it must not count as kept
                raise Transient(f"What must stay could not be brought back: {error}") from error
    if refused_of(stays, evictor.store):
        # Whoever evicts it has perhaps deleted it before it came in again.
        raise Transient(f"A file that was brought back into {doomed.repository} is refused meanwhile.")
    return sorted(stays)


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
    event: Event, data: VerdictChanged, doomed: _Doomed, back: Sequence[str], now: float, *more: Write
) -> Outcome:
    fields = {**_note(data, doomed, back, now), "state": "gone", "at": now}
    del fields["begun"]
    gone = PackageEvicted(
        purl=data.purl,
        repository=doomed.repository,
        files=len(doomed.files),
        verdicts=data.verdicts,
        own_wheel=data.own_wheel,
    )
    logged = decision_log.entry(
        "eviction",
        data.purl,
        data.reason,
        event,
        now,
        stage="sync",
        about=data.verdicts,
        repository=doomed.repository,
        files=[file.name for file in doomed.files][:50],
    )
    records = [
        Put(RECORDS, record_id(doomed.repository, file.sha256), {"evicted": now}, merge=True)
        for file in doomed.files
    ]
    return Outcome(
        (Put(COLLECTION, doomed.id, fields, merge=True), *records, *more, logged),
        (derive(event, "package-evicted", gone, stage="sync", now=now),),
    )


# --- what a death left halfway ---


def left(event: Event, evictor: Evictor) -> Iterator[tuple[str, Outcome]]:  # 6
    """Evictions that were begun, and whose event was given up. Transient at the end if one cannot be finished."""
    troubles: list[DmzError] = []
    for name, note in evictor.store.find(COLLECTION, "state", "deleting"):
        if evictor.clock() - float(note["begun"]) < _LEFT:
            continue
        try:
            yield f"{name}:{event.id}", _taken_up(event, name, note, evictor)
        except DmzError as error:
            troubles.append(error)
    if troubles:
        raise Transient(f"{len(troubles)} evictions could not be finished: {troubles[0]}")


def _taken_up(event: Event, name: str, note: Document, evictor: Evictor) -> Outcome:
    data = VerdictChanged.check(
        {key: note[key] for key in ("purl", "own_wheel", "before", "after", "reason", "verdicts")},
        f"The eviction {name}",
    )
    repository = str(note["repository"])
    files = [HeldFile(repository=repository, name=one["name"], sha256=one["sha256"]) for one in note["files"]]
    doomed = _Doomed(name, repository, tuple(files))
    standing = evictor.store.get(STANDING, standing_id(data.key)) or {}
    if standing.get("verdicts") == data.verdicts and standing["decision"] != "allow":
        return _evict_one(event, data, doomed, evictor)
    # Something else was decided since: only what has happened is told, and nothing more is deleted.
    brought = _bring_back(doomed, note["back"], evictor)
    here = {one.sha256 for one in evictor.registry.stored(repository)}
    records = [evictor.store.get(RECORDS, record_id(repository, file.sha256)) or {} for file in files]
    again = any(float(record.get("came") or 0) > float(note["begun"]) for record in records)
    if again or any(file.sha256 in here for file in files):
        fields = {"state": "over", "why": "Something else was decided meanwhile.", "at": evictor.clock()}
        return Outcome((Put(COLLECTION, name, fields, merge=True),))
    return _gone(event, data, doomed, brought, evictor.clock())


# --- what stays ---


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
            own_wheel=data.own_wheel,
        )
        events.append(derive(event, "package-evicted", told, stage="sync", now=now))
    return Outcome(tuple(writes), tuple(events))
