"""Findings and verdicts: what is known of a package, and what follows by a policy (shared.model.policy)."""

from __future__ import annotations

from typing import Literal

from shared.model.package import Package
from shared.model.value import Digest, Part, Value

Severity = Literal["UNKNOWN", "NONE", "LOW", "MEDIUM", "HIGH", "CRITICAL"]
Decision = Literal["allow", "hold", "block"]


class Finding(Value):
    """One flaw (a group of advisories that are aliases of each other) that touches one package."""

    id: str
    """The group's best-known name: GHSA before PYSEC before CVE."""
    aliases: tuple[str, ...]
    """Every other id of the group, sorted."""
    severity: Severity
    score: float | None
    """Highest CVSS base score in the group, 0 to 10; None where no advisory carries one."""
    fixed: tuple[str, ...]
    """Versions that end an affected range, in the ecosystem's order; empty if there is no fix."""
    malicious: bool
    summary: str
    undecided: str = ""
    """Why it could not be decided whether the package is affected; empty where it could. Never clean."""
    exploited: bool = False
    """True if CISA's catalogue lists one of its CVEs as exploited in the wild."""
    exploit_probability: float | None = None
    """FIRST's estimate (EPSS), 0 to 1: the highest of its CVEs; None where none has one or nobody asked."""


class DataSource(Part):
    """One more body of data that a verdict leans on."""

    name: str
    date: str
    """RFC 3339."""
    digest: Digest


class AdvisorySource(Part):
    """Where the advisories came from: shown in every verdict and report."""

    source: str
    """`osv.dev zips`, `osv.dev api`, `snapshot carried by the project`."""
    date: str
    """RFC 3339: when the newest record was modified, or the download happened."""
    digest: Digest
    also: tuple[DataSource, ...] = ()
    """What else was asked: the catalogue of exploited flaws, the estimates of exploitation."""


class Known(Part):
    """What is publicly known of some packages, and from where."""

    findings: dict[str, tuple[Finding, ...]]
    """By purl; a purl that nothing is known against is absent."""
    lacking: dict[str, str]
    """By purl: why nobody can tell what is known, as a sentence part. Never clean."""
    source: AdvisorySource


class RuleAnswer(Value):
    """One rule that was asked about one package, and what it said."""

    rule: str
    answer: Decision
    reason: str


class Verdict(Value):
    """The judgement about one package: every rule, every answer, and on which data."""

    package: Package
    decision: Decision
    rules: tuple[RuleAnswer, ...]
    findings: tuple[Finding, ...]
    policy: Digest
    advisories: AdvisorySource
    needed_by: tuple[str, ...] = ()
    """As in the subject: names from what the workload asks for to what asks for this package."""
    until: str = ""
    """RFC 3339: when a hold ends by itself if nothing else changes; empty where it waits for data or for a human."""
    waivers: tuple[str, ...] = ()
    """Ids of the waivers without which the decision would be worse."""

    @property
    def reason(self) -> str:
        """The answers that led to the decision, as one sentence part."""
        if self.decision == "allow":
            untold = "".join(f"; {rule.reason}" for rule in self.rules if rule.rule == "interpreter")
            waived = f", as {' and '.join(self.waivers)} overrule what does not" if self.waivers else ""
            return f"every rule allows it{waived}{untold}"
        return "; ".join(rule.reason for rule in self.rules if rule.answer == self.decision)


class Verdicts(Value):
    """All verdicts about one manifest."""

    manifest: Digest
    case: Digest
    """What they follow from: the stored case."""
    verdicts: tuple[Verdict, ...]
