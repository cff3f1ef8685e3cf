"""Whose runs and running VMs hold a package about which something else is decided now.

`affected/<id>` names them, with what was decided before and is now; each of these runs' documents has it as well, under
`affected`. The id is that of `standing/<id>`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass

from shared.creation import vm_name
from shared.errors import DmzError, Permanent, Transient
from shared.events import VerdictChanged
from shared.held.holdings import Remembered, remembered, wanted
from shared.held.searched import Searched
from shared.locking import difference
from shared.model.holdings import HeldFile
from shared.model.lock import Lock
from shared.model.value import printable
from shared.ports.store import Blobs, Document, Put, Store
from shared.settings import Settings

COLLECTION = "affected"
SHOWN = 200
"""Runs that the document names: those with a VM first, then the youngest."""
_AT_ONCE = 100
_PER_RUN = 200
"""Packages that one run's document names; `affected/<id>` names the run all the same."""
_RELOCKS = 3
"""Locks for which a new one is searched; the first are those of running VMs."""
_NAMED = 100
"""Further locks that are named without a search."""
_RUNS = 50
"""Runs that are named with a lock: the document has them all."""
_SECONDS = 180.0
"""For all relocks of one package together."""
_SEARCHES = 2
_DIED: Document = {"lock": "", "runs": [], "why": "It could not be searched: the stage died over it twice."}
_LINES = 50


@dataclass(frozen=True)
class Holder:
    """One run that holds it."""

    remembered: Remembered
    vm: str
    """Name of the inner VM that is still up; empty if there is none."""

    def document(self) -> Document:
        run = self.remembered.run
        return {
            "run_id": self.remembered.run_id,
            "workload": self.remembered.lock.workload,
            "state": run.get("state"),
            "vm": self.vm,
            "lock": run.get("lock"),
        }


def holders(
    files: Collection[HeldFile], workloads: Collection[str], store: Store, blobs: Blobs, settings: Settings
) -> list[Holder]:
    """Runs of these workloads whose lock names one of the files; a run that failed has left no machine."""
    places = {(file.repository, file.sha256) for file in files}
    locks: dict[str, bool] = {}
    found = []
    for each in remembered(store, blobs):
        if each.run.get("state") == "failed" or each.lock.workload not in workloads:
            continue
        digest = str(each.run["lock"])
        if digest not in locks:
            of_lock = {(one.repository, one.sha256) for one in wanted(each.lock, settings)}
            locks[digest] = not places.isdisjoint(of_lock)
        if locks[digest]:
            found.append(Holder(each, _vm(each, store)))
    return sorted(
        found,
        key=lambda one: (not one.vm, -float(one.remembered.run.get("requested") or 0), one.remembered.run_id),
    )


def _vm(each: Remembered, store: Store) -> str:
    name = vm_name("inner", each.run_id)
    record = store.get("vms", name)
    if record is None or record.get("state") == "ended" or record.get("ended"):
        return ""
    kept = each.run.get("state") == "running" or each.run.get("after") == "keep"
    return name if kept else ""


def relocks(
    found: Sequence[Holder], lock_anew: Callable[[Remembered], Lock], searched: Searched
) -> list[Document]:
    """What the next run of each would change: a lock that may be held today, and its difference to the one they have.

    Only proposed. Of many locks the first few; where no admissible set is left, or none could be searched, the reason.
    Whatever goes wrong here is told and keeps nothing else from happening.
    """
    by_lock: dict[str, list[Holder]] = {}
    for one in found:
        by_lock.setdefault(str(one.remembered.run["lock"]), []).append(one)
    until = time.monotonic() + _SECONDS
    made: list[Document] = []
    for number, (digest, several) in enumerate(by_lock.items()):
        if number == _RELOCKS + _NAMED:
            why = f"Not searched: {len(by_lock) - number} locks more hold it."
            made.append({"lock": "", "runs": [], "why": why})
            break
        told: Document = {"lock": digest, "runs": [one.remembered.run_id for one in several[:_RUNS]]}
        if number >= _RELOCKS:
            why = f"Not searched: only the first {_RELOCKS} of {len(by_lock)} locks that hold it are."
            made.append({**told, "why": why})
            continue
        try:
            made.append({**told, **_relock(several[0].remembered, lock_anew, searched, until)})
        except DmzError as error:
            made.append({**told, "why": printable(str(error), 2000)})
        except Exception as error:  # a mistake of ours must not keep what was done from being recorded
            why = f"It could not be searched: {type(error).__name__}: {error}"
            made.append({**told, "why": printable(why, 2000)})
    return made


def _relock(
    each: Remembered, lock_anew: Callable[[Remembered], Lock], searched: Searched, until: float
) -> Document:
    def search() -> Document:
        try:
            proposed = _by(until, lambda: lock_anew(each))
        except Permanent as error:  # that nothing fits is an answer
            return {"why": printable(str(error), 2000)}
        rows = difference.between(each.lock, proposed)
        return {
            "proposal": searched.blobs.put(proposed.canonical()),
            "changes": difference.document(rows),
            "lines": [printable(line, 500) for line in difference.lines(rows, _LINES)],
        }

    return searched.answer(str(each.run["lock"]), search, until)


def _by(until: float, search: Callable[[], Lock]) -> Lock:
    """What it finds; Transient if it takes too long: what still goes on then is let go."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="relock")
    try:
        return pool.submit(search).result(max(0.0, until - time.monotonic()))
    except FutureTimeout as error:
        raise Transient(f"It could not be searched within {_SECONDS:.0f} seconds.") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def tell(
    id: str,
    data: VerdictChanged,
    found: Sequence[Holder],
    relock: Callable[[Sequence[Holder]], Sequence[Document]],
    store: Store,
    now: float,
) -> None:
    """Written as often as it is told; the runs' own documents learn it in a few batches.

    Who holds it is told before a relock is searched. A search over which the stage has died twice is not begun again.
    """
    known = store.get(COLLECTION, id) or {}
    searches = int(known.get("searches") or 0) if known.get("verdicts") == data.verdicts else 0
    fields = {
        "purl": data.purl,
        "before": data.before,
        "after": data.after,
        "reason": data.reason,
        "verdicts": data.verdicts,
        "at": now,
        "over": None,
        "holders": len(found),
        "machines": sum(bool(one.vm) for one in found),
        "runs": [one.document() for one in found[:SHOWN]],
        "relocks": [],
        "searches": searches + 1,
    }
    store.put([Put(COLLECTION, id, fields)])
    said = {
        "purl": data.purl,
        "before": data.before,
        "after": data.after,
        "reason": data.reason[:500],
        "at": now,
    }
    _spread(
        store,
        [
            Put("runs", one.remembered.run_id, {"affected": {id: said}}, merge=True)
            for one in found[:SHOWN]
            if _room(one.remembered.run.get("affected") or {}, id)
        ],
    )
    if not found:
        return
    relocks = relock(found) if searches < _SEARCHES else [_DIED]
    store.put([Put(COLLECTION, id, {"relocks": list(relocks), "searches": 0}, merge=True)])


def _room(known: Document, id: str) -> bool:
    """A run's document ends at 1 MiB, and everything that it holds may be refused at once."""
    return id in known or len(known) < _PER_RUN


def over(id: str, store: Store, now: float) -> None:
    """It may be held again: nobody is affected any more."""
    known = store.get(COLLECTION, id)
    if not known or known.get("over"):
        return
    runs = [str(each["run_id"]) for each in known["runs"]]
    _spread(
        store,
        [
            Put("runs", run_id, {"affected": {id: {"over": now}}}, merge=True)
            for run_id in runs
            if store.get("runs", run_id)
        ],
    )
    store.put([Put(COLLECTION, id, {"over": now}, merge=True)])


def _spread(store: Store, writes: Sequence[Put]) -> None:
    for batch in _batches(writes):
        store.put(batch)


def _batches(writes: Sequence[Put]) -> Iterator[Sequence[Put]]:
    for start in range(0, len(writes), _AT_ONCE):
        yield writes[start : start + _AT_ONCE]
