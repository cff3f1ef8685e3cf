"""What a person sees of a run under way: documents in, lines out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from functions.ctl.report import STAGES
from shared.model.value import printable

State = Literal["waiting", "running", "done", "failed"]
_WIDTH = 90


@dataclass(frozen=True)
class Line:
    """One stage."""

    stage: str
    state: State
    seconds: float | None
    text: str


@dataclass(frozen=True)
class Seen:
    """What was read of a run at one moment."""

    run: Mapping[str, Any]
    progress: Mapping[str, Mapping[str, Any]]
    """Stage to its progress document."""
    console: Mapping[str, str]
    """Stage to the step that its VM is at and the last line of its serial console."""
    verdicts: Mapping[str, int]
    """Decision to count, empty as long as nothing is judged."""
    now: float
    service: str = ""
    """What is being done for the workload's data services, beside the chain."""


def lines(seen: Seen) -> tuple[Line, ...]:
    """One line for each stage, in the order of the chain; attestation only if there is something to attest."""
    attests = seen.service or seen.run.get("data_services")
    return tuple(_line(stage, seen) for stage in STAGES if stage != "attestation" or attests)


def _line(stage: str, seen: Seen) -> Line:
    times = seen.run.get("stages", {}).get(stage, {})
    if "started" not in times:
        return Line(stage, "waiting", None, seen.service if stage == "attestation" else "")
    over = seen.run.get("state") in ("completed", "failed")
    ended = times.get("ended") or (seen.run.get("ended") if over else None)
    seconds = max(0.0, float(ended or seen.now) - float(times["started"]))
    if "ended" in times:
        return Line(stage, "done", seconds, _done(stage, seen))
    if seen.run.get("state") == "failed":
        return Line(stage, "failed", seconds, "")
    return Line(stage, "running", seconds, _running(stage, seen))


def _running(stage: str, seen: Seen) -> str:
    if console := seen.console.get(stage):
        return printable(console, _WIDTH)
    if stage == "attestation":
        return f"waiting for the token of {seen.run.get('attesting', {}).get('service', 'the data service')}"
    progress = seen.progress.get(stage, {})
    if progress.get("total"):
        done, total = int(progress.get("done", 0)), int(progress["total"])
        return f"{done} of {total} {progress.get('text', 'files')}, {size(int(progress.get('bytes', 0)))}"
    return {"scanner": "judging", "sync": "resolving and planning"}.get(stage, "creating the VM")


def _done(stage: str, seen: Seen) -> str:
    run = seen.run
    if stage == "outer":
        counts = run.get("packages", {})
        return ", ".join(
            f"{counts[kind]} {kind}" for kind in ("pypi", "debian", "generic") if counts.get(kind)
        )
    if stage == "scanner":
        return ", ".join(f"{count} {decision}" for decision, count in seen.verdicts.items() if count)
    if stage == "sync":
        mirrored = run.get("mirrored", {})
        return f"{mirrored.get('artifacts', 0)} files, {size(int(mirrored.get('bytes', 0)))}"
    if stage == "attestation":
        return ", ".join(f"{name} {each['decision']}" for name, each in run.get("attestation", {}).items())
    inner = run.get("inner", {})
    workers = f"{inner['hosts']} workers, " if inner.get("workers") else ""
    return f"{workers}{inner.get('installed', 0)} packages, egress {inner.get('egress', 'unknown')}"


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"
