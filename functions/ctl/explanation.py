"""What was decided about a package, as one value and in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from shared.model.decision import LoggedDecision
from shared.model.lock import Change
from shared.model.policy import Policy
from shared.model.value import printable
from shared.model.verdict import Finding, RuleAnswer, Verdict

_WORDS = {"allow": "is admitted", "hold": "is held", "block": "is blocked"}
_FINDINGS = 30
_LOGGED = 20


@dataclass(frozen=True)
class Bearing:
    """A waiver that the verdict leans on."""

    id: str
    waives: str
    approver: str
    reason: str
    expires: str
    ended: str
    """Why it does not count any more; empty if it does."""


@dataclass(frozen=True)
class Explanation:
    """All that is known about one decision."""

    run_id: str
    workload: str
    at: str
    """RFC 3339: when it was judged."""
    verdict: Verdict
    policy: Policy
    replaced_by: tuple[Change, ...]
    replaces: tuple[Change, ...]
    only_looked_at: bool
    """It was one of those that could have replaced another, and was not taken."""
    waivers: tuple[Bearing, ...]
    logged: tuple[LoggedDecision, ...]
    """What the decision log says of the package, in any run, oldest first."""
    publishers: tuple[str, ...] = ()
    """Who published its files, in words: as their attestations proved when they came in, in whatever run."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        verdict = self.verdict
        return {
            "run_id": self.run_id,
            "workload": self.workload,
            "judged": self.at,
            "purl": verdict.package.purl,
            "decision": verdict.decision,
            "reason": verdict.reason,
            "until": verdict.until,
            "rules": [each.model_dump(mode="json") for each in verdict.rules],
            "findings": [each.model_dump(mode="json") for each in verdict.findings],
            "advisories": verdict.advisories.model_dump(mode="json"),
            "policy": {"name": self.policy.name, "digest": verdict.policy},
            "needed_by": list(verdict.needed_by),
            "publishers": list(self.publishers),
            "replaced_by": [_change(each) for each in self.replaced_by],
            "replaces": [_change(each) for each in self.replaces],
            "only_looked_at": self.only_looked_at,
            "waivers": [vars(each) for each in self.waivers],
            "next": list(next_steps(self)),
            "log": [each.model_dump(mode="json") for each in self.logged],
        }


def _change(change: Change) -> dict[str, Any]:
    return {
        "before": change.before.purl,
        "after": "" if change.kind == "dropped" else change.after.purl,
        "kind": change.kind,
        "reason": change.reason,
        "advisories": list(change.advisories),
        "required_by": list(change.required_by),
    }


def lines(found: Explanation) -> Iterator[str]:
    """The explanation for a person: nothing in it that a terminal would obey."""
    for name, said in _parts(found):
        yield f"  {name:<11} {printable(said, 1500)}" if name else printable(said, 500)


def _parts(found: Explanation) -> Iterator[tuple[str, str]]:
    verdict = found.verdict
    yield (
        "",
        f"{verdict.package.purl} {_WORDS[verdict.decision]} ({found.workload}, {found.run_id}, {found.at})",
    )
    for place, rule in enumerate(_deciding(verdict)):
        yield "" if place else "because", f"{'' if not place else '              '}{rule.rule}: {rule.reason}"
    yield "policy", f"{found.policy.name}, {verdict.policy}"
    data = verdict.advisories
    yield "data", f"{data.source} of {data.date}, {data.digest}"
    for also in data.also:
        yield "and", f"{also.name} of {also.date}, {also.digest}"
    yield from _advisories(verdict)
    yield "needed by", needed(found)
    for publisher in found.publishers:
        yield "publisher", f"{publisher}, as its attestations prove"
    yield from _changes(found)
    for waiver in found.waivers:
        still = f"; it {waiver.ended}" if waiver.ended else ""
        said = f"approved by {waiver.approver} until {waiver.expires}: {waiver.reason}"
        yield "waiver", f"{waiver.id}: {waiver.waives}; {said}{still}"
    if verdict.until and verdict.decision == "hold":
        yield "until", f"{verdict.until}, if nothing else changes"
    for step in next_steps(found):
        yield "next", step
    for entry in found.logged[-_LOGGED:]:
        yield "log", f"{entry.at} {entry.kind}{f' in {entry.run_id}' if entry.run_id else ''}: {entry.reason}"


def _deciding(verdict: Verdict) -> Sequence[RuleAnswer]:
    """The rules by which it was decided; of an admitted package all that have something to say of it."""
    if verdict.decision == "allow":
        told = [rule for rule in verdict.rules if rule.answer != "allow"]
        return told or [RuleAnswer(rule="every rule", answer="allow", reason="allows it")]
    return [rule for rule in verdict.rules if rule.answer == verdict.decision]


def _advisories(verdict: Verdict) -> Iterator[tuple[str, str]]:
    if not verdict.findings:
        yield "advisories", "none that is known"
    for finding in verdict.findings[:_FINDINGS]:
        yield "advisory", described(finding)
    if (more := len(verdict.findings) - _FINDINGS) > 0:
        yield "", f"              and {more} more (see --json)"


def described(finding: Finding) -> str:
    """One flaw in a line."""
    known = [alias for alias in finding.aliases if alias.startswith("CVE-")]
    score = f" {finding.score:.1f}" if finding.score is not None else ""
    parts = [f"{finding.id}{f' ({known[0]})' if known else ''}: {finding.severity}{score}"]
    parts += ["malicious"] if finding.malicious else []
    parts += ["exploited in the wild"] if finding.exploited else []
    if finding.exploit_probability is not None:
        parts.append(f"exploited within 30 days with a probability of {finding.exploit_probability:.1%}")
    parts.append(f"fixed in {' or '.join(finding.fixed[:3])}" if finding.fixed else "no fix known")
    parts += [f"undecided: {finding.undecided}"] if finding.undecided else []
    return "; ".join(parts) + (f". {finding.summary}" if finding.summary else "")


def needed(found: Explanation) -> str:
    """The way by which the workload needs it."""
    way = found.verdict.needed_by
    if found.only_looked_at:
        return "nothing: it was looked at as a replacement, and another one was taken"
    if not way:
        return f"the workload {found.workload} itself, or nobody can tell"
    if any(" " in step for step in way):  # words, not names
        return ", ".join(way)
    return " -> ".join((found.workload, *way, found.verdict.package.name))


def _changes(found: Explanation) -> Iterator[tuple[str, str]]:
    for change in found.replaced_by:
        instead = "nothing" if change.kind == "dropped" else change.after.purl
        yield "instead", f"{instead}: {change.reason}"
    for change in found.replaces:
        if change.kind == "added":
            yield "came in", change.reason
        else:
            yield "replaces", f"{change.before.purl}: {change.reason}"


def next_steps(found: Explanation) -> Iterator[str]:
    """What to do now, if anything."""
    verdict, ended = found.verdict, [waiver for waiver in found.waivers if waiver.ended]
    if found.only_looked_at:
        yield "nothing: this version is not what the run installs"
    elif verdict.decision == "allow":
        yield from _kept_open(found, ended)
    elif found.replaced_by:
        change = found.replaced_by[0]
        instead = "without it" if change.kind == "dropped" else f"{change.after.purl} in its place"
        yield f"nothing must be done: the run installs {instead}"
    else:
        yield from _way_in(found)


def _kept_open(found: Explanation, ended: Sequence[Bearing]) -> Iterator[str]:
    if ended:
        yield "its waiver does not count any more: have the workload run again, and it is judged without"
    elif found.waivers:
        last = min(waiver.expires for waiver in found.waivers)
        yield f"replace it, or waive it anew, before {last}{_upgrade(found.verdict)}"
    elif fixed := _upgrade(found.verdict):
        yield f"the policy bears its flaws{fixed}"
    else:
        yield "nothing"


def _upgrade(verdict: Verdict) -> str:
    fixed = {finding.id: finding.fixed for finding in verdict.findings if finding.fixed}
    told = [f"{id} in {' or '.join(versions[:2])}" for id, versions in list(fixed.items())[:3]]
    return f": fixed are {', '.join(told)}" if told else ""


def _way_in(found: Explanation) -> Iterator[str]:
    """It is not admitted, and nothing took its place."""
    verdict, speaking = found.verdict, {rule.rule for rule in _deciding(found.verdict)}
    if verdict.until:
        yield f"wait until {verdict.until}: then it is looked at again"
    if speaking & {"advisory_age", "advisory_data"}:
        yield "see that there is new advisory data, and request the run again"
    if upgrade := _upgrade(verdict):
        yield f"ask for a version without the flaws{upgrade}"
    worst = [finding.id for finding in verdict.findings][:1]
    if worst and not any(finding.malicious for finding in verdict.findings):
        yield f"or let somebody who answers for it waive it, as with ./dmz waive {worst[0]} {verdict.package.purl}"
    if not (verdict.until or upgrade or worst or speaking & {"advisory_age", "advisory_data"}):
        yield "ask for another package, or change the rule of the policy that speaks against it"


def by_purl(changes: Sequence[Change], purl: str) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """(what takes its place, what it takes the place of)."""
    away = tuple(each for each in changes if each.before.purl == purl and each.kind != "added")
    here = tuple(each for each in changes if each.after.purl == purl and each.kind != "dropped")
    return away, here
