"""Sync stage: the only door into the sealed network. Plans, then applies: fetch, prove, upload, and nothing else."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from functions.sync import decide
from shared import attested, closer, held_files, locksmith, logged, papers, second_look, vouched, waivers
from shared.carrier import Carrier, remembered
from shared.creation import vm_name
from shared.delivery import Outcome, fail
from shared.errors import DmzError, Permanent, Transient, Untrusted
from shared.events import (
    AdvisoriesRefreshed,
    Event,
    SyncShardPlanned,
    VerdictChanged,
    VerdictsWritten,
    derive,
)
from shared.held import affected, eviction, holdings
from shared.judgement import Court, documents
from shared.model.case import Case
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest
from shared.model.plan import Plan, Shard, Transfer, transfers
from shared.model.policy import Policy
from shared.model.value import Digest, Value
from shared.model.verdict import Verdict, Verdicts
from shared.model.workload import Workload
from shared.patience import on_disk
from shared.policy.judge import judge_all
from shared.ports.judgement import Advisories
from shared.ports.registry import Registry, Unlisted
from shared.ports.store import Blobs, Document, Put, Store
from shared.ports.upstream import Upstream
from shared.rounds import in_turn
from shared.settings import Settings
from shared.weighing import weigh

_PARALLEL = 8
"""Transfers at once in one shard: past this the network, not the waiting, is the limit."""

_NOBODY = Workload(
    name="nobody", runtime_version="none", accelerator_type="none", install="true", smoke="true"
)
"""Where a file comes from does not depend on whose it was: runs are forgotten before files are."""


@dataclass(frozen=True)
class Ports:
    """What this stage needs from the world."""

    store: Store
    blobs: Blobs
    registry: Registry
    advisories: Advisories
    policy: Callable[[], Policy]
    upstream: Callable[[Workload], Upstream]
    settings: Settings
    clock: Callable[[], float]
    scratch: Path


@on_disk("the sync stage")
def handle_event(event: Event, ports: Ports) -> Outcome:
    if isinstance(event.data, AdvisoriesRefreshed):
        return holdings.refreshed(
            event,
            ports.store,
            ports.blobs,
            ports.registry,
            ports.settings,
            ports.upstream,
            ports.clock(),
        )
    if isinstance(event.data, VerdictChanged):
        return eviction.changed(event, event.data, _evictor(ports))
    run = ports.store.get("runs", event.run_id) or {}
    if run.get("state") != "running":
        return Outcome()
    if isinstance(event.data, VerdictsWritten):
        return _plan(event, event.data, run, ports)
    if not isinstance(event.data, SyncShardPlanned):
        raise Untrusted(f"The sync stage has nothing to do with {event.type}; check its subscriptions.")
    if ports.store.get("shards", decide.shard_id(event.data)):
        return Outcome()  # counted already: a replay planned the same shard
    return _apply(event.data, ports)


# --- plan ---


def _plan(event: Event, data: VerdictsWritten, run: Document, ports: Ports) -> Outcome:
    workload = Workload.read(ports.blobs.get(run["workload_digest"]), "The stored workload")
    manifest = ClaimedManifest.read(ports.blobs.get(data.manifest), f"The manifest {data.manifest}")
    verdicts = Verdicts.read(ports.blobs.get(data.verdicts), f"The verdicts {data.verdicts}")
    decide.check_verdicts(data.manifest, verdicts)
    waivers.check_still(verdicts.verdicts, ports.store, ports.clock())
    held = waivers.in_force(ports.store)
    court = Court(ports.advisories, ports.policy(), manifest.release, ports.clock(), workload.name, held)
    upstream = _upstream(workload, ports)
    lock, chosen = locksmith.make(manifest, workload, verdicts, upstream, court, decide.installed(run))
    ports.store.put_many("verdicts", documents(data.run_id, chosen))
    names = ports.settings
    wanted = transfers(lock, names.python_repository, manifest.release.codename, names.generic_repository)
    vouched.check(wanted, court.policy.rules(workload.name).attestations, ports.store, upstream)
    there = _held(wanted, ports)
    missing = decide.missing(wanted, there, _proved(wanted, ports))
    sizes = weigh(missing, upstream, ports.registry, names.staging_repository)
    decide.check_sizes(sizes, int(names.file_bytes))
    cases = court.docket.cases()
    more = [_verdicts(data.manifest, each) for each in cases]
    basis = second_look.Basis(lock, workload, (verdicts, *more))
    shards = decide.shards(basis, sizes, names, there, held_files.mends_of(cases))
    plan = Plan(lock=lock.digest, parts=_put(shards, ports.blobs))
    judged = list(zip(_put(more, ports.blobs), _put(cases, ports.blobs), strict=True))
    _put((lock, plan), ports.blobs)
    locksmith.publish(lock, ports.registry, names.generic_repository, ports.scratch)
    now, begun = ports.clock(), _begun(data.run_id, ports)
    events = [SyncShardPlanned(run_id=data.run_id, plan=plan.digest, shard=i) for i in range(plan.count)]
    return Outcome(
        (
            *decide.planned(data.run_id, lock, plan, missing, now, begun),
            *decide.replacements_judged(data.run_id, judged, begun),
            decide.judged_by(data, plan, [verdicts for verdicts, _ in judged]),
            *(() if begun else (_leaning(data.run_id, lock, verdicts, court),)),
            *(() if begun else logged.locked(event, lock, _brought(court), now)),
        ),
        tuple(derive(event, "sync-shard-planned", each, stage="sync", now=now) for each in events),
    )


def _upstream(workload: Workload, ports: Ports) -> Upstream:
    """To make a lock by: what was fetched once to prove its RECORD need not be fetched for that again."""
    upstream = ports.upstream(workload)
    return replace(upstream, record=remembered(upstream.record, ports.store))


def _verdicts(manifest: Digest, case: Case) -> Verdicts:
    """What was judged on the way to the lock."""
    return Verdicts(manifest=manifest, case=case.digest, verdicts=judge_all(case))


def _put(values: Sequence[Value], blobs: Blobs) -> tuple[Digest, ...]:
    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="put") as pool:
        return tuple(pool.map(lambda each: blobs.put(each.canonical()), values))


def _leaning(run_id: str, lock: Lock, verdicts: Verdicts, court: Court) -> Put:
    """The waivers by which what the lock brings got in: of what the outer VM had, and of what replaces it."""
    chosen = {change.after.purl for change in lock.changes}
    brought = _brought(court)
    used = (*verdicts.verdicts, *(each for purl, each in sorted(brought.items()) if purl in chosen))
    return Put("runs", run_id, {"waivers": waivers.leaned_on(used, court.waivers)}, merge=True)


def _brought(court: Court) -> dict[str, Verdict]:
    """By purl: what was judged on the way to the lock, if a waiver can have played a part in it."""
    cases = court.docket.cases() if court.waivers else ()
    return {each.package.purl: each for case in cases for each in judge_all(case)}


def _begun(run_id: str, ports: Ports) -> bool:
    """Whether the inner VM has its record, and with it the lock that it installs."""
    return ports.store.get("vms", vm_name("inner", run_id)) is not None


def _held(wanted: Sequence[Transfer], ports: Ports) -> dict[str, dict[Digest, int]]:
    """Repository to the sizes of what it holds, by hash."""
    return {
        repository: {stored.sha256: stored.size for stored in ports.registry.stored(repository)}
        for repository in sorted({transfer.repository for transfer in wanted})
    }


def _listed(shard: Shard, ports: Ports) -> dict[str, dict[Digest, int]]:
    """The same of what a shard is to bring."""
    registry, asked = ports.registry, decide.to_ask(shard)
    return {
        name: {
            each.sha256: each.size
            for each in (registry.find(name, versions) if versions else registry.stored(name))
        }
        for name, versions in asked.items()
    }


def _proved(wanted: Sequence[Transfer], ports: Ports) -> set[str]:
    """Proofs of files by URL that this or an earlier run has brought."""
    proofs = {transfer.proof for transfer in wanted} - {""}
    return {proof for proof in proofs if ports.store.get("proved", proof)}


# --- apply ---


def _apply(data: SyncShardPlanned, ports: Ports) -> Outcome:
    plan = Plan.read(ports.blobs.get(data.plan), f"The sync plan {data.plan}")
    if data.shard >= plan.count:
        raise Permanent(f"The sync plan {data.plan} has {plan.count} shards; there is no shard {data.shard}.")
    run = ports.store.get("runs", data.run_id) or {}
    workload = Workload.read(ports.blobs.get(run["workload_digest"]), "The stored workload")
    shard = _shard(plan, data, workload, ports)
    wanted = [each.transfer for each in shard.files]
    held = _listed(shard, ports)
    todo = decide.lacking(shard, held, _proved(wanted, ports))
    # Before the first byte: nothing comes in by what does not count any more, or lies in a repository without a record.
    waivers.check_leaning(shard.leaning, ports.store, ports.clock())
    second_look.check_standing(shard.workload, todo, ports.store, ports.blobs)
    records = held_files.records(todo, shard.release, shard.workload, data.run_id, ports.clock())
    ports.store.put([*records])
    sizes = _carrier(ports, workload, data.run_id).carry_all(todo, ports.scratch, _PARALLEL)
    brought = [each.transfer for each in todo]
    # What an earlier worker brought before it died counts as well.
    earlier = sum(held[each.repository][each.sha256] for each in set(wanted) - set(brought))
    return Outcome(
        (
            *decide.shard_done(data, len(wanted), sum(sizes) + earlier),
            *held_files.sized(brought, sizes),
        ),
        told={"bytes": sum(sizes), "files": len(todo)},
    )


def _shard(plan: Plan, data: SyncShardPlanned, workload: Workload, ports: Ports) -> Shard:
    if plan.parts:
        part = plan.parts[data.shard]
        return Shard.read(ports.blobs.get(part), f"The shard {part}")
    # A plan from before shards were stored one by one: its event may come for as long as a subscription keeps it.
    lock = Lock.read(ports.blobs.get(plan.lock), f"The lock {plan.lock}")
    basis = _basis(lock, workload, decide.sync_id(data.run_id, data.plan), ports)
    mends = held_files.mended({each.case for each in basis.judged}, ports.blobs)
    return decide.whole_shard(basis, plan.shards[data.shard], mends, ports.settings)


def _basis(lock: Lock, workload: Workload, sync_id: str, ports: Ports) -> second_look.Basis:
    counted = ports.store.get("syncs", sync_id) or {}
    return second_look.Basis.read(lock, workload, counted.get("judged", ()), ports.blobs)


def _carrier(ports: Ports, workload: Workload, run_id: str) -> Carrier:
    upstream = ports.upstream(workload)
    return Carrier(ports.store, ports.registry, upstream, ports.settings, ports.clock, run_id)


# --- re-evaluation ---


def _evictor(ports: Ports) -> eviction.Evictor:
    return eviction.Evictor(
        store=ports.store,
        blobs=ports.blobs,
        registry=ports.registry,
        settings=ports.settings,
        clock=ports.clock,
        bring=functools.partial(_once_more, ports, True),
        prove=functools.partial(_once_more, ports, False),
        relock=lambda holders, searched: affected.relocks(
            holders, lambda each: _lock_anew(each, ports), searched
        ),
    )


def _lock_anew(each: holdings.Remembered, ports: Ports) -> Lock:
    """The lock that this run would get today: everything that its outer VM had is judged again."""
    digest, workload = each.lock.manifest, each.workload
    manifest = ClaimedManifest.read(ports.blobs.get(digest), f"The manifest {digest}")
    first = Verdicts.read(ports.blobs.get(str(each.run["verdicts"])), "The run's verdicts")
    case = Case.read(ports.blobs.get(first.case), f"The case {first.case}")
    held = waivers.in_force(ports.store)
    court = Court(ports.advisories, ports.policy(), manifest.release, ports.clock(), workload.name, held)
    upstream = _upstream(workload, ports)
    now = replace(court, facts=upstream.facts).judge(case.subjects)
    verdicts = Verdicts(manifest=digest, case=first.case, verdicts=now)
    return locksmith.make(manifest, workload, verdicts, upstream, court, decide.installed(each.run))[0]


@on_disk("the sync stage")
def _once_more(ports: Ports, upload: bool, several: Sequence[Transfer]) -> None:
    """Files that were judged and proved once, fetched and proved anew like all others, and uploaded or not."""
    carrier = _carrier(ports, _NOBODY, "")
    for transfer in several:
        with tempfile.TemporaryDirectory(dir=ports.scratch, prefix="sync-") as folder:
            if upload:
                carrier.bring(transfer, Path(folder))
            else:
                carrier.prove(transfer, Path(folder))


# --- close ---


def settle(event: Event, ports: Ports) -> Sequence[Event]:
    """The shard that finishes last closes the run. Harmless if repeated."""
    if not isinstance(event.data, SyncShardPlanned):
        return ()
    data = event.data
    name = decide.sync_id(data.run_id, data.plan)
    if not closer.is_due(ports.store.get("syncs", name) or {}):
        return ()
    if not closer.is_mine(name, event.id, ports.store, ports.clock()):
        return ()
    closing = _closing(event, data.run_id, name, ports)
    if closing.writes:
        ports.store.put(closing.writes)
    return closing.events


def sweep(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    """What was left halfway: runs that could be closed, evictions."""
    yield from in_turn(_unclosed(event, ports), eviction.left(event, _evictor(ports)))


def _unclosed(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    """Runs whose shards are all done, and whose closing was lost or came before the repositories listed every file."""
    troubles: list[DmzError] = []
    for run_id, run in ports.store.find("runs", "state", "running"):
        for name, counted in (
            ports.store.find("syncs", "run_id", run_id) if run.get("stage") == "sync" else ()
        ):
            try:
                if not closer.is_due(counted) or not closer.is_left(
                    name, event.id, ports.store, ports.clock()
                ):
                    continue
                closing = _closing(event, run_id, name, ports)
            except Transient as error:
                if never := _never_listed(event, run_id, name, error, ports):
                    yield f"{name}-unlisted", never
                    break
                continue  # the next tick looks again
            except Permanent as error:
                yield f"{name}-failed", fail(event, run_id, "sync", str(error), "", ports.clock())
                break  # a run ends once
            except DmzError as error:
                troubles.append(error)
                continue
            if closing.events:
                yield name, closing
    if troubles:
        raise Transient(f"{len(troubles)} runs could not be closed: {troubles[0]}")


def _never_listed(event: Event, run_id: str, sync_id: str, error: Transient, ports: Ports) -> Outcome | None:
    """The end of a run whose files the repositories do not list; the counter says since when they were missed."""
    if not isinstance(error, Unlisted):
        return None
    now, since = ports.clock(), (ports.store.get("syncs", sync_id) or {}).get("unlisted")
    if since is None:
        ports.store.put([Put("syncs", sync_id, {"unlisted": now}, merge=True)])
    if since is None or now < since + decide.LISTED_WITHIN:
        return None
    return fail(event, run_id, "sync", decide.never_listed(str(error)), "", now)


@on_disk("the sync stage")
def _closing(cause: Event, run_id: str, sync_id: str, ports: Ports) -> Outcome:
    """The end of the stage, if every shard is done and every file of the lock is there, by hash."""
    try:
        return _closed(cause, run_id, sync_id, ports)
    except Transient:
        closer.gives_up(sync_id, ports.store)
        raise


def _closed(cause: Event, run_id: str, sync_id: str, ports: Ports) -> Outcome:
    counted = ports.store.get("syncs", sync_id) or {}
    run = ports.store.get("runs", run_id) or {}
    if run.get("state") != "running" or not closer.is_due(counted):
        return Outcome()
    lock = Lock.read(ports.blobs.get(counted["lock"]), f"The lock {counted['lock']}")
    names, ships = ports.settings, run.get("stage") == "sync"
    wanted = holdings.wanted(lock, names)
    absent = decide.missing(wanted, _held(wanted, ports), _proved(wanted, ports))
    judged: tuple[Verdicts, ...] = ()
    if ships:
        workload = Workload.read(ports.blobs.get(run["workload_digest"]), "The stored workload")
        basis = _basis(lock, workload, sync_id, ports)
        judged = basis.judged
        basis.check_gone(absent, ports.store)
        basis.check_waivers(names, ports.store, ports.clock())
    if absent:
        raise Unlisted(
            f"{len(absent)} uploaded files are not listed by the repositories yet, {absent[0].sha256} first."
        )
    now = ports.clock()
    completed = (decide.completed(cause, run_id, counted["lock"], now),)
    if not ships:
        return Outcome((), completed)
    publishers = attested.named(wanted, ports.store)
    approved = papers.approved(lock, judged, ports.blobs, publishers)
    written = papers.publish(approved, ports.blobs, ports.registry, names.generic_repository, ports.scratch)
    learned = Put("runs", run_id, decide.synced(counted, run, now) | written, merge=True)
    return Outcome((learned,), completed)
