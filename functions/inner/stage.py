"""Inner stage: creates the VM that has no way out, and believes its install only package by package."""

from __future__ import annotations

from collections.abc import Iterator

from functions.inner import decide
from shared import entry, kept_runs, logged, machines, worker_reports
from shared.creation import attempt_name
from shared.delivery import Outcome, fail
from shared.errors import DmzError, Untrusted
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
from shared.ports.store import Document, Write
from shared.rounds import in_turn
from shared.vm_stages import Ports
from shared.worker_reports import Slice


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
    if run.get("state") != "failed":
        return Outcome()
    reason, now = event.data.reason, ports.clock()
    return Outcome(logged.run_ended(event, event.run_id, "failed", reason, ports.store, now))


def sweep(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    """VMs that will not report, and data services that do not answer."""
    # What costs money comes before what has months of time.
    yield from in_turn(_unanswered(event, ports), _unreported(event, ports), kept_runs.renewals(ports))


def _unanswered(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    for run_id, run in ports.store.find("runs", "state", "running"):
        now = ports.clock()
        if reason := decide.silence(run, now):
            yield f"{run_id}-attestation", fail(event, run_id, "attestation", reason, "", now)


def _unreported(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    for name, outcome in ports.machines("inner").sweep(event, "inner"):
        yield name, Outcome((*_heard(name, ports), *outcome.writes), outcome.events)


def _heard(name: str, ports: Ports) -> tuple[Write, ...]:
    """What the run of a VM that did not report as a whole learns from those of its workers that did."""
    try:
        record = ports.store.get("vms", name) or {}
        hosts = int(record.get("workers", 1))
        if hosts == 1:
            return ()
        known = worker_reports.results(ports.store, attempt_name("inner", record))
    except DmzError:  # the end of a run that costs money does not wait for what it might tell besides
        return ()
    return decide.learned(str(record["run_id"]), known, hosts, "")


def _start(event: Event, data: SyncCompleted, run: Document, ports: Ports) -> Outcome:
    if run.get("state") != "running":
        return Outcome()
    workload = Workload.read(ports.blobs.get(run["workload_digest"]), "The stored workload")
    lock = Lock.read(ports.blobs.get(data.lock), f"The lock {data.lock}")
    workers = ports.vms.hosts(workload.accelerator_type)
    creation = ports.creation("inner")
    record = creation.begun(event.run_id) or creation.begin(
        event,
        workload,
        lambda record: decide.metadata(event, workload, lock, record, ports.settings),
        data.lock,
        workers,
    )
    if record["lock"] != data.lock:
        return Outcome()  # a replay made another lock; the VM that there is installs the first one
    reason = creation.ask(record)
    return fail(event, event.run_id, "inner", reason, "", ports.clock()) if reason else Outcome()


def _appraise(event: Event, report: InnerInstallCompleted, run: Document, ports: Ports) -> Outcome:
    """Each worker by itself; the first that is not as it should be ends the run, the last one lets it go on."""
    run_id, now = report.run_id, ports.clock()
    record = ports.machines("inner").authenticate(event, report)
    if run.get("state") != "running":
        return Outcome()
    vm = machines.vm_name("inner", run_id)
    hosts = worker_reports.expected(record, ports.vms.get(vm, record["zone"]))
    workers = Slice(ports.store, attempt_name("inner", record), hosts)
    workers.check(report.worker)
    if workers.is_closed():
        return Outcome()
    results = workers.gather(report.worker, _result(report, record, workers, ports))
    if bad := [number for number, result in results.items() if result["reason"]]:
        ports.machines("inner").end(run_id)
        reason = worker_reports.said(str(results[bad[0]]["reason"]), bad[0], workers.hosts)
        failure = fail(event, run_id, "inner", reason, str(results[bad[0]]["tail"]), now)
        return Outcome((*decide.learned(run_id, results, workers.hosts, ""), *failure.writes), failure.events)
    if len(results) < workers.hosts:
        return Outcome()
    remains = vm if run.get("after") == "keep" else ""
    if not remains:
        ports.machines("inner").end(run_id)
    known = (
        *workers.closing(),
        *decide.learned(run_id, results, workers.hosts, remains),
        entry.learned(run_id, remains, record, ports.settings),
        *(_stays(record, ports) if remains else ()),
    )
    if run.get("data_services"):
        first = str(run["data_services"][0])
        waiting = decide.attesting(run_id, first, record["lock"], remains, now, _patience(ports))
        return Outcome((*known, *waiting), (decide.question(event, first, ports.secret(), now),))
    return _completed(event, known, record["lock"], remains, "inner", ports)


def _stays(record: Document, ports: Ports) -> tuple[Write, ...]:
    kept_vms = ports.machines("inner")
    return *kept_vms.reported(record), *kept_vms.bill(record)


def _result(report: InnerInstallCompleted, record: Document, workers: Slice, ports: Ports) -> Document:
    """What one worker's report comes to."""
    if report.state == "failed" or report.installed is None:
        return decide.broken(report)
    lock = Lock.read(ports.blobs.get(record["lock"]), f"The lock {record['lock']}")
    manifest = ClaimedManifest.read(ports.blobs.get(lock.manifest), f"The manifest {lock.manifest}")
    what = worker_reports.said("The inner VM's inventory", report.worker, workers.hosts)
    return decide.result(decide.compare(manifest, lock, machines.unpack(report.installed, what)), report)


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
    return _completed(event, (learned,), waiting.lock, waiting.vm, "attestation", ports)


def _completed(
    event: Event, known: tuple[Write, ...], lock: Digest, vm: str, stage: str, ports: Ports
) -> Outcome:
    data, now = RunCompleted(run_id=event.run_id, lock=lock, inner_vm=vm), ports.clock()
    log = logged.run_ended(event, event.run_id, "completed", "", ports.store, now)
    return Outcome(
        (*known, *decide.completed(event.run_id, lock, stage, now), *log),
        (derive(event, "run-completed", data, stage="inner", now=now),),
    )


def _patience(ports: Ports) -> float:
    """Seconds that a data service has: its nonce's life, and what a delivery may take."""
    return float(ports.settings.nonce_seconds) + float(ports.settings.report_grace_seconds)
