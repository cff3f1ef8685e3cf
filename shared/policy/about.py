"""One rule's answer about findings: the worst of what it says to each, in words that name them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from shared.model.policy import RANK, Threshold
from shared.model.value import printable
from shared.model.verdict import Decision, Finding, RuleAnswer
from shared.model.waiver import Waiver
from shared.policy.bench import BADNESS

_NAMED = 5  # findings that one reason names; all of them stand in the verdict


class Weighed(NamedTuple):
    """A finding, and the waiver that counts for it if there is one."""

    finding: Finding
    waiver: Waiver | None


Graded = tuple[Weighed, Decision]
"""What a rule says to one finding."""


def about(rule: str, graded: Iterable[Graded], otherwise: str) -> RuleAnswer:
    """The worst of the answers, naming the findings that it is given to; a waived one answers allow.

    `otherwise` is the reason where the rule has nothing to say.
    """
    graded = tuple(graded)
    if not graded:
        return RuleAnswer(rule=rule, answer="allow", reason=otherwise)
    waived = [each for each, answer in graded if each.waiver and answer != "allow"]
    live = [(each.finding, answer) for each, answer in graded if not each.waiver or answer == "allow"]
    worst: Decision = max((answer for _, answer in live), key=BADNESS.__getitem__, default="allow")
    parts = _listed([finding for finding, answer in live if answer == worst])
    parts += [_waived(each) for each in sorted(waived, key=lambda each: each.finding.id)[:_NAMED]]
    if len(waived) > _NAMED:
        parts.append(f"{len(waived) - _NAMED} more are waived")
    return RuleAnswer(rule=rule, answer=worst, reason="; ".join(parts))


def same(found: Iterable[Weighed], answer: Decision) -> list[Graded]:
    """The same answer to each."""
    return [(each, answer) for each in found]


def sure(found: Iterable[Weighed]) -> list[Weighed]:
    """Those of which it is known that they touch the package."""
    return [each for each in found if not each.finding.undecided]


def by_severity(finding: Finding, threshold: Threshold) -> Decision:
    """What the thresholds say to a severity that is known."""
    rank = RANK.get(finding.severity, -1)
    if rank >= RANK[threshold.block]:
        return "block"
    return "hold" if rank >= RANK[threshold.hold] else "allow"


def overruled(waiver: Waiver) -> str:
    """Who overruled it, until when and why."""
    approver, reason = printable(waiver.approver, 200), printable(waiver.reason, 500)
    until = f"{waiver.expires} or a fix" if waiver.until_fixed else waiver.expires
    return f"waived by {waiver.id} ({approver}, until {until}): {reason}"


def named(finding: Finding) -> str:
    """A finding in some words: ids, severity, fix."""
    parts = []
    if finding.malicious:
        parts.append("malicious")
    score = f" {finding.score:.1f}" if finding.score is not None else ""
    parts.append(f"severity {finding.severity}{score}")
    if finding.undecided:
        parts.append(f"undecided because {finding.undecided}")
    parts.append(f"fixed in {' or '.join(finding.fixed[:3])}" if finding.fixed else "no fix known")
    return printable(f"{_ids(finding)} - {'; '.join(parts)}", 400)


def _ids(finding: Finding) -> str:
    cve = next((alias for alias in finding.aliases if alias.startswith("CVE-")), "")
    return f"{finding.id} ({cve})" if cve else finding.id


def _waived(each: Weighed) -> str:
    why = overruled(each.waiver) if each.waiver else ""
    return f"{printable(_ids(each.finding), 200)} is {why}"


def _listed(findings: Sequence[Finding]) -> list[str]:
    if not findings:
        return []
    worst_first = sorted(findings, key=lambda f: (-(f.score or 0), -RANK.get(f.severity, 9), f.id))
    text = ", ".join(named(finding) for finding in worst_first[:_NAMED])
    more = f" and {len(findings) - _NAMED} more" if len(findings) > _NAMED else ""
    return [text + more]
