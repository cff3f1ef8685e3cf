"""Outer stage: creates the VM that installs from the internet, and turns its claim into a manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from functions.outer import decide
from shared import letters, logged, machines, notices
from shared.delivery import ENDED, Outcome, fail
from shared.errors import DmzError, Permanent, Untrusted
from shared.events import (
    AttestationAppraised,
    CancelRequested,
    DeadLetterDropped,
    Event,
    ManifestPublished,
    OuterInstallCompleted,
    RunFailed,
    RunRequested,
    VerdictChanged,
    derive,
)
from shared.model import prices
from shared.model.workload import BUILT_IN, Workload, built_in, read
from shared.ports.store import Create
from shared.rounds import in_turn
from shared.vm_stages import Ports


def handle_event(event: Event, ports: Ports) -> Outcome:
    if isinstance(event.data, RunRequested):
        return _start(event, event.data, ports)
    if isinstance(event.data, OuterInstallCompleted):
        return _publish_manifest(event, event.data, ports)
    if isinstance(event.data, CancelRequested):
        return _cancel(event, event.data, ports)
    if isinstance(event.data, DeadLetterDropped):
        now, data = ports.clock(), event.data
        noted = letters.dropped(data.message, data.reason, data.by, now)
        return Outcome((logged.dropped(event, data, now), noted))
    if isinstance(event.data, RunFailed):
        ports.machines("outer").end(event.run_id)
    elif not isinstance(event.data, VerdictChanged | AttestationAppraised):
        raise Untrusted(f"The outer stage has nothing to do with {event.type}; check its subscriptions.")
    return Outcome(notices.about(event, ports.settings.console, ports.clock()) if ports.sink else ())


def settle(event: Event, ports: Ports) -> Sequence[Event]:
    """After the batch: who wants to be told is told, if the sink takes it; else the watchdog goes on."""
    if ports.sink:
        with suppress(DmzError):
            notices.send(event, ports.store, ports.sink, ports.clock())
    return ()


def sweep(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    """Runs that hang, wherever they do, and runs whose outer VM will not report; last, who was not told yet."""
    untold = notices.again(ports.store, ports.sink, ports.clock()) if ports.sink else ()
    yield from in_turn(_overdue(event, ports), ports.machines("outer").sweep(event, "outer"), untold)


def _cancel(event: Event, data: CancelRequested, ports: Ports) -> Outcome:
    """A run ends once: whoever asks for it twice, or too late, changes nothing."""
    run = ports.store.get("runs", data.run_id)
    if run is None:
        raise Untrusted(
            f"{data.by} wants the run {data.run_id} to end, and there is no such run; ./dmz status lists those that "
            "there are."
        )
    if run["state"] in ENDED:
        return Outcome()
    reason = decide.cancelled(data.by, data.reason)
    return fail(event, data.run_id, str(run["stage"]), reason, "", ports.clock())


def _overdue(event: Event, ports: Ports) -> Iterator[tuple[str, Outcome]]:
    for run_id, run in ports.store.find("runs", "state", "running"):
        now = ports.clock()
        if reason := decide.overdue(run, now):
            yield run_id, fail(event, run_id, str(run["stage"]), reason, "", now)


def _start(event: Event, request: RunRequested, ports: Ports) -> Outcome:
    """One run per request, and one workload per run.

    1. The first request that is written down decides the workload, for every stage: another body under the same id
    boots nothing. 2. A type of which nobody can say how many hosts it has is refused before anything is made.
    """
    run_id, now = event.run_id, ports.clock()
    existing = ports.store.get("runs", run_id)
    if existing and existing["state"] != "running":
        return Outcome()
    if existing:  # 1
        workload = Workload.read(ports.blobs.get(existing["workload_digest"]), "The stored workload")
    else:
        workload = request.workload if isinstance(request.workload, Workload) else _built_in(request.workload)
    ports.vms.hosts(workload.accelerator_type)  # 2
    if not existing:
        stored = ports.blobs.put(workload.canonical())
        cost = decide.cost(workload, prices.read(ports.settings.prices), ports.settings)
        new = decide.new_run(workload, stored, cost, now)
        if event.traceparent:
            new["trace"] = event.trace  # a caller's; else it follows from the run's id
        if event.replay_id:
            new["replay_id"] = event.replay_id  # the VM may report before this event is finished with
        # Never over an existing one: a worker that was thought dead would set a run back that has gone on.
        ports.store.put([Create("runs", run_id, new)])
    creation = ports.creation("outer")
    record = creation.begun(run_id) or creation.begin(
        event, workload, lambda record: decide.metadata(event, workload, record, ports.settings)
    )
    reason = creation.ask(record)
    return fail(event, run_id, "outer", reason, "", ports.clock()) if reason else Outcome()


def _built_in(name: str) -> Workload:
    """By name only: a path in an event would have this service read its own files."""
    if name not in built_in():
        raise Permanent(
            f"There is no workload '{name}': give one of {', '.join(built_in())}, or send the whole workload."
        )
    return read(BUILT_IN / f"{name}.yaml")


def _publish_manifest(event: Event, report: OuterInstallCompleted, ports: Ports) -> Outcome:
    run_id, now = report.run_id, ports.clock()
    ports.machines("outer").authenticate(event, report)
    run = ports.store.get("runs", run_id) or {}
    ports.machines("outer").end(run_id)
    if run.get("state") != "running":
        return Outcome()
    if report.state == "failed" or report.claim is None:
        return fail(event, run_id, "outer", machines.broken("outer", report.tail), report.tail, now)
    manifest = machines.unpack(report.claim, "The outer VM's manifest")
    decide.check_manifest(manifest, str(run["workload"]))
    digest = ports.blobs.put(manifest.canonical())
    published = derive(
        event, "manifest-published", ManifestPublished(run_id=run_id, manifest=digest), stage="outer", now=now
    )
    return Outcome((decide.manifest_known(run_id, manifest, digest, now),), (published,))
