"""Whether a waiver that begins or ends can change the verdict about anything that is held, or that a run waits for.

All that is held is judged every hour in any case. A waiver asks for it at once only if

1. it may mean a package that was held when it was last listed, for a workload that holds it;
2. or, when it begins, one that a run waits for;
3. or, when it ends, a run has leaned on it: what came in since the last listing did so by its own verdict.

Where that cannot be told, everything is judged again: nothing was listed yet, or not for long, or it cannot be read.
"""

from __future__ import annotations

from shared.errors import Permanent
from shared.held.holdings import awaited
from shared.model.holdings import Holdings
from shared.model.purl_pattern import matches
from shared.model.waiver import Waiver
from shared.ports.store import Blobs, Store
from shared.waivers import SHOWN

_LONG_AGO = 86_400.0
"""Seconds."""
_STATES = ("running", "completed", "failed")


def by_grant(waiver: Waiver, store: Store, blobs: Blobs, now: float) -> bool:
    """Whether something may be better off with it."""
    return _held(waiver, store, blobs, now) or any(
        _means(waiver, each.package.purl, (run.workload,))
        for run in awaited(store, blobs, now)  # 2
        for each in run.subjects
    )


def by_end(waiver: Waiver, store: Store, blobs: Blobs, now: float) -> bool:
    """Whether something may be worse off without it."""
    return _held(waiver, store, blobs, now) or any(
        len(named := run.get("waivers") or ()) >= SHOWN or any(each["id"] == waiver.id for each in named)
        for state in _STATES
        for _, run in store.find("runs", "state", state)  # 3
    )


def _held(waiver: Waiver, store: Store, blobs: Blobs, now: float) -> bool:  # 1
    latest = store.get("reevaluations", "latest")
    if not latest or now - float(latest["at"]) > _LONG_AGO:
        return True
    try:
        listed = Holdings.read(blobs.get(str(latest["holdings"])), "The holdings")
    except Permanent:
        return True
    return any(_means(waiver, held.purl, held.workloads) for held in listed.held)


def _means(waiver: Waiver, purl: str, workloads: tuple[str, ...]) -> bool:
    """What no run holds any more is judged for nobody: by waivers for every workload alone."""
    whose = not waiver.workload or waiver.workload in workloads
    return whose and (not waiver.package or matches(waiver.package, purl))
