"""Scanner stage: a verdict about every package of a manifest, with its reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from functions.scanner import decide
from shared.delivery import Outcome
from shared.errors import Untrusted
from shared.events import Event, ManifestPublished, VerdictsWritten, derive
from shared.judgement import Court, documents
from shared.model.manifest import ClaimedManifest
from shared.model.verdict import Policy, Verdicts
from shared.model.workload import Workload
from shared.policy.judge import judge_all
from shared.ports import Advisories, Blobs, Store


@dataclass(frozen=True)
class Ports:
    """What this stage needs from the world."""

    store: Store
    blobs: Blobs
    advisories: Advisories
    policy: Callable[[], Policy]
    clock: Callable[[], float]


def handle_event(event: Event, ports: Ports) -> Outcome:
    if not isinstance(event.data, ManifestPublished):
        raise Untrusted(f"The scanner has nothing to do with {event.type}; check its subscriptions.")
    run_id, digest, now = event.data.run_id, event.data.manifest, ports.clock()
    run = ports.store.get("runs", run_id) or {}
    if run.get("state") != "running":
        return Outcome()
    manifest = ClaimedManifest.read(ports.blobs.get(digest), f"The manifest {digest}")
    workload = Workload.read(ports.blobs.get(run["workload_digest"]), "The stored workload")
    subjects = decide.subjects(manifest, workload)
    case = Court(ports.advisories, ports.policy(), manifest.release, now, workload.name).case(subjects)
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
    return Outcome((learned,), (derive(event, "verdicts-written", written, stage="scanner", now=now),))
