"""Pure decisions of the sync stage: what is wanted, what is missing, how it is split, when it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Sized
from typing import Any

from shared import held_files
from shared.carrier import generic_name
from shared.errors import Permanent
from shared.events import Event, SyncCompleted, SyncShardPlanned, VerdictsWritten, derive
from shared.held_files import Mends
from shared.locking import difference
from shared.model.lock import Lock, LockedGeneric, LockedPython
from shared.model.plan import GUESS, Plan, Planned, Shard, Size, Transfer, split
from shared.model.value import Digest
from shared.model.verdict import Verdicts
from shared.ports.store import Create, Increment, Put, Write
from shared.second_look import Basis
from shared.settings import Settings

_ROWS = 32
"""Of a list, which cost about as much as one question of its own."""


def check_verdicts(manifest: Digest, verdicts: Verdicts) -> None:
    """What was judged is what is shipped: the verdicts are about this very manifest."""
    if verdicts.manifest != manifest:
        raise Permanent(
            f"The verdicts are about the manifest {verdicts.manifest}, not about {manifest}; refused."
        )


def missing(
    wanted: Sequence[Transfer], held: Mapping[str, Collection[Digest]], proved: Collection[str]
) -> tuple[Transfer, ...]:
    """Desired state against what the repositories hold, by hash; a name that exists proves nothing.

    Nor do bytes that are here say that a URL gave them: a file by URL is missing until `proved` has its proof.
    """
    return tuple(
        each
        for each in wanted
        if each.sha256 not in held[each.repository] or (each.proof and each.proof not in proved)
    )


def lacking(
    shard: Shard, held: Mapping[str, Collection[Digest]], proved: Collection[str]
) -> tuple[Planned, ...]:
    """`missing`, of a shard."""
    todo = set(missing([each.transfer for each in shard.files], held, proved))
    return tuple(each for each in shard.files if each.transfer in todo)


def check_sizes(sizes: Mapping[Transfer, Size], most: int) -> None:
    """A file lies on the instance's disk as a whole before it is proved: Permanent if one is too large for that."""
    for transfer, size in sizes.items():
        if size.count > most:
            file = transfer.file
            what = file.url if isinstance(file, LockedGeneric) else file.filename
            raise Permanent(
                f"{what} has {size.count} bytes, and no file of more than {most} is brought in (DMZ_FILE_BYTES): leave "
                "it out, or give the sync stage more memory and raise that."
            )


def shards(
    basis: Basis, sizes: Mapping[Transfer, Size], names: Settings, held: Mapping[str, Sized], mends: Mends
) -> tuple[Shard, ...]:
    """What is missing, `sizes`, in parts of which each holds all that its worker has to know."""
    holding = Counter({repository: len(files) for repository, files in held.items()})
    holding.update(each.repository for each in sizes)
    leaning = dict(basis.leaning(names))
    weights = [(transfer, size.count) for transfer, size in sizes.items()]
    return tuple(
        _shard(basis, [_planned(basis, each, sizes[each], mends) for each in part], leaning, holding)
        for part in split(weights, int(names.shard_bytes))
    )


def whole_shard(basis: Basis, files: Sequence[Transfer], mends: Mends, names: Settings) -> Shard:
    """As `shards` makes them, of files that were planned without their sizes."""
    planned = []
    for each in files:
        file = each.file
        size = GUESS if isinstance(file, LockedPython) else Size(count=file.size, promised=True)
        planned.append(_planned(basis, each, size, mends))
    return _shard(basis, planned, dict(basis.leaning(names)), {})


def _shard(
    basis: Basis, files: Sequence[Planned], leaning: dict[str, str], holding: Mapping[str, int]
) -> Shard:
    return Shard(
        lock=basis.lock.digest,
        workload=basis.lock.workload,
        release=basis.lock.release,
        files=tuple(files),
        leaning=leaning,
        holding={name: holding.get(name, 0) for name in sorted({each.transfer.repository for each in files})},
    )


def _planned(basis: Basis, transfer: Transfer, size: Size, mends: Mends) -> Planned:
    about = held_files.subject(transfer, basis.lock, basis.workload, mends)
    cases = basis.cases.get(about.package.purl, ())
    return Planned(transfer=transfer, size=size, subject=about, cases=cases)


def to_ask(shard: Shard) -> Mapping[str, tuple[tuple[str, str], ...]]:
    """Repository to the versions that it is asked for one by one; nothing where its whole list is the smaller answer.

    So what all shards together are told grows with what there is to bring, and not with its square.
    """
    files: dict[str, list[Transfer]] = {}
    for each in shard.files:
        files.setdefault(each.transfer.repository, []).append(each.transfer)
    return {
        name: ()
        if shard.holding.get(name, 0) <= _ROWS * len(some)
        else tuple(sorted({_version(each) for each in some}))
        for name, some in sorted(files.items())
    }


def _version(transfer: Transfer) -> tuple[str, str]:
    """Package and version under which the registry keeps it."""
    named = transfer.python or transfer.archive
    return (named.name, named.version) if named else generic_name(transfer.sha256)[:2]


def sync_id(run_id: str, plan: Digest) -> str:
    return f"{run_id}-{plan[7:19]}"


def installed(run: Mapping[str, Any]) -> float:
    """When the outer VM had installed, in whole seconds since the epoch: what it took was in the archives then."""
    ended = run.get("stages", {}).get("outer", {}).get("ended")
    return float(int(ended or run.get("requested", 0)))


def planned(
    run_id: str, lock: Lock, made: Plan, absent: tuple[Transfer, ...], now: float, begun: bool
) -> tuple[Write, ...]:
    """The counter that the shards count down, and what the run learns.

    That is nothing once the inner VM was `begun`: it installs the lock of its own record, whatever a replay plans.
    """
    digest = made.digest
    counter = {"run_id": run_id, "lock": lock.digest, "shards": made.count}
    counted = Put("syncs", sync_id(run_id, digest), counter, merge=True)
    if begun:
        return (counted,)
    return (
        counted,
        Put(
            "runs",
            run_id,
            {
                "lock": lock.digest,
                "changes": difference.document(difference.rows(lock.changes)),
                "planned": len(absent),
                "stages": {"sync": {"planned": now}},
            },
            merge=True,
        ),
        Put(
            "progress",
            f"{run_id}-sync",
            {"run_id": run_id, "total": len(absent), "text": "files"},
            merge=True,
        ),
    )


def replacements_judged(
    run_id: str, judged: Sequence[tuple[Digest, Digest]], begun: bool
) -> tuple[Write, ...]:
    """The run learns where all that was judged on the way to its lock is kept: (verdicts, their case).

    As for the lock: not once `begun`.
    """
    fields = {
        "replacement_verdicts": [verdicts for verdicts, _ in judged],
        "replacement_cases": [case for _, case in judged],
    }
    return () if begun else (Put("runs", run_id, fields, merge=True),)


def judged_by(data: VerdictsWritten, made: Plan, others: Sequence[Digest]) -> Put:
    """By which verdicts this very lock was made: what its papers are written from when all of it is there."""
    fields = {"judged": [data.verdicts, *others]}
    return Put("syncs", sync_id(data.run_id, made.digest), fields, merge=True)


LISTED_WITHIN = 900.0
"""Seconds: a listing lags by seconds; what it has not after so long was lost, or deleted."""


def never_listed(error: str) -> str:
    """Why a run ends whose files do not show."""
    return (
        f"{error.replace(' yet,', f' after {LISTED_WITHIN / 60:.0f} minutes,', 1).rstrip('.')}; see who has deleted "
        "them there, and request the run again."
    )


def shard_id(data: SyncShardPlanned) -> str:
    return f"{sync_id(data.run_id, data.plan)}-{data.shard}"


def shard_done(data: SyncShardPlanned, artifacts: int, transferred: int) -> tuple[Write, ...]:
    """The shard's create-only document and the counters in one batch: a redelivery cannot count twice."""
    name = sync_id(data.run_id, data.plan)
    return (
        Create(
            "shards",
            shard_id(data),
            {"run_id": data.run_id, "artifacts": artifacts, "bytes": transferred},
        ),
        Increment("syncs", name, "done", 1),
        Increment("syncs", name, "artifacts", artifacts),
        Increment("syncs", name, "bytes", transferred),
    )


def synced(counted: Mapping[str, Any], run: Mapping[str, Any], now: float) -> dict[str, Any]:
    """What the run learns when its last shard is done; the time of the first closing stays."""
    ended = run.get("stages", {}).get("sync", {}).get("ended", now)
    return {
        "stage": "inner",
        "mirrored": {"artifacts": counted.get("artifacts", 0), "bytes": counted.get("bytes", 0)},
        "stages": {"sync": {"ended": ended}, "inner": {"started": ended}},
    }


def completed(cause: Event, run_id: str, lock: Digest, now: float) -> Event:
    return derive(cause, "sync-completed", SyncCompleted(run_id=run_id, lock=lock), stage="sync", now=now)
