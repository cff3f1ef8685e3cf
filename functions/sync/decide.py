"""Pure decisions of the sync stage: what is wanted, what is missing, how it is split, when it is done."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from shared.errors import Permanent
from shared.events import Event, SyncCompleted, SyncShardPlanned, VerdictsWritten, derive
from shared.locking import difference
from shared.model.lock import Lock
from shared.model.plan import Plan, Transfer, shard
from shared.model.value import Digest
from shared.model.verdict import Verdicts
from shared.ports.store import Create, Increment, Put, Write


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


def plan(lock: Digest, absent: tuple[Transfer, ...], limit: int) -> Plan:
    return Plan(lock=lock, shards=shard(absent, limit))


def sync_id(run_id: str, plan: Digest) -> str:
    return f"{run_id}-{plan[7:19]}"


def installed(run: Mapping[str, Any]) -> float:
    """When the outer VM had installed, in whole seconds since the epoch: what it took was in the archives then."""
    ended = run.get("stages", {}).get("outer", {}).get("ended")
    return float(int(ended or run.get("requested", 0)))


def lock_name(digest: Digest) -> tuple[str, str, str]:
    """(package, version, file name) of a lock in the generic repository."""
    return "lock", digest.removeprefix("sha256:"), "lock.json"


def planned(
    run_id: str, lock: Lock, made: Plan, absent: tuple[Transfer, ...], now: float, begun: bool
) -> tuple[Write, ...]:
    """The counter that the shards count down, and what the run learns.

    That is nothing once the inner VM was `begun`: it installs the lock of its own record, whatever a replay plans.
    """
    digest = made.digest
    counter = {"run_id": run_id, "lock": lock.digest, "shards": len(made.shards)}
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
