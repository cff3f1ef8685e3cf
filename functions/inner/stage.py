"""Inner stage: creates the VM that has no way out, and believes its install only package by package."""

from __future__ import annotations

from collections.abc import Iterator

from functions.inner import decide
from shared import machines
from shared.delivery import Outcome, fail
from shared.errors import Untrusted
from shared.events import Event, InnerInstallCompleted, RunCompleted, RunFailed, SyncCompleted, derive
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest
from shared.model.workload import Workload
from shared.ports import Document
from shared.vm_stages import Ports


def handle_event(event: Event, ports: Ports) -> Outcome:
    run = ports.store.get("runs", event.run_id) or {}
    if isinstance(event.data, SyncCompleted):
        return _start(event, event.data, run, ports)
    if isinstance(event.data, InnerInstallCompleted):
        return _appraise(event, event.data, run, ports)
    if not isinstance(event.data, RunFailed):
        raise Untrusted(f"The inner stage has nothing to do with {event.type}; check its subscriptions.")
    if run.get("state") != "completed":
        ports.machines("inner").end(event.run_id)
    return Outcome()


def sweep(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    return ports.machines("inner").sweep(event, "inner")


def _start(event: Event, data: SyncCompleted, run: Document, ports: Ports) -> Outcome:
    if run.get("state") != "running":
        return Outcome()
    workload = Workload.read(ports.blobs.get(run["workload_digest"]), "The stored workload")
    lock = Lock.read(ports.blobs.get(data.lock), f"The lock {data.lock}")
    record = ports.machines("inner").record(event, workload.install_minutes, data.lock)
    if record["lock"] != data.lock:
        return Outcome()  # a replay made another lock; the VM that there is installs the first one
    metadata = decide.metadata(event, workload, lock, record, ports.settings)
    ports.machines("inner").create(record, workload.accelerator_type, workload.runtime_version, metadata)
    return Outcome()


def _appraise(event: Event, report: InnerInstallCompleted, run: Document, ports: Ports) -> Outcome:
    run_id, now = report.run_id, ports.clock()
    record = ports.machines("inner").authenticate(event, report)
    if run.get("state") != "running":
        return Outcome()
    if report.state == "failed" or report.installed is None:
        ports.machines("inner").end(run_id)
        return fail(event, run_id, "inner", machines.broken("inner", report.tail), report.tail, now)
    lock = Lock.read(ports.blobs.get(record["lock"]), f"The lock {record['lock']}")
    manifest = ClaimedManifest.read(ports.blobs.get(lock.manifest), f"The manifest {lock.manifest}")
    found = machines.unpack(report.installed, "The inner VM's inventory")
    comparison = decide.compare(manifest, lock, found)
    vm = machines.vm_name("inner", run_id)
    if reason := decide.objection(comparison, report):
        ports.machines("inner").end(run_id)
        tail = report.smoke.tail if report.smoke else report.tail
        failure = fail(event, run_id, "inner", reason, tail, now)
        return Outcome((decide.result(run_id, comparison, report, ""), *failure.writes), failure.events)
    kept = vm if run.get("after") == "keep" else ""
    if not kept:
        ports.machines("inner").end(run_id)
    completed = RunCompleted(run_id=run_id, lock=record["lock"], inner_vm=kept)
    writes = (
        decide.result(run_id, comparison, report, kept),
        *decide.completed(run_id, now),
        *((ports.machines("inner").reported(run_id),) if kept else ()),
    )
    return Outcome(writes, (derive(event, "run-completed", completed, stage="inner", now=now),))
