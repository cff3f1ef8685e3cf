"""Whose runs and running VMs hold a package about which something else is decided now.

`affected/<id>` names them, with what was decided before and is now; each of these runs' documents has it as well, under
`affected`. The id is that of `standing/<id>`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from shared.creation import vm_name
from shared.errors import DmzError
from shared.holdings import Remembered, remembered, wanted
from shared.locking import difference
from shared.model.holdings import HeldFile
from shared.model.lock import Lock
from shared.model.value import printable
from shared.model.verdict import Decision
from shared.ports import Blobs, Document, Put, Store
from shared.settings import Settings

COLLECTION = "affected"
SHOWN = 200
"""Runs that the document names: those with a VM first, then the youngest."""
_AT_ONCE = 100
_RELOCKS = 3
"""Locks for which a new one is searched; the first are those of running VMs."""
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


def relocks(found: Sequence[Holder], lock_anew: Callable[[Remembered], Lock], blobs: Blobs) -> list[Document]:
    """What the next run of each would change: a lock that may be held today, and its difference to the one they have.

    Only proposed. Of many locks the first few; where no admissible set is left, the reason.
    """
    by_lock: dict[str, list[Holder]] = {}
    for one in found:
        by_lock.setdefault(str(one.remembered.run["lock"]), []).append(one)
    made: list[Document] = []
    for digest, several in list(by_lock.items())[:_RELOCKS]:
        told: Document = {"lock": digest, "runs": [one.remembered.run_id for one in several[:SHOWN]]}
        try:
            proposed = lock_anew(several[0].remembered)
        except DmzError as error:
            made.append({**told, "why": printable(str(error), 2000)})
            continue
        rows = difference.between(several[0].remembered.lock, proposed)
        changes = difference.document(rows)
        words = [printable(line, 500) for line in difference.lines(rows, _LINES)]
        proposal = blobs.put(proposed.canonical())
        made.append({**told, "proposal": proposal, "changes": changes, "lines": words})
    return made


def tell(
    id: str,
    purl: str,
    before: Decision,
    after: Decision,
    reason: str,
    found: Sequence[Holder],
    relocks: Sequence[Document],
    store: Store,
    now: float,
) -> None:
    """Written as often as it is told; the runs' own documents learn it in a few batches."""
    fields = {
        "purl": purl,
        "before": before,
        "after": after,
        "reason": reason,
        "at": now,
        "over": None,
        "holders": len(found),
        "machines": sum(bool(one.vm) for one in found),
        "runs": [one.document() for one in found[:SHOWN]],
        "relocks": list(relocks),
    }
    store.put([Put(COLLECTION, id, fields)])
    said = {"purl": purl, "before": before, "after": after, "reason": reason[:500], "at": now}
    _spread(
        store,
        [Put("runs", one.remembered.run_id, {"affected": {id: said}}, merge=True) for one in found[:SHOWN]],
    )


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
