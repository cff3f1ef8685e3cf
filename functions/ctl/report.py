"""The report about a run: documents in, one value out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from shared.locking import difference
from shared.locking.difference import Row
from shared.model.lock import Change, Lock
from shared.model.verdict import AdvisorySource, Verdict, Verdicts

STAGES = ("outer", "scanner", "sync", "inner", "attestation")


@dataclass(frozen=True)
class Advisories:
    source: str
    date: str


@dataclass(frozen=True)
class Manifest:
    digest: str
    packages: dict[str, int]
    """By ecosystem: pypi, debian, generic."""


@dataclass(frozen=True)
class Refused:
    """A package that did not get in, and what took its place."""

    purl: str
    advisories: list[str]
    replacement: str | None


@dataclass(frozen=True)
class Waived:
    """A waiver without which something would not have got in."""

    id: str
    waives: str
    """What it overrules and until when, in words."""
    approver: str
    expires: str
    packages: int
    """That got in by it."""


@dataclass(frozen=True)
class Mirrored:
    artifacts: int
    bytes: int


@dataclass(frozen=True)
class Smoke:
    exit_code: int
    seconds: float
    tail: str


@dataclass(frozen=True)
class Worker:
    """One host of a slice."""

    installed: int
    missing: list[str]
    unexpected: list[str]
    egress: str
    smoke: Smoke | None


@dataclass(frozen=True)
class Inner(Worker):
    """The inner VM; of several hosts what any of them lacks or has too much, and the smoke test that counts."""

    hosts: int = 1
    workers: dict[str, Worker] = field(default_factory=dict)
    """Each host of a slice that has reported, by its number; empty if there is one."""


@dataclass(frozen=True)
class Attestation:
    """The data service that was refused, else the last one that was accepted."""

    image_digest: str
    """As its token states it; empty if that could not be read."""
    builders: list[str]
    """Who agreed on the image."""
    decision: str
    failed_checks: list[str]


@dataclass(frozen=True)
class Report:
    """What `--report` writes. None stands for what the run did not get to."""

    run_id: str
    workload: str
    platform: str
    advisories: Advisories | None
    state: Literal["completed", "failed"]
    reason: str
    seconds: float
    stages: dict[str, float | None]
    """Seconds by stage; `platform` is the time until everything answered."""
    manifest: Manifest | None
    verdicts: dict[str, int] | None
    refused: list[Refused]
    changes: tuple[Row, ...]
    """What the lock has otherwise than the outer VM had it."""
    waivers: tuple[Waived, ...]
    """Those that the run leaned on."""
    mirrored: Mirrored | None
    inner: Inner | None
    attestation: Attestation | None

    def document(self) -> dict[str, Any]:
        """As JSON. `hosts` and `workers` are there for a slice of several hosts alone."""
        made = asdict(self)
        made["changes"] = [row.document() for row in self.changes]
        made["waivers"] = list(made["waivers"])
        if self.inner and not self.inner.workers:
            del made["inner"]["hosts"], made["inner"]["workers"]
        return made


@dataclass(frozen=True)
class Facts:
    """What the command line knows beside the run's documents."""

    run_id: str
    workload: str
    platform: str
    platform_seconds: float
    seconds: float
    ended: float
    """When the run ended or the watching stopped, in seconds since 1970."""


def report(
    facts: Facts, run: Mapping[str, Any], verdicts: Verdicts | None, lock: Lock | None, reason: str = ""
) -> Report:
    """The report of the run whose document is `run`, empty if it never began.

    `reason` is the command line's own, for a run that has no end of its own: it was interrupted, or the platform ended.
    """
    completed = run.get("state") == "completed" and not reason
    return Report(
        run_id=facts.run_id,
        workload=str(run.get("workload") or facts.workload),
        platform=facts.platform,
        advisories=_advisories(run, verdicts),
        state="completed" if completed else "failed",
        reason="" if completed else reason or str(run.get("reason") or "The run has not ended."),
        seconds=round(facts.seconds, 2),
        stages=_stages(run, facts),
        manifest=_manifest(run),
        verdicts=_counts(verdicts),
        refused=refused(verdicts, lock),
        changes=difference.rows(lock.changes) if lock else (),
        waivers=waived(run),
        mirrored=_mirrored(run),
        inner=_inner(run.get("inner")),
        attestation=_attestation(run),
    )


def refused(verdicts: Verdicts | None, lock: Lock | None) -> list[Refused]:
    """Every package that was held or blocked, with what the lock puts in its place.

    Without advisories a rule refused it; the rule's own words stand in the verdict.
    """
    changes = {change.before.purl: change for change in (lock.changes if lock else ())}
    found = [verdict for verdict in (verdicts.verdicts if verdicts else ()) if verdict.decision != "allow"]
    return [
        Refused(
            purl=verdict.package.purl,
            advisories=_reasons(verdict, changes.get(verdict.package.purl)),
            replacement=_replacement(changes.get(verdict.package.purl)),
        )
        for verdict in sorted(found, key=lambda verdict: verdict.package.purl)
    ]


def _replacement(change: Change | None) -> str | None:
    return change.after.purl if change and change.kind != "dropped" else None


def _reasons(verdict: Verdict, change: Change | None) -> list[str]:
    """The advisories that spoke against the package: those of the lock's change, else every one about it."""
    named = change.advisories if change and change.advisories else tuple(f.id for f in verdict.findings)
    return sorted(set(named))


def _advisories(run: Mapping[str, Any], verdicts: Verdicts | None) -> Advisories | None:
    if run.get("advisories"):
        return Advisories(str(run["advisories"]["source"]), str(run["advisories"]["date"]))
    if verdicts and verdicts.verdicts:
        source: AdvisorySource = verdicts.verdicts[0].advisories
        return Advisories(source.source, source.date)
    return None


def _stages(run: Mapping[str, Any], facts: Facts) -> dict[str, float | None]:
    seconds: dict[str, float | None] = {"platform": round(facts.platform_seconds, 2)}
    for stage in STAGES:
        seconds[stage] = _seconds(run.get("stages", {}).get(stage, {}), run, facts)
    return seconds


def _seconds(stage: Mapping[str, Any], run: Mapping[str, Any], facts: Facts) -> float | None:
    if "started" not in stage:
        return None
    ended = float(stage.get("ended") or run.get("ended") or facts.ended)
    return round(max(0.0, ended - float(stage["started"])), 2)


def _manifest(run: Mapping[str, Any]) -> Manifest | None:
    if not run.get("manifest"):
        return None
    counts = run.get("packages", {})
    return Manifest(
        str(run["manifest"]), {kind: int(counts.get(kind, 0)) for kind in ("pypi", "debian", "generic")}
    )


def _counts(verdicts: Verdicts | None) -> dict[str, int] | None:
    if verdicts is None:
        return None
    counted = Counter(verdict.decision for verdict in verdicts.verdicts)
    return {"allow": counted["allow"], "hold": counted["hold"], "block": counted["block"]}


def waived(run: Mapping[str, Any]) -> tuple[Waived, ...]:
    """The waivers that a run's document names."""
    return tuple(
        Waived(
            id=str(each["id"]),
            waives=str(each["waives"]),
            approver=str(each["approver"]),
            expires=str(each["expires"]),
            packages=int(each["packages"]),
        )
        for each in run.get("waivers") or ()
    )


def _mirrored(run: Mapping[str, Any]) -> Mirrored | None:
    found = run.get("mirrored")
    return Mirrored(int(found.get("artifacts", 0)), int(found.get("bytes", 0))) if found else None


def _inner(found: Mapping[str, Any] | None) -> Inner | None:
    if not found:
        return None
    workers = sorted(found.get("workers", {}).items(), key=lambda item: int(item[0]))
    hosts = int(found.get("hosts", 1))
    return Inner(
        **_held(found), hosts=hosts, workers={number: Worker(**_held(each)) for number, each in workers}
    )


def _held(found: Mapping[str, Any]) -> dict[str, Any]:
    smoke = found.get("smoke")
    return {
        "installed": int(found["installed"]),
        "missing": [str(name) for name in found["missing"]],
        "unexpected": [str(name) for name in found["unexpected"]],
        "egress": str(found["egress"]),
        "smoke": Smoke(int(smoke["exit_code"]), round(float(smoke["seconds"]), 2), str(smoke["tail"]))
        if smoke
        else None,
    }


def _attestation(run: Mapping[str, Any]) -> Attestation | None:
    """A run appraises one service after the other and ends at the first refusal."""
    answers: Mapping[str, Any] = run.get("attestation") or {}
    given = [answers[name] for name in run.get("data_services", ()) if name in answers]
    if not given:
        return None
    found = next((each for each in given if each["decision"] != "accepted"), given[-1])
    return Attestation(
        image_digest=str(found["image_digest"]),
        builders=[str(name) for name in found["builders"]],
        decision=str(found["decision"]),
        failed_checks=[str(check) for check in found["failed_checks"]],
    )
