"""Pure decisions of the outer stage."""

from __future__ import annotations

from typing import Any

from shared import machines
from shared.errors import Permanent
from shared.events import Event, ce_type, derived_id
from shared.guest import bundle
from shared.guest.config import Config
from shared.model.manifest import ClaimedManifest
from shared.model.value import Digest
from shared.model.workload import Workload
from shared.ports import Put
from shared.settings import Settings

REPORT = "outer-install-completed"


def new_run(workload: Workload, stored: Digest, now: float) -> dict[str, Any]:
    """The run's document as it begins."""
    return {
        "state": "running",
        "stage": "outer",
        "workload": workload.name,
        "workload_digest": stored,
        "after": workload.after,
        "requested": now,
        "stages": {"outer": {"started": now}},
    }


def metadata(event: Event, workload: Workload, report_token: str, settings: Settings) -> dict[str, str]:
    """What the outer VM boots with: the guest scripts and what they are to do."""
    config = Config(
        run_id=event.run_id,
        role="outer",
        report_token=report_token,
        project=settings.project,
        topic=REPORT,
        location=settings.location,
        event_id=derived_id(event.run_id, REPORT, "", event.replay_id),
        event_type=ce_type(REPORT),
        event_source="/package-dmz/outer-vm",
        workload=machines.workload_config(workload),
        staging=settings.staging_repository,
        attributes=machines.carried(event),
    )
    return bundle.metadata(config)


def check_manifest(manifest: ClaimedManifest, workload: str) -> None:
    """1. It is about the workload that was asked for. 2. It is not empty: an empty claim would admit nothing loudly."""
    if manifest.workload != workload:
        raise Permanent(
            f"The outer VM was asked to install {workload} and reports {manifest.workload}; its manifest is refused."
        )
    if not manifest.debian:
        raise Permanent(
            "The outer VM's manifest names no Debian package at all; no machine is like that, refused."
        )


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
