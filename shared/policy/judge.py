"""Findings to verdicts. Pure: every rule of the policy is asked, every answer is kept, the worst one wins.

The same case gives the same bytes. Its moment decides what is too old or too young, and is not written into a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from shared.model.case import Case, Subject
from shared.model.policy import RANK, Level, Policy
from shared.model.value import printable
from shared.model.verdict import Decision, Finding, RuleAnswer, Severity, Verdict

_BADNESS: dict[Decision, int] = {"allow": 0, "hold": 1, "block": 2}
_SEVERITY: dict[Severity, int] = {"NONE": 0, "LOW": 1, "MEDIUM": 2, "HIGH": 3, "CRITICAL": 4}
_NAMED = 5  # findings that one reason names; all of them stand in the verdict
_CLOCK_SKEW = timedelta(hours=24)


def judge_all(case: Case) -> tuple[Verdict, ...]:
    """One verdict per purl, sorted; a package that is there twice gets the worse of its two verdicts."""
    verdicts: dict[str, Verdict] = {}
    for subject in case.subjects:
        purl, verdict = subject.package.purl, judge(subject, case)
        if purl not in verdicts or _order(verdict) > _order(verdicts[purl]):
            verdicts[purl] = verdict
    return tuple(verdicts[purl] for purl in sorted(verdicts))


def judge(subject: Subject, case: Case) -> Verdict:
    """The verdict about one package."""
    policy, findings = case.policy, case.findings.get(subject.package.purl, ())
    asked = [_age(case), _data(subject, case)]
    match subject.package.ecosystem:
        case "pypi":
            asked += _pypi(subject, findings, policy)
        case "debian":
            asked += _debian(findings, policy)
        case "generic":
            asked += _generic(subject, policy)
    if subject.in_base:
        asked = [_in_base(answer, subject.in_interpreter) for answer in asked]
    worst = max((answer.answer for answer in asked), key=_BADNESS.__getitem__)
    return Verdict(
        package=subject.package,
        decision=worst,
        rules=tuple(asked),
        findings=tuple(findings),
        policy=policy.digest,
        advisories=case.source,
        needed_by=subject.needed_by,
    )


def _order(verdict: Verdict) -> tuple[int, bytes]:
    return _BADNESS[verdict.decision], verdict.canonical()


def _in_base(answer: RuleAnswer, in_interpreter: bool) -> RuleAnswer:
    if answer.answer == "allow":
        return answer
    carrier = "came with the workload's own interpreter" if in_interpreter else "is part of the base image"
    return answer.model_copy(update={"reason": f"{answer.reason}; it {carrier}"})


def _data(subject: Subject, case: Case) -> RuleAnswer:
    if why := case.lacking.get(subject.package.purl):
        return RuleAnswer(rule="advisory_data", answer="hold", reason=printable(why, 400))
    return RuleAnswer(rule="advisory_data", answer="allow", reason="its advisories could be read")


def _age(case: Case) -> RuleAnswer:
    limit, rule, source = case.policy.max_advisory_age_hours, "advisory_age", case.source
    if limit is None:
        return RuleAnswer(
            rule=rule, answer="allow", reason=f"the policy sets no limit of age; the data is of {source.date}"
        )
    try:
        date = datetime.fromisoformat(source.date)
        age = datetime.fromisoformat(case.at) - date
    except (ValueError, TypeError):
        reason = (
            f"the advisory data has no readable date ({printable(source.date, 40)}), so its age is unknown"
        )
        return RuleAnswer(rule=rule, answer="hold", reason=reason)
    if age > timedelta(hours=limit):
        reason = (
            f"the advisory data is of {source.date}, older than the policy's {limit} hours: fetch it again"
        )
        return RuleAnswer(rule=rule, answer="hold", reason=reason)
    if age < -_CLOCK_SKEW:
        reason = f"the advisory data is of {source.date}, which is in the future: set the clock right"
        return RuleAnswer(rule=rule, answer="hold", reason=reason)
    return RuleAnswer(rule=rule, answer="allow", reason=f"the advisory data is of {source.date}")


def _pypi(subject: Subject, findings: Sequence[Finding], policy: Policy) -> list[RuleAnswer]:
    rules = policy.pypi
    sure = [found for found in findings if not found.undecided]
    bad = [found for found in sure if _at_least(found.severity, rules.severity.block)]
    unknown = [found for found in sure if found.severity == "UNKNOWN"]
    return [
        _about(
            "malicious",
            [found for found in findings if found.malicious],
            rules.malicious,
            "no report of malice",
        ),
        _about("severity", bad, "block", f"no advisory of severity {rules.severity.block} or above"),
        _about("unknown_severity", unknown, rules.unknown_severity, "no advisory of unknown severity"),
        _about("undecided", _undecided(findings), rules.undecided, "every advisory could be decided"),
        _origin(subject, rules.direct_url),
        RuleAnswer(
            rule="source_distribution",
            answer=rules.source_distribution if subject.is_sdist else "allow",
            reason="it is a source distribution: installing it runs its build"
            if subject.is_sdist
            else "it is a wheel",
        ),
    ]


def _origin(subject: Subject, direct_url: Decision) -> RuleAnswer:
    answer: Decision = "allow"
    if subject.own_wheel:
        reason = "it is the workload's own wheel, pinned by sha256"
    elif subject.direct_url:
        url = printable(subject.direct_url, 120)
        answer, reason = direct_url, f"it came from {url}, which no package index vouches for"
    else:
        reason = "it came from the package index"
    return RuleAnswer(rule="direct_url", answer=answer, reason=reason)


def _debian(findings: Sequence[Finding], policy: Policy) -> list[RuleAnswer]:
    rules = policy.debian
    sure = [found for found in findings if not found.undecided]
    malicious = [found for found in findings if found.malicious]
    return [
        # No distribution ships a package that its own advisories call malicious on purpose: there is no rule to set.
        _about("malicious", malicious, "block", "no report of malice"),
        _about("fix_available", [f for f in sure if f.fixed], rules.fix_available, "no fix is missing"),
        _about("unfixed", [f for f in sure if not f.fixed], "allow", "no advisory without a fix"),
        _about("undecided", _undecided(findings), rules.undecided, "every advisory could be decided"),
    ]


def _generic(subject: Subject, policy: Policy) -> list[RuleAnswer]:
    url = printable(subject.fetched_by_url, 120) or "a URL that is not known"
    known = "the workload pins its sha256" if subject.pinned else "nothing is known of it but its sha256"
    fetched = RuleAnswer(
        rule="fetched_by_url",
        answer=policy.generic.fetched_by_url,
        reason=f"it was fetched from {url}; {known}",
    )
    if not subject.interpreter:
        return [fetched]
    reason = (
        f"it is Python {printable(subject.interpreter, 40)}, and whether that has known flaws is undecided: the "
        "advisory data holds nothing about CPython itself or the libraries that come inside it"
    )
    return [fetched, RuleAnswer(rule="interpreter", answer=policy.generic.interpreter, reason=reason)]


def _undecided(findings: Sequence[Finding]) -> list[Finding]:
    return [found for found in findings if found.undecided]


def _at_least(severity: Severity, threshold: Level) -> bool:
    return severity != "UNKNOWN" and _SEVERITY[severity] >= RANK[threshold]


def _about(rule: str, findings: Sequence[Finding], answer: Decision, otherwise: str) -> RuleAnswer:
    """The rule's answer if there are such findings, naming them; else allow."""
    if not findings:
        return RuleAnswer(rule=rule, answer="allow", reason=otherwise)
    worst_first = sorted(findings, key=lambda f: (-(f.score or 0), -_SEVERITY.get(f.severity, 9), f.id))
    named = ", ".join(_named(found) for found in worst_first[:_NAMED])
    more = f" and {len(findings) - _NAMED} more" if len(findings) > _NAMED else ""
    return RuleAnswer(rule=rule, answer=answer, reason=named + more)


def _named(found: Finding) -> str:
    cve = next((alias for alias in found.aliases if alias.startswith("CVE-")), "")
    parts = [f"{found.id} ({cve})" if cve else found.id]
    if found.malicious:
        parts.append("malicious")
    parts.append(f"severity {found.severity}" + (f" {found.score:.1f}" if found.score is not None else ""))
    if found.undecided:
        parts.append(f"undecided because {found.undecided}")
    parts.append(f"fixed in {' or '.join(found.fixed[:3])}" if found.fixed else "no fix known")
    return printable(" ".join((parts[0], "-", "; ".join(parts[1:]))), 400)
