"""Inner stage: creates the VM that has no way out, and believes its install only package by package."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.inner import decide
from shared import machines
from shared.delivery import Outcome, fail
from shared.events import Event, InnerInstallCompleted, RunCompleted, SyncCompleted, derive
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest
from shared.model.workload import Workload
from shared.ports import Blobs, Document, Put, Store, Vms
from shared.settings import Settings


@dataclass(frozen=True)
class Ports:
    """What this stage needs from the world."""

    store: Store
    blobs: Blobs
    vms: Vms
    settings: Settings
    clock: Callable[[], float]
    secret: Callable[[], str]

    @property
    def machines(self) -> machines.Machines:
        return machines.Machines("inner", self.store, self.vms, self.clock, self.secret)


def handle_event(event: Event, ports: Ports) -> Outcome:
    run = ports.store.get("runs", event.run_id) or {}
    if isinstance(event.data, SyncCompleted):
        return _start(event, event.data, run, ports)
    if isinstance(event.data, InnerInstallCompleted):
        return _appraise(event, event.data, run, ports)
    ports.machines.end(event.run_id)
    return Outcome()


def sweep(event: Event, ports: Ports) -> Sequence[tuple[str, Outcome]]:
    return ports.machines.sweep(event, "inner")


def _start(event: Event, data: SyncCompleted, run: Document, ports: Ports) -> Outcome:
    if run.get("state") != "running":
        return Outcome()
    workload = Workload.read(ports.blobs.get(run["workload_digest"]), "The stored workload")
    lock = Lock.read(ports.blobs.get(data.lock), f"The lock {data.lock}")
    record = ports.machines.record(data.run_id, workload.install_minutes)
    metadata = decide.metadata(event, workload, lock, str(record["report_token"]), ports.settings)
    ports.machines.create(data.run_id, workload.accelerator_type, workload.runtime_version, metadata)
    return Outcome()


def _appraise(event: Event, report: InnerInstallCompleted, run: Document, ports: Ports) -> Outcome:
    run_id, now = report.run_id, ports.clock()
    ports.machines.authenticate(run_id, report.report_token)
    if run.get("state") != "running":
        return Outcome()
    if report.state == "failed" or report.installed is None:
        ports.machines.end(run_id)
        reason = "The install on the inner VM failed; its last lines say why."
        return fail(event, run_id, "inner", reason, report.tail, now)
    lock = Lock.read(ports.blobs.get(run["lock"]), f"The lock {run['lock']}")
    manifest = ClaimedManifest.read(ports.blobs.get(lock.manifest), f"The manifest {lock.manifest}")
    found = machines.unpack(report.installed, "The inner VM's inventory")
    comparison = decide.compare(manifest, lock, found)
    result = Put(
        "runs", run_id, decide.result(comparison, report, machines.vm_name("inner", run_id)), merge=True
    )
    if reason := decide.objection(comparison, report):
        ports.machines.end(run_id)
        failure = fail(
            event, run_id, "inner", reason, report.smoke.tail if report.smoke else report.tail, now
        )
        return Outcome((result, *failure.writes), failure.events)
    kept = machines.vm_name("inner", run_id) if run.get("after") == "keep" else ""
    if not kept:
        ports.machines.end(run_id)
    done = derive(
        event,
        "run-completed",
        RunCompleted(run_id=run_id, lock=run["lock"], inner_vm=kept),
        stage="inner",
        now=now,
    )
    return Outcome((result, decide.completed(run_id, now), ports.machines.reported(run_id)), (done,))
