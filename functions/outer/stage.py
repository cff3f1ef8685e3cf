"""Outer stage: creates the VM that installs from the internet, and turns its claim into a manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from functions.outer import decide
from shared import machines
from shared.delivery import Outcome, fail
from shared.events import Event, ManifestPublished, OuterInstallCompleted, RunRequested, derive
from shared.model.workload import Workload, find
from shared.ports import Blobs, Put, Store, Vms
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
        return machines.Machines("outer", self.store, self.vms, self.clock, self.secret)


def handle_event(event: Event, ports: Ports) -> Outcome:
    if isinstance(event.data, RunRequested):
        return _start(event, event.data, ports)
    if isinstance(event.data, OuterInstallCompleted):
        return _publish_manifest(event, event.data, ports)
    ports.machines.end(event.run_id)
    return Outcome()


def sweep(event: Event, ports: Ports) -> Sequence[tuple[str, Outcome]]:
    return ports.machines.sweep(event, "outer")


def _start(event: Event, request: RunRequested, ports: Ports) -> Outcome:
    workload = request.workload if isinstance(request.workload, Workload) else find(request.workload)
    run_id, now = event.run_id, ports.clock()
    existing = ports.store.get("runs", run_id)
    if existing and existing["state"] != "running":
        return Outcome()
    stored = ports.blobs.put(workload.canonical())
    ports.store.put([Put("runs", run_id, decide.new_run(workload, stored, now), merge=True)])
    record = ports.machines.record(run_id, workload.install_minutes)
    metadata = decide.metadata(event, workload, str(record["report_token"]), ports.settings)
    ports.machines.create(run_id, workload.accelerator_type, workload.runtime_version, metadata)
    return Outcome()


def _publish_manifest(event: Event, report: OuterInstallCompleted, ports: Ports) -> Outcome:
    run_id, now = report.run_id, ports.clock()
    ports.machines.authenticate(run_id, report.report_token)
    run = ports.store.get("runs", run_id) or {}
    if run.get("state") != "running":
        ports.machines.end(run_id)
        return Outcome()
    if report.state == "failed" or report.claim is None:
        ports.machines.end(run_id)
        reason = "The install on the outer VM failed; its last lines say why."
        return fail(event, run_id, "outer", reason, report.tail, now)
    manifest = machines.unpack(report.claim, "The outer VM's manifest")
    decide.check_manifest(manifest, str(run["workload"]))
    digest = ports.blobs.put(manifest.canonical())
    ports.machines.end(run_id)
    published = derive(
        event, "manifest-published", ManifestPublished(run_id=run_id, manifest=digest), stage="outer", now=now
    )
    return Outcome(
        (decide.manifest_known(run_id, manifest, digest, now), ports.machines.reported(run_id)), (published,)
    )
