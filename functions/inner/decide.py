"""Pure decisions of the inner stage: what the VM is told, and whether what it holds is what was locked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared import machines
from shared.events import Event, InnerInstallCompleted, ce_type, derived_id
from shared.guest import bundle
from shared.guest.config import Config, LockFile, Repositories
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest, Environment, PythonPackage
from shared.model.value import Digest
from shared.model.workload import Workload
from shared.ports import Put
from shared.settings import Settings

REPORT = "inner-install-completed"


def metadata(
    event: Event, workload: Workload, lock: Lock, report_token: str, settings: Settings
) -> dict[str, str]:
    """What the inner VM boots with: the same guest scripts as the outer one, another configuration."""
    config = Config(
        run_id=event.run_id,
        role="inner",
        report_token=report_token,
        project=settings.project,
        topic=REPORT,
        location=settings.location,
        event_id=derived_id(event.run_id, REPORT, "", event.replay_id),
        event_type=ce_type(REPORT),
        event_source="/package-dmz/inner-vm",
        workload=machines.workload_config(workload),
        attributes={
            k: v for k, v in (("replay-id", event.replay_id), ("traceparent", event.traceparent)) if v
        },
        lock=LockFile(
            repository=settings.generic_repository,
            package="lock",
            version=lock.digest.removeprefix("sha256:"),
            filename="lock.json",
            sha256=lock.digest,
        ),
        repositories=Repositories(
            python=settings.python_repository, apt=lock.release.codename, generic=settings.generic_repository
        ),
    )
    return bundle.metadata(config)


@dataclass(frozen=True)
class Comparison:
    """The inner inventory against base image plus lock, package by package."""

    installed: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def compare(manifest: ClaimedManifest, lock: Lock, found: ClaimedManifest) -> Comparison:
    """What is missing and what is too much. `manifest` gives the base image: what the outer VM held before."""
    expected = (
        _debian(manifest, lock) | _python(manifest, lock) | {f"url {file.sha256}" for file in lock.generic}
    )
    present = {f"deb {p.name} {p.version} {p.architecture}" for p in found.debian}
    for environment in found.environments:
        if not environment.managed_by_dpkg:
            present |= {_item(environment, package, package.record) for package in environment.packages}
    present |= {f"url {file.sha256}" for file in found.generic}
    return Comparison(len(present), *_difference(expected, present))


def _difference(expected: set[str], present: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(missing, unexpected). An expected item that ends with `any` takes whatever intact RECORD is there."""
    open_to_any = {item.rsplit(" ", 1)[0] for item in expected if item.endswith(" any")}

    def loosened(item: str) -> str:
        stem, _, record = item.rpartition(" ")
        return f"{stem} any" if stem in open_to_any and record != "None" else item

    present = {loosened(item) for item in present}
    return tuple(sorted(expected - present)), tuple(sorted(present - expected))


def _debian(manifest: ClaimedManifest, lock: Lock) -> set[str]:
    versions = {(p.name, p.architecture): p.version for p in manifest.debian if p.in_base}
    versions |= {(a.name, a.architecture): a.version for a in lock.debian}
    return {f"deb {name} {version} {architecture}" for (name, architecture), version in versions.items()}


def _python(manifest: ClaimedManifest, lock: Lock) -> set[str]:
    """A wheel is expected with the RECORD that was proved; what only the resolver chose or a build made, by version."""
    items = set()
    for environment in manifest.environments:
        for package in environment.packages if not environment.managed_by_dpkg else ():
            if package.in_base:
                items.add(_item(environment, package, package.record))
    for locked in lock.environments:
        for file in locked.packages:
            items.add(f"pip {locked.path} {file.name} {file.version} {file.record or 'any'}")
    return items


def _item(environment: Environment, package: PythonPackage, record: Digest | None) -> str:
    return f"pip {environment.path} {package.name} {package.version} {record}"


def objection(comparison: Comparison, report: InnerInstallCompleted) -> str:
    """Why the run has not completed; empty if it has.

    1. Nothing is missing. 2. Nothing is there that was not admitted. 3. Every probe outwards was refused, and there
    were probes. 4. The smoke command ran and passed.
    """
    if comparison.missing:
        return f"The inner VM lacks {_some(comparison.missing)} of its lock."
    if comparison.unexpected:
        return f"The inner VM holds {_some(comparison.unexpected)}, which nobody admitted."
    if report.egress != "denied" or not report.egress_probes:
        opened = [
            f"{probe.probe} {probe.target}" for probe in report.egress_probes if probe.outcome == "open"
        ]
        return (
            f"The inner VM is not sealed: {_some(tuple(opened)) or 'it sent no probes'}; check its network."
        )
    if report.smoke is None or report.smoke.exit_code != 0:
        code = report.smoke.exit_code if report.smoke else "no result"
        return f"The smoke command failed on the inner VM ({code}); its last lines say why."
    return ""


def result(comparison: Comparison, report: InnerInstallCompleted, vm: str) -> dict[str, Any]:
    """What the run's document learns from the inner VM."""
    return {
        "inner": {
            "installed": comparison.installed,
            "missing": list(comparison.missing),
            "unexpected": list(comparison.unexpected),
            "egress": report.egress,
            "egress_probes": [probe.model_dump(mode="json") for probe in report.egress_probes],
            "smoke": report.smoke.model_dump(mode="json") if report.smoke else None,
            "seconds": dict(report.seconds),
            "vm": vm,
        }
    }


def completed(run_id: str, now: float) -> Put:
    fields = {"state": "completed", "stage": "inner", "ended": now, "stages": {"inner": {"ended": now}}}
    return Put("runs", run_id, fields, merge=True)


def _some(items: tuple[str, ...]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + more
