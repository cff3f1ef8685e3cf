"""Pure decisions of the outer stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from shared import machines
from shared.errors import Permanent
from shared.events import Event, ce_type
from shared.guest import bundle
from shared.guest.config import Config, Sources
from shared.model import costs
from shared.model.manifest import ClaimedManifest
from shared.model.prices import Prices
from shared.model.value import Digest
from shared.model.workload import Workload
from shared.ports.store import Document, Put
from shared.settings import Settings

REPORT = "outer-install-completed"
_MAX_PYTHON = 20_000
_LONGEST = 28 * 24 * 60
"""Minutes."""


def new_run(workload: Workload, stored: Digest, cost: Document, now: float) -> dict[str, Any]:
    """The run's document as it begins."""
    return {
        "state": "running",
        "stage": "outer",
        "workload": workload.name,
        "workload_digest": stored,
        "after": workload.after,
        "data_services": list(workload.data_services),
        "install_minutes": workload.install_minutes,
        "queue_minutes": workload.queue_minutes,
        "requested": now,
        "cost": cost,
        "stages": {"outer": {"started": now}},
    }


def cost(workload: Workload, listed: Prices, settings: Settings) -> Document:
    """`cost` of the run's document: both VMs report within their limit and the grace, or the watchdog deletes them.

    It looks every minute, and needs one look more to see that a VM has come which waited in a queue. Left out is how
    long a deletion takes that was asked for, and a watchdog that is away: neither is ours to limit.
    """
    limit = workload.install_minutes * 60 + float(settings.report_grace_seconds)
    seconds = limit + costs.BETWEEN_LOOKS
    return costs.begun(costs.terms(workload, settings.zone, listed), seconds, workload.after == "keep")


def metadata(event: Event, workload: Workload, record: Document, settings: Settings) -> dict[str, str]:
    """What the outer VM boots with: the guest scripts and what they are to do."""
    config = Config(
        run_id=event.run_id,
        role="outer",
        report_token=str(record["report_token"]),
        project=settings.project,
        topic=REPORT,
        location=settings.location,
        event_id=str(record["report"]),
        event_type=ce_type(REPORT),
        event_source="/package-dmz/outer-vm",
        workload=machines.workload_config(workload),
        staging=settings.staging_repository,
        attributes=dict(record["carried"]),
        sources=Sources(
            python_index=settings.outer_python_index,
            debian_mirror=settings.outer_debian_mirror,
            debian_security_mirror=settings.outer_debian_security_mirror,
            debian_key=settings.outer_debian_key,
        ),
    )
    return bundle.metadata(config)


def check_manifest(manifest: ClaimedManifest, workload: str) -> None:
    """The claim as a whole; what it says of single packages is for scanner and sync.

    1. It is about the workload that was asked for. 2. It is not empty: an empty claim would admit nothing loudly.
    3. No Debian package stands there twice: dpkg holds one version, and a second one could take the other's verdict.
    4. It is of a size that a machine can have. 5. No environment stands there twice, and no package twice in one
    that is judged: one of the two would go with the other's verdict. 6. A URL gave one content.
    """
    if manifest.workload != workload:  # 1
        raise Permanent(
            f"The outer VM was asked to install {workload} and reports {manifest.workload}; its manifest is refused."
        )
    if not manifest.debian:  # 2
        raise Permanent(
            "The outer VM's manifest names no Debian package at all; no machine is like that, refused."
        )
    name, times = Counter(f"{p.name}:{p.architecture}" for p in manifest.debian).most_common(1)[0]
    if times > 1:  # 3
        raise Permanent(
            f"The outer VM's manifest names {name} {times} times; dpkg holds it once, the manifest is refused."
        )
    if (count := sum(len(e.packages) for e in manifest.environments)) > _MAX_PYTHON:  # 4
        raise Permanent(
            f"The outer VM's manifest names {count} Python packages; at most {_MAX_PYTHON} are accepted."
        )
    if twice := _twice(manifest):  # 5, 6
        raise Permanent(f"The outer VM's manifest names {twice}; it is refused.")


def _twice(manifest: ClaimedManifest) -> str:
    """What stands in a manifest more often than a machine can hold it; empty if nothing does."""
    places = Counter((e.path, e.managed_by_dpkg) for e in manifest.environments)
    for (path, _), times in places.most_common(1):
        if times > 1:
            return f"the environment {path} {times} times"
    for environment in manifest.environments:
        names = Counter(p.name for p in environment.packages if not environment.managed_by_dpkg)
        for name, times in names.most_common(1):
            if times > 1:
                return f"{name} {times} times in {environment.path}, where an interpreter finds one"
    for url, times in Counter(url for url, _ in {(f.url, f.sha256) for f in manifest.generic}).most_common(1):
        if times > 1:
            return f"{'two' if times == 2 else times} contents of {url}"
    return ""


def overdue(run: Mapping[str, Any], now: float) -> str:
    """Why a run that still goes on is taken for stuck; empty if it may go on.

    Two VMs may wait in a queue and take `install_minutes` each, everything else an hour. Each zone that gave none, or
    took one away, gives the VM that is asked for elsewhere the same time again, and ten minutes for noticing. No run
    takes longer than four weeks: what its document names is kept a month longer than itself (`shared.retention`).
    """
    each = float(run.get("install_minutes", 45)) + float(run.get("queue_minutes", 0))
    tried = sum(len(machine.get("tried", ())) for machine in run.get("machines", {}).values())
    minutes = min(2 * each + 60 + tried * (each + 10), _LONGEST)
    if now <= float(run.get("requested", now)) + minutes * 60:
        return ""
    return (
        f"The run is stuck in the stage {run.get('stage')}: it has not ended within {minutes:.0f} minutes; see the "
        "stage's log and the dead letters, then request the run again."
    )


def cancelled(by: str, reason: str) -> str:
    """Why a run has ended that a person ended."""
    return f"The run was cancelled by {by}: {reason.rstrip('.')}."


def manifest_known(run_id: str, manifest: ClaimedManifest, digest: Digest, now: float) -> Put:
    """What the run's document learns from the manifest."""
    fields = {
        "stage": "scanner",
        "manifest": digest,
        "packages": {
            "pypi": sum(len(e.packages) for e in manifest.environments if not e.managed_by_dpkg),
            "debian": len(manifest.debian),
            "generic": len(manifest.generic),
        },
        "stages": {"outer": {"ended": now}, "scanner": {"started": now}},
    }
    return Put("runs", run_id, fields, merge=True)
