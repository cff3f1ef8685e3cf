"""A report as text for a person. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from functions.ctl.progress import size
from functions.ctl.report import Report
from shared.model.value import printable

_BAR = 40
_TAIL_LINES = 12
_LISTED = 30


def text(report: Report, tail: str = "") -> str:
    """The summary; `tail` holds the last lines of the VM that failed."""
    return "\n".join(_lines(report, tail))


def _lines(report: Report, tail: str) -> Iterator[str]:
    verb = "completed" if report.state == "completed" else "FAILED"
    yield f"{report.workload}: {verb} in {report.seconds:.1f} s   ({report.run_id}, {report.platform})"
    if report.reason:
        yield f"  why         {printable(report.reason, 4000)}"
    if report.advisories:
        yield f"  advisories  {report.advisories.source}, {report.advisories.date}"
    if report.manifest:
        counts = ", ".join(f"{count} {kind}" for kind, count in report.manifest.packages.items())
        yield f"  packages    {counts}"
    if report.verdicts:
        yield "  verdicts    " + ", ".join(f"{count} {name}" for name, count in report.verdicts.items())
    yield from _refused(report)
    if report.mirrored:
        yield f"  mirrored    {report.mirrored.artifacts} files, {size(report.mirrored.bytes)}"
    yield from _inner(report)
    if tail and report.state == "failed":
        yield "  last lines"
        yield from (f"    {printable(line, 200)}" for line in tail.splitlines()[-_TAIL_LINES:])
    yield "  time"
    yield from _chart(report)


def _refused(report: Report) -> Iterator[str]:
    for refused in report.refused[:_LISTED]:
        why = ", ".join(refused.advisories) or "by a rule"
        instead = f"instead {refused.replacement}" if refused.replacement else "no replacement"
        yield f"  refused     {refused.purl} ({why}): {instead}"
    if len(report.refused) > _LISTED:
        yield f"              and {len(report.refused) - _LISTED} more (see --report)"


def _inner(report: Report) -> Iterator[str]:
    inner = report.inner
    if inner is None:
        return
    yield (
        f"  inner VM    {inner.installed} packages, {len(inner.missing)} missing, {len(inner.unexpected)} unexpected, "
        f"egress {inner.egress}"
    )
    if inner.smoke:
        yield f"  smoke       exit code {inner.smoke.exit_code} in {inner.smoke.seconds:.1f} s"
        for line in inner.smoke.tail.strip().splitlines()[-3:]:
            yield f"              {printable(line, 160)}"


def _chart(report: Report) -> Iterator[str]:
    longest = max((seconds or 0.0 for seconds in report.stages.values()), default=0.0) or 1.0
    for stage, seconds in report.stages.items():
        bar = "█" * max(1, round(_BAR * seconds / longest)) if seconds else ""
        yield f"    {stage:<9} {'-' if seconds is None else f'{seconds:.1f} s':>9}  {bar}".rstrip()
