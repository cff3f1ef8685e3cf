"""How a kept inner VM is entered, and what seals it: in the run's document, for whoever started the run."""

from __future__ import annotations

import shlex

from shared.ports.store import Document, Put
from shared.settings import Settings


def learned(run_id: str, vm: str, record: Document, settings: Settings) -> Put:
    """`inner` of the run's document: `sealed_by`, and `enter` if `vm` is kept, else empty."""
    enter = command(vm, str(record.get("zone") or settings.zone), settings) if vm else ""
    return Put("runs", run_id, {"inner": {"sealed_by": settings.sealed_by, "enter": enter}}, merge=True)


def command(vm: str, zone: str, settings: Settings) -> str:
    """The command that opens a shell in the VM; on Google Cloud through Identity-Aware Proxy, as it has no address.

    `--tunnel-through-iap` is in gcloud's alpha track alone (SDK 528: `gcloud alpha compute tpus tpu-vm ssh --help`).
    """
    if settings.tpu_endpoint:
        return f"./dmz enter {vm}"
    words = ("gcloud", "alpha", "compute", "tpus", "tpu-vm", "ssh", vm)
    flags = (
        f"--zone={zone}",
        f"--project={settings.project_of('inner')}",
        "--tunnel-through-iap",
        "--worker=0",
    )
    return shlex.join((*words, *flags))
