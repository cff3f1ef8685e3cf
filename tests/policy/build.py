"""Cases for tests of policies: one package, what is known of it, and a policy with some rules changed."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from typing import Any

from shared.events import timestamp
from shared.model.case import Case, FactKind, Facts, Subject
from shared.model.policy import EPSS, KEV, Policy
from shared.model.value import sha256
from shared.model.verdict import AdvisorySource, DataSource, Decision, Finding, Verdict
from shared.model.waiver import Waiver
from shared.policy.judge import judge
from shared.policy.read import find
from tests.advisories.build import pypi

DEFAULT, OFFLINE = find("default"), find("offline")
NOW = float(calendar.timegm((2026, 11, 21, 12, 0, 0)))
FRESH = "2026-11-20T12:00:00Z"
CATALOGUES = tuple(DataSource(name=name, date=FRESH, digest=sha256(name.encode())) for name in (KEV, EPSS))
SOURCE = AdvisorySource(source="test", date=FRESH, digest=sha256(b"data"), also=CATALOGUES)
ALL: tuple[FactKind, ...] = ("licences", "uploaded", "yanked")


def finding(id: str = "GHSA-aaaa-bbbb-cccc", **more: Any) -> Finding:
    values: dict[str, Any] = {
        "id": id,
        "aliases": ("CVE-2026-1",),
        "severity": "HIGH",
        "score": 7.5,
        "fixed": ("2.0",),
        "malicious": False,
        "summary": "bad",
    }
    return Finding(**{**values, **more})


def case(
    *subjects: Subject,
    findings: Sequence[Finding] | Mapping[str, Sequence[Finding]] = (),
    policy: Policy = DEFAULT,
    source: AdvisorySource = SOURCE,
    now: float = NOW,
    waivers: Sequence[Waiver] = (),
    workload: str = "",
    asked: tuple[FactKind, ...] = ALL,
    lacking: Mapping[str, str] | None = None,
) -> Case:
    """`findings` by purl, or those about every subject."""
    if not isinstance(findings, Mapping):
        findings = {subject.package.purl: findings for subject in subjects}
    return Case(
        at=timestamp(now),
        workload=workload,
        policy=policy,
        source=source,
        subjects=subjects,
        findings={purl: tuple(found) for purl, found in findings.items()},
        waivers=tuple(waivers),
        asked=asked,
        lacking=dict(lacking or {}),
    )


def judged(subject: Subject, *findings: Finding, **more: Any) -> Verdict:
    return judge(subject, case(subject, findings=findings, **more))


def package(name: str = "thing", version: str = "1.0", **more: Any) -> Subject:
    """A Python package; facts by their names, everything else as in Subject."""
    facts = {key: more.pop(key) for key in tuple(more) if key in Facts.model_fields}
    return Subject(package=pypi(name, version), facts=Facts(**facts), **more)


def with_rules(policy: Policy = DEFAULT, **sections: Any) -> Policy:
    """The policy with rules changed: `pypi={"yanked": "hold"}`, `packages=[…]`."""
    plain = policy.model_dump(mode="json")
    for name, value in sections.items():
        plain[name] = {**plain[name], **value} if isinstance(value, dict) else value
    return Policy.check(plain, "The policy")


def waiver(**more: Any) -> Waiver:
    """For thing, from yesterday until in ten days."""
    values: dict[str, Any] = {
        "package": "" if "advisory" in more else "pkg:pypi/thing@*",
        "reason": "the function is never called",
        "approver": "Ada",
        "granted": "2026-11-20T00:00:00Z",
        "expires": "2026-12-01T00:00:00Z",
    }
    return Waiver(**{**values, **more})


def answers(verdict: Verdict) -> dict[str, Decision]:
    return {rule.rule: rule.answer for rule in verdict.rules}


def reason(verdict: Verdict, rule: str) -> str:
    return next(each.reason for each in verdict.rules if each.rule == rule)
