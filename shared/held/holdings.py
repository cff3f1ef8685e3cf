"""What the private repositories hold, joined with what is known of each file.

Known is, of a file,

1. what the locks of the remembered runs say that did not fail: package, release, and whose workload it is;
2. else what its record says (`holdings/<id>`), which sync writes before it uploads anything, and which stays until the
   file is evicted: runs are forgotten, files are not;
3. else what its name says: nothing enters a sealed network without a record, so such a stray is an alarm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from shared import alarms, attested, drift
from shared.bom.names import is_document
from shared.delivery import Outcome
from shared.errors import Permanent
from shared.events import Event, HoldingsListed, derive
from shared.held_files import RECORDS, Mends, by_name, mended, record_id, recorded, subject
from shared.model.case import Case, Subject
from shared.model.holdings import Awaited, Held, HeldFile, Holdings
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest
from shared.model.package import CODENAMES, Release
from shared.model.plan import Transfer, transfers
from shared.model.value import printable, sha256
from shared.model.workload import Workload
from shared.ports.registry import Registry, Stored
from shared.ports.store import Blobs, Document, Store
from shared.ports.upstream import Upstream
from shared.settings import Settings

_LOUD = 100
"""Strays that are alarms of their own."""
_WAITING_RUNS, _WAITING_SECONDS = 50, 45 * 86_400.0
"""So many runs, and none older, are looked at again for what was held."""
_STATES = ("running", "completed", "failed")
Place = tuple[str, str]
"""Repository and sha256."""


@dataclass(frozen=True)
class Remembered:
    """One run with a lock."""

    run_id: str
    run: Document
    lock: Lock
    workload: Workload


# --- the list ---


def refreshed(
    event: Event,
    store: Store,
    blobs: Blobs,
    registry: Registry,
    settings: Settings,
    upstream: Callable[[Workload], Upstream],
    now: float,
) -> Outcome:
    """There may be news: list what is held, compare it with the index, and have it judged again."""
    runs = sorted(remembered(store, blobs), key=lambda one: one.run_id)
    waiting = awaited(store, blobs, now)
    holdings = listed(runs, store, blobs, registry, settings).model_copy(update={"awaited": waiting})
    if runs:  # else nobody has ever asked the index for anything
        today = upstream(runs[0].workload)
        drift.watch(holdings, today.index, store, now)
        attested.watch(holdings, today.index, today.proof.publishers, store, now)
    strays = [file for held in holdings.held if held.stray for file in held.files] + list(holdings.nameless)
    for file in strays[:_LOUD]:
        words = f"{file.repository} holds {file.name}, and no readable record says how it came in"
        words += ": see who may write there."
        alarms.sound(store, "stray", f"{file.repository} {file.name}", words, now, "sync")
    alarms.still(store, "stray", {f"{file.repository} {file.name}" for file in strays}, now)
    alarms.still(store, "kept", {printable(held.key, 1000) for held in holdings.held}, now)
    refresh = sha256(f"{event.id} {event.replay_id}".encode())[7:39]
    data = HoldingsListed(holdings=blobs.put(holdings.canonical()), refresh=refresh)
    return Outcome((), (derive(event, "holdings-listed", data, stage="sync", now=now),))


def remembered(store: Store, blobs: Blobs) -> Iterator[Remembered]:
    """Every run with a lock; each lock and workload is read once."""
    locks: dict[str, Lock] = {}
    workloads: dict[str, Workload] = {}
    for state in _STATES:
        for run_id, run in store.find("runs", "state", state):
            lock, workload = run.get("lock"), run.get("workload_digest")
            if not lock or not workload:
                continue
            try:
                if lock not in locks:
                    locks[lock] = Lock.read(blobs.get(lock), f"The lock {lock}")
                if workload not in workloads:
                    workloads[workload] = Workload.read(blobs.get(workload), "The stored workload")
            except Permanent:
                continue  # one that cannot be read any more must not keep all others from being judged
            yield Remembered(run_id, run, locks[lock], workloads[workload])


def wanted(lock: Lock, settings: Settings) -> tuple[Transfer, ...]:
    """Every file of a lock with its repository."""
    return transfers(lock, settings.python_repository, lock.release.codename, settings.generic_repository)


def repositories(settings: Settings) -> tuple[str, ...]:
    """All that hold packages for the inner network."""
    return (settings.python_repository, *CODENAMES.values(), settings.generic_repository)


@dataclass
class _Known:
    """What is found out of one file."""

    about: Subject
    release: Release
    workloads: set[str] = field(default_factory=set)


def listed(
    runs: Sequence[Remembered], store: Store, blobs: Blobs, registry: Registry, settings: Settings
) -> Holdings:
    """Everything that any private repository holds, with what is known of it by runs and records."""
    known: dict[Place, _Known] = {}
    read: dict[tuple[str, ...], Mends] = {}
    for each in runs:  # 1
        if each.run.get("state") == "failed":
            continue  # it has nothing: what it brought in is on record
        cases = tuple(map(str, each.run.get("replacement_cases") or ())) if each.lock.changes else ()
        if cases not in read:
            read[cases] = mended(cases, blobs)
        for transfer in wanted(each.lock, settings):
            place = (transfer.repository, transfer.sha256)
            about = subject(transfer, each.lock, each.workload, read[cases])
            one = known.setdefault(place, _Known(about, each.lock.release))
            one.about = _joined(one.about, about)
            one.workloads.add(each.lock.workload)
    held: dict[str, Held] = {}
    nameless: list[HeldFile] = []
    for stored in _all(registry, settings):
        found = known.get((stored.repository, stored.sha256)) or _on_record(store, stored)  # 1, 2
        named = (found.about, found.release) if found else by_name(stored, settings)  # 3
        file = HeldFile(repository=stored.repository, name=stored.name, sha256=stored.sha256)
        if named is None:
            nameless.append(file)
        else:
            _add(held, named, file, found)
    return Holdings(held=tuple(held[key] for key in sorted(held)), nameless=tuple(nameless))


def _all(registry: Registry, settings: Settings) -> Sequence[Stored]:
    """Every file but the locks and their papers, which install nothing: under their names, their bytes can be nothing
    else."""
    return [
        stored
        for repository in repositories(settings)
        for stored in sorted(registry.stored(repository), key=lambda one: one.name)
        if stored.name != f"lock:{stored.sha256[7:]}:lock.json"
        and not is_document(stored.name, stored.sha256)
    ]


def _on_record(store: Store, stored: Stored) -> _Known | None:
    document = store.get(RECORDS, record_id(stored.repository, stored.sha256))
    if not document or document.get("evicted"):
        return None  # what came back after its eviction came another way
    try:
        about, release, _ = recorded(document)
    except Permanent:
        return None  # as good as none: it is a stray, and an alarm says so
    return _Known(about, release, {str(document.get("workload", ""))} - {""})


def _add(held: dict[str, Held], named: tuple[Subject, Release], file: HeldFile, found: _Known | None) -> None:
    about, release = named
    new = Held(
        subject=about,
        release=release,
        files=(file,),
        workloads=tuple(sorted(found.workloads)) if found else (),
        stray=found is None,
    )
    other = held.get(new.key)
    if other is None:
        held[new.key] = new
        return
    held[new.key] = Held(
        subject=_joined(other.subject, new.subject),
        release=other.release,
        files=(*other.files, file),
        workloads=tuple(sorted({*other.workloads, *new.workloads})),
        stray=other.stray or new.stray,
    )


def _joined(one: Subject, other: Subject) -> Subject:
    """What two workloads, or two files, say of one package: a source distribution among them makes it one.

    What is not all one's own is judged like anybody's: an index speaks of it.
    """
    worse = other if other.is_sdist and not one.is_sdist else one
    both = {
        "mends": tuple(sorted({*one.mends, *other.mends})),
        "own_wheel": one.own_wheel and other.own_wheel,
        "apt_source": one.apt_source or other.apt_source,
    }
    return worse.model_copy(update=both)


# --- who waits ---


def awaited(store: Store, blobs: Blobs, now: float) -> tuple[Awaited, ...]:
    """Runs that went without held packages, the youngest ones: nobody was told yet that these may be had."""
    young = [
        (run_id, run)
        for state in ("completed", "failed")
        for run_id, run in store.find("runs", "state", state)
        if _waits(run, now)
    ]
    young.sort(key=lambda one: (-float(one[1].get("requested", 0)), one[0]))
    made = []
    for run_id, run in young[:_WAITING_RUNS]:
        try:
            case = Case.read(blobs.get(str(run["case"])), f"The case {run['case']}")
            manifest = ClaimedManifest.read(blobs.get(str(run["manifest"])), "The run's manifest")
        except Permanent:
            continue  # it cannot be read any more: nothing to wait for
        purls = {each["purl"] for each in run["held"]["packages"]}
        subjects = tuple(each for each in case.subjects if each.package.purl in purls)
        made.append(
            Awaited(run_id=run_id, workload=case.workload, release=manifest.release, subjects=subjects)
        )
    return tuple(made)


def _waits(run: Document, now: float) -> bool:
    held = run.get("held") or {}
    if not held.get("packages") or held.get("total") != len(held["packages"]) or run.get("again"):
        return False
    stopped = run.get("state") == "completed" or run.get("stage") == "sync"
    return stopped and now - float(run.get("requested", 0)) < _WAITING_SECONDS
