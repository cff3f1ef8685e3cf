"""Inner stage: creates the VM that has no way out, and believes its install only package by package."""

from __future__ import annotations

from collections.abc import Iterator

from functions.inner import decide
from shared import machines
from shared.delivery import Outcome, fail
from shared.errors import Untrusted
from shared.events import (
    AttestationAppraised,
    Event,
    InnerInstallCompleted,
    RunCompleted,
    RunFailed,
    SyncCompleted,
    derive,
)
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest
from shared.model.value import Digest
from shared.model.workload import Workload
from shared.ports import Document, Write
from shared.vm_stages import Ports


def handle_event(event: Event, ports: Ports) -> Outcome:
    run = ports.store.get("runs", event.run_id) or {}
    if isinstance(event.data, SyncCompleted):
        return _start(event, event.data, run, ports)
    if isinstance(event.data, InnerInstallCompleted):
        return _appraise(event, event.data, run, ports)
    if isinstance(event.data, AttestationAppraised):
        return _attested(event, event.data, run, ports)
    if not isinstance(event.data, RunFailed):
        raise Untrusted(f"The inner stage has nothing to do with {event.type}; check its subscriptions.")
    if run.get("state") != "completed":
        ports.machines("inner").end(event.run_id)
    return Outcome()


def sweep(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    """VMs that will not report, and data services that do not answer."""
    for run_id, run in ports.store.find("runs", "state", "running"):
        now = ports.clock()
        if reason := decide.silence(run, now):
            yield f"{run_id}-attestation", fail(event, run_id, "attestation", reason, "", now)
    yield from ports.machines("inner").sweep(event, "inner")


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
    known = (
        decide.result(run_id, comparison, report, kept),
        *((ports.machines("inner").reported(run_id),) if kept else ()),
    )
    if run.get("data_services"):
        first = str(run["data_services"][0])
        waiting = decide.attesting(run_id, first, record["lock"], kept, now, _patience(ports))
        return Outcome((*known, *waiting), (decide.question(event, first, ports.secret(), now),))
    return _completed(event, known, record["lock"], kept, "inner", now)


def _attested(event: Event, data: AttestationAppraised, run: Document, ports: Ports) -> Outcome:
    """One data service at a time; the run is completed when the last one was accepted."""
    now, waiting = ports.clock(), decide.waited_for(run)
    if waiting is None or waiting.service != data.service:
        return Outcome()
    learned = decide.service_appraised(data)
    if data.decision == "refused":
        ports.machines("inner").end(data.run_id)
        failure = fail(event, data.run_id, "attestation", decide.refusal(data), "", now)
        return Outcome((learned, *failure.writes), failure.events)
    if following := decide.following(run["data_services"], data.service):
        wait = decide.wait(data.run_id, following, waiting.lock, waiting.vm, now, _patience(ports))
        return Outcome((learned, wait), (decide.question(event, following, ports.secret(), now),))
    return _completed(event, (learned,), waiting.lock, waiting.vm, "attestation", now)


def _completed(
    event: Event, known: tuple[Write, ...], lock: Digest, vm: str, stage: str, now: float
) -> Outcome:
    data = RunCompleted(run_id=event.run_id, lock=lock, inner_vm=vm)
    return Outcome(
        (*known, *decide.completed(event.run_id, stage, now)),
        (derive(event, "run-completed", data, stage="inner", now=now),),
    )


def _patience(ports: Ports) -> float:
    """Seconds that a data service has: its nonce's life, and what a delivery may take."""
    return float(ports.settings.nonce_seconds) + float(ports.settings.report_grace_seconds)
