"""Scanner stage: a verdict about every package of a manifest, with its reasons."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from functions.scanner import decide
from shared import logged, waivers
from shared.delivery import Outcome
from shared.errors import Untrusted
from shared.events import (
    Event,
    HoldingsListed,
    ManifestPublished,
    VerdictsWritten,
    WaiverGranted,
    WaiverRevoked,
    derive,
)
from shared.held import reevaluation, touched
from shared.judgement import Court, documents
from shared.model.manifest import ClaimedManifest
from shared.model.package import Release
from shared.model.policy import Policy
from shared.model.verdict import Verdicts
from shared.model.waiver import Waiver
from shared.model.workload import Workload
from shared.policy.judge import judge_all
from shared.ports.judgement import Advisories, Facts
from shared.ports.store import Blobs, Put, Store


@dataclass(frozen=True)
class Ports:
    """What this stage needs from the world."""

    store: Store
    blobs: Blobs
    advisories: Advisories
    policy: Callable[[], Policy]
    clock: Callable[[], float]
    facts: Callable[[], Facts]
    """Made anew for each event: an index is read once per case, and then forgotten."""


def handle_event(event: Event, ports: Ports) -> Outcome:
    if isinstance(event.data, WaiverGranted):
        return waivers.granted(
            event, event.data, ports.store, ports.clock(), _touches(ports, touched.by_grant)
        )
    if isinstance(event.data, WaiverRevoked):
        return waivers.revoked(event, event.data, ports.store, ports.clock(), _touches(ports, touched.by_end))
    if isinstance(event.data, HoldingsListed):
        bench = reevaluation.Bench(ports.store, ports.blobs, functools.partial(_court, ports), ports.clock)
        return reevaluation.judged_again(event, event.data, bench)
    if not isinstance(event.data, ManifestPublished):
        raise Untrusted(f"The scanner has nothing to do with {event.type}; check its subscriptions.")
    run_id, digest, now = event.data.run_id, event.data.manifest, ports.clock()
    run = ports.store.get("runs", run_id) or {}
    if run.get("state") != "running":
        return Outcome()
    manifest = ClaimedManifest.read(ports.blobs.get(digest), f"The manifest {digest}")
    workload = Workload.read(ports.blobs.get(run["workload_digest"]), "The stored workload")
    subjects = decide.subjects(manifest, workload)
    held = waivers.in_force(ports.store)
    court = Court(
        ports.advisories, ports.policy(), manifest.release, now, workload.name, held, facts=ports.facts()
    )
    case = court.case(subjects)
    verdicts = judge_all(case)
    judged = Verdicts(manifest=digest, case=ports.blobs.put(case.canonical()), verdicts=verdicts)
    stored = ports.blobs.put(judged.canonical())
    ports.store.put_many("verdicts", documents(run_id, verdicts))
    learned, counts = decide.judged(run_id, judged, stored, ports.clock())
    written = VerdictsWritten(
        run_id=run_id,
        manifest=digest,
        verdicts=stored,
        allow=counts["allow"],
        hold=counts["hold"],
        block=counts["block"],
    )
    leaning = Put("runs", run_id, {"waivers": waivers.leaned_on(verdicts, held)}, merge=True)
    log = logged.judged(event, case, judged, stored, ports.store, now)
    return Outcome(
        (learned, leaning, *log),
        (derive(event, "verdicts-written", written, stage="scanner", now=now),),
        told={"packages": len(verdicts), "refused": counts["hold"] + counts["block"]},
    )


def _court(ports: Ports, release: Release, workload: str) -> Court:
    held = waivers.in_force(ports.store)
    return Court(
        ports.advisories, ports.policy(), release, ports.clock(), workload, held, facts=ports.facts()
    )


def _touches(ports: Ports, by: Callable[[Waiver, Store, Blobs, float], bool]) -> waivers.Touches:
    return lambda waiver: by(waiver, ports.store, ports.blobs, ports.clock())


def sweep(event: Event, ports: Ports) -> Iterable[tuple[str, Outcome]]:
    """Waivers whose time has come: what they admitted is judged again."""
    return waivers.expired(event, ports.store, ports.clock(), _touches(ports, touched.by_end))
