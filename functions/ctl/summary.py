"""A report as text for a person. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from functions.ctl.progress import size
from functions.ctl.report import Inner, Refused, Report, Waived
from shared.locking import difference
from shared.model.value import printable
from shared.model.verdict import Finding, Verdict, Verdicts

_BAR = 40
_TAIL_LINES = 12
_LISTED = 30
_COLUMN = 14


def text(
    report: Report,
    tail: str = "",
    verdicts: Verdicts | None = None,
    width: int = 0,
    notes: Iterable[tuple[str, str]] = (),
) -> str:
    """The summary; `tail` holds the last lines of the VM that failed. Long lines are wrapped to `width`, if given.

    `notes` are what the report's form has no place for, each with its name.
    """
    found = chain(_lines(report, verdicts), (f"  {name:<11} {said}" for name, said in notes))
    wrapped = [part for line in found for part in wrap(line, width)]
    return "\n".join((*wrapped, *_tail(report, tail), "  time", *_chart(report)))


def wrap(line: str, width: int) -> list[str]:
    """`line` in lines of at most `width` characters, all but the first below its second column; whole if 0."""
    if not width or len(line) <= width:
        return [line]
    indent = " " * min(_COLUMN, width // 2)
    return textwrap.wrap(line, width, subsequent_indent=indent, break_on_hyphens=False)


def _lines(report: Report, verdicts: Verdicts | None) -> Iterator[str]:
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
    yield from _refused(report, {v.package.purl: v for v in (verdicts.verdicts if verdicts else ())})
    yield from _changes(report)
    for waived in report.waivers:
        yield f"  waived      {waiver_line(waived)}"
    if report.mirrored:
        yield f"  mirrored    {report.mirrored.artifacts} files, {size(report.mirrored.bytes)}"
    yield from _inner(report)
    yield from _attestation(report)


def _tail(report: Report, tail: str) -> Iterator[str]:
    if tail and report.state == "failed":
        yield "  last lines"
        yield from (f"    {printable(line, 200)}" for line in tail.splitlines()[-_TAIL_LINES:])


def _refused(report: Report, verdicts: Mapping[str, Verdict]) -> Iterator[str]:
    for refused in report.refused[:_LISTED]:
        why = _why(refused, verdicts.get(refused.purl))
        instead = f"instead {refused.replacement}" if refused.replacement else "no replacement"
        yield f"  refused     {refused.purl} ({why}): {instead}"
    if len(report.refused) > _LISTED:
        yield f"              and {len(report.refused) - _LISTED} more (see --report)"


def _changes(report: Report) -> Iterator[str]:
    """What is in the lock otherwise than the outer VM had it."""
    for place, line in enumerate(difference.lines(report.changes, _LISTED)):
        yield f"  {'changes' if place == 0 else '':<11} {line}"


def waiver_line(waived: Waived) -> str:
    """What a run leaned on, for people."""
    count = f"{waived.packages} package{'s' if waived.packages != 1 else ''}"
    said = f"{waived.waives} ({waived.id}, approved by {waived.approver}): {count} got in by it"
    return printable(said, 1500)


def _why(refused: Refused, verdict: Verdict | None) -> str:
    """Each advisory with its severity, or the words of the rule that spoke without one."""
    if not refused.advisories:
        return printable(verdict.reason, 300) if verdict and verdict.reason else "by a rule"
    known = {name: f for f in (verdict.findings if verdict else ()) for name in (f.id, *f.aliases)}
    return ", ".join(name + _severity(known.get(name)) for name in refused.advisories)


def _severity(finding: Finding | None) -> str:
    if finding is None:
        return ""
    score = f" {finding.score:.1f}" if finding.score is not None else ""
    return f" {finding.severity}{score}{', malicious' if finding.malicious else ''}"


def _inner(report: Report) -> Iterator[str]:
    inner = report.inner
    if inner is None:
        return
    yield (
        f"  inner VM    {_counted(inner)}, {len(inner.missing)} missing, {len(inner.unexpected)} unexpected, "
        f"egress {inner.egress}"
    )
    if inner.smoke:
        yield f"  smoke       exit code {inner.smoke.exit_code} in {inner.smoke.seconds:.1f} s{_where(inner)}"
        for line in inner.smoke.tail.strip().splitlines()[-3:]:
            yield f"              {printable(line, 160)}"


def _counted(inner: Inner) -> str:
    if not inner.workers:
        return f"{inner.installed} packages"
    counts = sorted({each.installed for each in inner.workers.values()})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    heard = f"{len(inner.workers)} of " if len(inner.workers) < inner.hosts else ""
    return f"{heard}{inner.hosts} workers, {span} packages each"


def _where(inner: Inner) -> str:
    """On which host of a slice the smoke test that is shown ran."""
    if not inner.workers:
        return ""
    failed = [n for n, each in inner.workers.items() if each.smoke is None or each.smoke.exit_code != 0]
    return f", on worker {failed[0]}" if failed else f", the slowest of {len(inner.workers)}"


def _attestation(report: Report) -> Iterator[str]:
    attestation = report.attestation
    if attestation is None:
        return
    yield f"  attestation {attestation.decision}: image {attestation.image_digest or 'unknown'}"
    if attestation.builders:
        yield f"              agreed on by {', '.join(attestation.builders)}"
    for check in attestation.failed_checks[:_LISTED]:
        yield f"              check {printable(check, 400)}"


def _chart(report: Report) -> Iterator[str]:
    longest = max((seconds or 0.0 for seconds in report.stages.values()), default=0.0) or 1.0
    for stage, seconds in report.stages.items():
        if stage == "attestation" and seconds is None:
            continue  # most workloads name no data service
        bar = "█" * max(1, round(_BAR * seconds / longest)) if seconds else ""
        yield f"    {stage:<11} {'-' if seconds is None else f'{seconds:.1f} s':>9}  {bar}".rstrip()
