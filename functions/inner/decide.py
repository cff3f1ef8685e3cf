"""Pure decisions of the inner stage: what the VM is told, and whether what it holds is what was locked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from shared import machines, worker_summary
from shared.delivery import ending
from shared.events import AttestationAppraised, Event, InnerInstallCompleted, NonceRequested, ce_type, derive
from shared.guest import bundle, egress
from shared.guest.config import Config, LockFile, Repositories
from shared.model.lock import Lock, LockedArchive
from shared.model.manifest import ClaimedManifest, DebianPackage
from shared.model.package import Release, normal_version
from shared.model.workload import Workload
from shared.ports.store import Document, Put, Write
from shared.settings import Settings

REPORT = "inner-install-completed"
_WAYS_OUT = frozenset((name, target) for name, target, _ in egress.PROBES)
_CHECKS = 5


def metadata(
    event: Event, workload: Workload, lock: Lock, record: Document, settings: Settings
) -> dict[str, str]:
    """What the inner VM boots with: the same guest scripts as the outer one, another configuration."""
    config = Config(
        run_id=event.run_id,
        role="inner",
        report_token=str(record["report_token"]),
        project=settings.project_of("inner"),
        events_project=settings.project if settings.inner_project else "",
        topic=REPORT,
        location=settings.location,
        event_id=str(record["report"]),
        event_type=ce_type(REPORT),
        event_source="/package-dmz/inner-vm",
        workload=machines.workload_config(workload),
        workers=int(record.get("workers", 1)),
        attributes=dict(record["carried"]),
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
    """What is missing and what is too much. `manifest` gives the base image: what the outer VM held before.

    Whatever the outer VM claimed and nobody could prove at the time is confirmed here: its release, the sources that
    its Debian packages were built from, what was in the base image, the version of its own interpreter.
    """
    expected = _debian(manifest, lock) | _python(manifest, lock) | _generic(manifest, lock)
    present = {_deb(p.name, p.version, p.architecture, p.source_name, p.source_version) for p in found.debian}
    for environment in found.environments:
        present |= {f"file {path}" for path in environment.strays}
        if not environment.managed_by_dpkg:
            present |= {_pip(environment.path, p.name, p.version, p.record) for p in environment.packages}
    # Nothing of the kind was locked, so whatever is there is too much.
    present |= {f"unreadable {each.name} {each.version}" for each in found.unreadable}
    versions = _interpreters(found)
    present |= {_url(file.url, file.sha256, versions.get(file.sha256, "")) for file in found.generic}
    missing, unexpected = _difference(
        expected | {_release(lock.release)}, present | {_release(found.release)}
    )
    return Comparison(len(present), missing, unexpected)


def _difference(expected: set[str], present: set[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(missing, unexpected). An expected item that ends with `any` takes whatever intact RECORD is there."""
    open_to_any = {item.rsplit(" ", 1)[0] for item in expected if item.endswith(" any")}

    def loosened(item: str) -> str:
        stem, _, record = item.rpartition(" ")
        return f"{stem} any" if stem in open_to_any and record != "None" else item

    present = {loosened(item) for item in present}
    return tuple(sorted(expected - present)), tuple(sorted(present - expected))


def _debian(manifest: ClaimedManifest, lock: Lock) -> set[str]:
    base = {(p.name, p.architecture): p for p in manifest.debian if p.in_base}
    held: dict[tuple[str, str], DebianPackage | LockedArchive] = {
        **base,
        **{(a.name, a.architecture): a for a in lock.debian},
    }
    return {_deb(p.name, p.version, p.architecture, p.source_name, p.source_version) for p in held.values()}


def _python(manifest: ClaimedManifest, lock: Lock) -> set[str]:
    """A wheel is expected with the RECORD that was proved; what a build makes, by its version with any RECORD."""
    items = set()
    for environment in manifest.environments:
        for package in environment.packages if not environment.managed_by_dpkg else ():
            if package.in_base:
                items.add(_pip(environment.path, package.name, package.version, package.record))
    for locked in lock.environments:
        for file in locked.packages:
            record = file.record or "of an unproved wheel" if file.is_wheel else "any"
            items.add(_pip(locked.path, file.name, file.version, record))
    return items


def _generic(manifest: ClaimedManifest, lock: Lock) -> set[str]:
    versions = _interpreters(manifest)
    return {_url(file.url, file.sha256, versions.get(file.sha256, "")) for file in lock.generic}


def _interpreters(manifest: ClaimedManifest) -> dict[str, str]:
    """sha256 to the version that the Python of such an archive gives."""
    return {file.sha256: file.interpreter for file in manifest.generic if file.interpreter}


def _deb(name: str, version: str, architecture: str, source: str, source_version: str) -> str:
    return f"deb {name} {version} {architecture} from {source} {source_version}"


def _pip(path: str, name: str, version: str, record: str | None) -> str:
    return f"pip {path} {name} {normal_version(version)} {record}"


def _url(url: str, sha256: str, python: str) -> str:
    return f"url {url} {sha256}{f' is Python {python}' if python else ''}"


def _release(release: Release) -> str:
    return f"release {release.id} {release.version_id} {release.codename} {release.architecture}"


def objection(comparison: Comparison, report: InnerInstallCompleted) -> str:
    """Why the run has not completed; empty if it has.

    1. The machine is of the release by which its packages were judged. 2. Nothing is missing. 3. Nothing is there that
    was not admitted. 4. Every probe that the guest knows was made, and none came through. 5. The smoke command ran and
    passed.
    """
    claimed = [item for item in comparison.missing if item.startswith("release ")]
    true = [item for item in comparison.unexpected if item.startswith("release ")]
    if claimed or true:
        return (
            f"The outer VM said that it runs {_some(claimed)}, the inner VM of the same image runs {_some(true)}: its "
            "packages were judged as another release's."
        )
    if comparison.missing:
        return f"The inner VM lacks {_some(comparison.missing)} of its lock."
    if comparison.unexpected:
        return f"The inner VM holds {_some(comparison.unexpected)}, which nobody admitted."
    if silent := sorted(_WAYS_OUT - {(probe.probe, probe.target) for probe in report.egress_probes}):
        return f"The inner VM did not try every way out ({_some([' '.join(way) for way in silent])}); it may be open."
    opened = [f"{probe.probe} {probe.target}" for probe in report.egress_probes if probe.open]
    if report.egress != "denied" or opened:
        return f"The inner VM is not sealed: {_some(opened) or 'it says so itself'}; check its network."
    if report.smoke is None or report.smoke.exit_code != 0:
        code = report.smoke.exit_code if report.smoke else "no result"
        return f"The smoke command failed on the inner VM ({code}); its last lines say why."
    return ""


def result(comparison: Comparison, report: InnerInstallCompleted) -> Document:
    """What one worker's report comes to; a document ends at 1 MiB, so of each list the first."""
    found = {
        "installed": comparison.installed,
        "missing": worker_summary.items(comparison.missing),
        "unexpected": worker_summary.items(comparison.unexpected),
        "egress": report.egress,
        "egress_probes": worker_summary.probes(
            [probe.model_dump(mode="json") for probe in report.egress_probes]
        ),
        "smoke": report.smoke.model_dump(mode="json") if report.smoke else None,
        "console": report.tail,
        "seconds": dict(report.seconds),
    }
    tail = report.smoke.tail if report.smoke else report.tail
    return {"reason": objection(comparison, report), "tail": tail, "found": found}


def broken(report: InnerInstallCompleted) -> Document:
    """The same of an install that failed: nothing is known of what it holds."""
    return {"reason": machines.broken("inner", report.tail), "tail": report.tail, "found": None}


def learned(run_id: str, results: Mapping[int, Document], workers: int, vm: str) -> tuple[Put, ...]:
    """What the run's document learns from the inner VM; nothing if no worker came to its end."""
    found = {number: result["found"] for number, result in results.items() if result["found"]}
    if not found:
        return ()
    fields = dict(found[0]) if workers == 1 else worker_summary.summary(found, workers)
    return (Put("runs", run_id, {"inner": fields | {"vm": vm}}, merge=True),)


def completed(run_id: str, lock: str, stage: str, now: float) -> tuple[Write, ...]:
    """The end of a run that went well: `lock` was installed, `stage` is the one that it waited for last.

    A replay may have planned another lock meanwhile; what the run's document names is what the machine holds.
    """
    fields = {
        "state": "completed",
        "stage": stage,
        "lock": lock,
        "ended": now,
        "stages": {stage: {"ended": now}},
    }
    return ending(run_id, "completed", now), Put("runs", run_id, fields, merge=True)


def _some(items: Sequence[str]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return ", ".join(items[:3]) + more


# --- data services: one after the other, each must be appraised before the run is completed ----------------------


@dataclass(frozen=True)
class Waiting:
    """What a run waits for, and what it is completed with."""

    service: str
    deadline: float
    lock: str
    vm: str


def waited_for(run: Document) -> Waiting | None:
    """None unless the run goes on and waits for a data service, whatever stage a replay has set it back to."""
    found = run.get("attesting")
    if run.get("state") != "running" or not found:
        return None
    return Waiting(str(found["service"]), float(found["deadline"]), str(found["lock"]), str(found["vm"]))


def attesting(
    run_id: str, service: str, lock: str, vm: str, now: float, patience: float
) -> tuple[Write, ...]:
    """The inner VM is done; `patience` in seconds."""
    stages = {"inner": {"ended": now}, "attestation": {"started": now}}
    fields = {"stage": "attestation", "stages": stages}
    return Put("runs", run_id, fields, merge=True), wait(run_id, service, lock, vm, now, patience)


def wait(run_id: str, service: str, lock: str, vm: str, now: float, patience: float) -> Put:
    fields = {"service": service, "deadline": now + patience, "lock": lock, "vm": vm}
    return Put("runs", run_id, {"attesting": fields}, merge=True)


def question(event: Event, service: str, secret: str, now: float) -> Event:
    """Asks for a nonce, which the service must answer.

    `secret` is the replay id: whoever asked in the run's name before has asked something else, and takes no place.
    """
    data = NonceRequested(run_id=event.run_id, service=service)
    cause = replace(event, replay_id=secret)
    return derive(cause, "nonce-requested", data, stage="inner", now=now)


def following(services: Sequence[str], service: str) -> str:
    """The next one; empty after the last."""
    place = list(services).index(service) + 1
    return services[place] if place < len(services) else ""


def service_appraised(data: AttestationAppraised) -> Put:
    """What the run's document learns."""
    fields = data.model_dump(mode="json", exclude={"run_id", "service", "nonce_id"})
    return Put("runs", data.run_id, {"attestation": {data.service: fields}}, merge=True)


def refusal(data: AttestationAppraised) -> str:
    more = len(data.failed_checks) - _CHECKS
    checks = "; ".join(check.rstrip(".") for check in data.failed_checks[:_CHECKS]) + (
        f"; and {more} more" if more > 0 else ""
    )
    return f"The data service {data.service} is not what it should be: {checks or 'no check passed'}."


def silence(run: Document, now: float) -> str:
    """Why a run that waits for a data service waits in vain; empty if it may still wait."""
    waiting = waited_for(run)
    if waiting is None or now <= waiting.deadline:
        return ""
    return (
        f"The data service {waiting.service} did not hand in a token in time; see that its workload runs and may read "
        f"its subscription {waiting.service}--nonce-issued, and what the dead letters say, then request the run again."
    )
