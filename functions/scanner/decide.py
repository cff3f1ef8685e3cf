"""Pure decisions of the scanner: which packages a manifest asks about, and what the run learns."""

from __future__ import annotations

from collections import Counter, defaultdict

from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion

from shared.errors import Permanent
from shared.model.case import Subject
from shared.model.manifest import ClaimedManifest
from shared.model.package import in_interpreter, normal_version
from shared.model.value import Digest
from shared.model.verdict import Verdicts
from shared.model.workload import Workload
from shared.policy import need
from shared.ports.store import Document, Put

_WAITING = 200
"""Held packages that a run's document names; one that has more is not looked at again by itself."""


def subjects(manifest: ClaimedManifest, workload: Workload) -> tuple[Subject, ...]:
    """Everything on the machine, the base image included, each once, in a fixed order.

    What dpkg manages is judged as a Debian package; a wheel that dpkg carries is judged with its carrier.
    """
    own = {_own(wheel.filename): wheel.filename for wheel in workload.wheels}
    mine_by_name = {name: filename for (name, _), filename in own.items()}
    found: dict[str, Subject] = {}
    for debian in manifest.debian:
        package = debian.package(manifest.release)
        way = need.BASE if debian.in_base else need.APT
        source = None if debian.in_base else workload.apt_pin(debian.name)
        subject = Subject(package=package, in_base=debian.in_base, needed_by=way, apt_source=source)
        found.setdefault(package.purl, subject)
    needed = _needed(manifest)
    for environment in manifest.environments:
        for python in environment.packages if not environment.managed_by_dpkg else ():
            url = python.direct_url.url if python.direct_url else ""
            package = python.package()
            mine = (python.name, normal_version(python.version)) in own
            if python.name in mine_by_name and not (mine or python.in_base):
                raise Permanent(
                    f"The outer VM has {python.name} {python.version}, which is not the workload's own wheel "
                    f"{mine_by_name[python.name]}: a stranger's package may bear that name, it is refused."
                )
            subject = Subject(
                package=package,
                direct_url=url,
                own_wheel=mine,
                in_base=python.in_base,
                in_interpreter=in_interpreter(environment.path),
                needed_by=needed.get(package.purl, ()),
            )
            if package.purl not in found or url:
                found[package.purl] = subject
    for file in manifest.generic:
        package = file.package()
        pin = workload.interpreter
        subject = Subject(
            package=package,
            fetched_by_url=file.url,
            pinned=pin is not None and (pin.url, pin.sha256) == (file.url, file.sha256),
            interpreter=file.interpreter,
            needed_by=need.ITSELF,
        )
        # A script may fetch the same file once more: what is known of it holds for its bytes.
        if package.purl not in found or file.interpreter:
            found[package.purl] = subject
    for entry in manifest.unreadable:
        package = entry.package(manifest.release)
        found[package.purl] = Subject(
            package=package,
            unreadable=entry.reason,
            in_base=entry.in_base,
            in_interpreter=entry.in_interpreter,
            needed_by=need.BASE if entry.in_base else (),
        )
    return tuple(found[purl] for purl in sorted(found))


def _needed(manifest: ClaimedManifest) -> dict[str, need.Way]:
    """By purl of a Python package: the shortest way by which it is needed in any environment."""
    found: dict[str, set[need.Way]] = defaultdict(set)
    for environment in (each for each in manifest.environments if not each.managed_by_dpkg):
        carrier = need.INTERPRETER if in_interpreter(environment.path) else need.BASE
        ways = need.ways(environment)
        for package in environment.packages:
            found[package.package().purl].add(carrier if package.in_base else ways.get(package.name, ()))
    return {purl: need.shortest(ways) for purl, ways in found.items()}


def _own(filename: str) -> tuple[str, str]:
    """Name and version of a wheel of the user's own, told by its file name."""
    try:
        name, version, *_ = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion) as error:
        raise Permanent(
            f"The workload's own wheel {filename} is not named as a wheel is (PEP 427): {error}."
        ) from error
    return name, str(version)


def judged(run_id: str, stored: Verdicts, digest: Digest, now: float) -> tuple[Put, Counter[str]]:
    """What the run's document learns, and the counts by decision."""
    verdicts = stored.verdicts
    counts: Counter[str] = Counter(verdict.decision for verdict in verdicts)
    source = verdicts[0].advisories.model_dump(mode="json") if verdicts else {}
    fields: Document = {
        "stage": "sync",
        "verdicts": digest,
        "case": stored.case,
        "advisories": source,
        "judged": {decision: counts[decision] for decision in ("allow", "hold", "block")},
        "stages": {"scanner": {"ended": now}, "sync": {"started": now}},
    }
    if counts["hold"]:
        waits = [
            {"purl": each.package.purl, "until": each.until} for each in verdicts if each.decision == "hold"
        ]
        fields["held"] = {"packages": waits[:_WAITING], "total": len(waits), "blocked": counts["block"]}
    return Put("runs", run_id, fields, merge=True), counts
