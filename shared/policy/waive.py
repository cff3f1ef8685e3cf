"""Which waivers count, and for what. Pure.

1. A waiver counts from `granted` until before `expires`, for its workload, for the packages that its pattern means.
2. One for an advisory answers for that finding alone. With `until_fixed` it ends when the finding has a fix.
3. One for a package overrules every rule but malicious, advisory_age, advisory_data and apt_sources. With `until_fixed`
it ends when any finding of the package has a fix.
4. A report of malice is overruled only by a waiver that names the report itself (MAL-…), not a flaw of the same group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from shared.model.case import Case
from shared.model.purl_pattern import matches
from shared.model.verdict import Finding, RuleAnswer
from shared.model.waiver import Waiver
from shared.policy.about import Weighed, overruled

NEVER_WAIVED = frozenset({"malicious", "advisory_age", "advisory_data", "apt_sources", "readable"})
"""Rules that neither a waiver of a package nor the policy's own `allow` overrules: one by one, or by fetching data."""

_MALICE = "mal-"
"""How ids of reports of malice begin (https://github.com/ossf/malicious-packages)."""


def in_force(case: Case, at: datetime) -> tuple[Waiver, ...]:
    """Those of the case that count at that moment for its workload, the longest first."""
    counting = {
        waiver.id: waiver
        for waiver in case.waivers
        if datetime.fromisoformat(waiver.granted) <= at < datetime.fromisoformat(waiver.expires)  # 1
        and waiver.workload in ("", case.workload)  # 1
    }
    return tuple(sorted(counting.values(), key=lambda w: (-_ends(w), w.id)))


def of_package(waivers: Sequence[Waiver], purl: str, findings: Sequence[Finding]) -> tuple[Waiver, ...]:
    """Those that say something about the package or one of its findings, in the same order."""
    return tuple(
        waiver
        for waiver in waivers
        if (
            any(names(waiver, finding) for finding in findings)
            if waiver.advisory
            else not (waiver.until_fixed and any(finding.fixed for finding in findings))  # 3
        )
        and (not waiver.package or matches(waiver.package, purl))  # 1
    )


def names(waiver: Waiver, finding: Finding) -> bool:
    """Whether the waiver is for this advisory, by whichever of its ids, and still counts for it."""
    if waiver.until_fixed and finding.fixed:  # 2
        return False
    if finding.malicious and not waiver.advisory.casefold().startswith(_MALICE):  # 4
        return False
    return waiver.advisory.casefold() in (id.casefold() for id in (finding.id, *finding.aliases))


def weighed(findings: Sequence[Finding], waivers: Sequence[Waiver]) -> tuple[Weighed, ...]:
    """Each finding with the first waiver that names it."""
    own = [waiver for waiver in waivers if waiver.advisory]
    return tuple(
        Weighed(finding, next((each for each in own if names(each, finding)), None)) for finding in findings
    )


def whole(answers: Sequence[RuleAnswer], waivers: Sequence[Waiver]) -> list[RuleAnswer]:
    """The answers, overruled by the first waiver of the package as a whole."""
    waiver = next((each for each in waivers if not each.advisory), None)
    return list(answers) if waiver is None else allowed(answers, overruled(waiver))


def allowed(answers: Sequence[RuleAnswer], why: str) -> list[RuleAnswer]:
    """The answers with every one allowed that may be (3, 4)."""
    return [
        each
        if each.answer == "allow" or each.rule in NEVER_WAIVED
        else each.model_copy(update={"answer": "allow", "reason": f"{each.reason}; {why}"})
        for each in answers
    ]


def least(waivers: Sequence[Waiver], enough: Callable[[Sequence[Waiver]], bool]) -> tuple[Waiver, ...]:
    """As few as are `enough`, the longest of them; `waivers` stand with the longest first, and are enough."""
    kept = list(waivers)
    for waiver in reversed(waivers):
        without = [each for each in kept if each is not waiver]
        if enough(without):
            kept = without
    return tuple(kept)


def _ends(waiver: Waiver) -> float:
    return datetime.fromisoformat(waiver.expires).timestamp()
