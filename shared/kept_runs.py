"""Runs whose inner VM was kept: what they are made of stays as long as the machine does.

A document ends a time after its last write (`shared.retention`), and a VM whose run nobody knows is deleted. A machine
that has processed data for a year must not go because nobody wrote to its run.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from shared import machines, retention
from shared.delivery import Outcome
from shared.errors import DmzError, Permanent, Transient
from shared.model.value import Digest
from shared.ports.machines import Unreachable, Vm
from shared.ports.store import Document, Put
from shared.vm_stages import Ports


def renewals(ports: Ports) -> Iterator[tuple[str, Outcome]]:
    """For each kept VM whose run was last written long ago: everything of that run written anew.

    One that fails keeps no other back; the tick fails at its end, and the next one tries again: there are months left.
    """
    troubles: list[DmzError] = []
    for vm in _listed(ports):
        if vm.labels.get(machines.KIND_LABEL) != "inner" or vm.state == "DELETING":
            continue
        try:
            renewed = _renewed(vm.labels.get(machines.RUN_LABEL, ""), ports)
        except DmzError as error:
            troubles.append(error)
            continue
        if renewed:
            yield renewed
    if troubles:
        raise Transient(f"The papers of {len(troubles)} kept VMs could not be renewed: {troubles[0]}")


def _renewed(run_id: str, ports: Ports) -> tuple[str, Outcome] | None:
    """None if the run has no kept VM, or was written lately."""
    run = ports.store.get("runs", run_id) or {}
    if run.get("state") != "completed" or run.get("after") != "keep":
        return None
    last, now = float(run.get("renewed") or run["ended"]), ports.clock()
    if now <= last + retention.RENEW_DAYS * retention.DAY:
        return None
    _written_anew(run_id, run, ports)
    return f"{run_id}-renewed-{last:.0f}", Outcome((Put("runs", run_id, {"renewed": now}, merge=True),))


def _listed(ports: Ports) -> Sequence[Vm]:
    """What can be seen; that a zone did not answer is told by the watchdog (`Machines.sweep`)."""
    try:
        return ports.vms.all()
    except Unreachable as error:
        return error.found


def _written_anew(run_id: str, run: Document, ports: Ports) -> None:
    """All but the run itself, which comes last: a death in between has the next sweep begin again."""
    name = machines.vm_name("inner", run_id)
    for digest in named(run, ports.store.get("vms", name) or {}):
        with contextlib.suppress(Permanent):  # content that was lost is no reason to lose the rest
            ports.blobs.put(ports.blobs.get(digest))
    ports.store.put_many("verdicts", dict(ports.store.find("verdicts", "run_id", run_id)))
    ports.store.put([Put("vms", name, {}, merge=True), Put("endings", run_id, {}, merge=True)])


def named(run: Document, record: Document) -> list[Digest]:
    """The content that a run's document names, and the lock that the VM of this record installed."""
    answers = (run.get("attestation") or {}).values()
    found = [run.get(name) for name in ("workload_digest", "manifest", "case", "verdicts", "lock")]
    found += [*run.get("replacement_cases", ()), *run.get("replacement_verdicts", ())]
    found += [answer.get(name) for answer in answers for name in ("result", "summary")]
    found.append(record.get("lock"))
    return [digest for digest in dict.fromkeys(found) if digest]
