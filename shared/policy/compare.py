"""What another policy would say of a case that was judged before, package by package. Pure.

A case holds what its own policy asked for. Where another policy asks for more, what it would say of a package is not
known: neither that it would change, nor that it would not.

1. What nobody asked the index for is never taken for an answer: the facts of such a package count as lacking.
2. A package whose answer leans on such facts, or on a catalogue that was not at hand, is unknown, unless it is blocked
   for another reason already.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.model.case import Case, FactKind, Subject
from shared.model.policy import EPSS, KEV, Policy
from shared.model.verdict import Decision, Verdict
from shared.policy.bench import BADNESS
from shared.policy.judge import judge_all

_WORDS: Mapping[FactKind, str] = {
    "uploaded": "the time of upload",
    "yanked": "whether it was yanked",
    "licences": "the licence",
}
_CATALOGUES: Mapping[str, str] = {"known_exploited": KEV, "exploit_probability": EPSS}
"""Rules to what they ask, by its name in `AdvisorySource.also`."""
_UNASKED = ("nobody asked for them when this case was made", "they are not in this case")
"""Two ways to say it: a rule whose answer differs with them leans on facts that are not there."""


@dataclass(frozen=True)
class Change:
    """A package that another policy would decide otherwise."""

    purl: str
    before: Decision
    after: Decision
    rule: str
    """The rule that decides; of what would be admitted, the one that decided before."""
    reason: str
    needed_by: tuple[str, ...]


@dataclass(frozen=True)
class Unknown:
    """A package of which it is not known what the other policy would say."""

    purl: str
    before: Decision
    lacking: tuple[str, ...]
    """What the case does not know of it and the policy asks for, as people say it."""


@dataclass(frozen=True)
class Comparison:
    """What would be different."""

    changes: tuple[Change, ...]
    """Worst first."""
    unknown: tuple[Unknown, ...]
    same: int
    """Packages whose decision stays."""

    @property
    def clean(self) -> bool:
        """True if it is known that nothing would change."""
        return not (self.changes or self.unknown)


def compare(
    before: Iterable[Verdict],
    case: Case,
    policy: Policy,
    wanted: Collection[FactKind],
    only: Collection[str] | None = None,
) -> Comparison:
    """The verdicts `before`, and what they would be under `policy`, which asks for the facts `wanted`.

    `only`: the purls that count; all of them if None.
    """
    unasked = tuple(sorted(set(wanted) - set(case.asked)))
    after, other = (_judged(case, policy, unasked, words) for words in _UNASKED)
    changes: list[Change] = []
    unknown: list[Unknown] = []
    same = 0
    for verdict in before:
        purl = verdict.package.purl
        if only is not None and purl not in only:
            continue
        new = after[purl]
        lacking = [_WORDS[kind] for kind in unasked] if new.rules != other[purl].rules else []
        lacking += _absent(case, verdict, new)
        if lacking and new.decision != "block":  # 2
            unknown.append(Unknown(purl, verdict.decision, tuple(lacking)))
        elif new.decision != verdict.decision:
            changes.append(_change(verdict, new))
        else:
            same += 1
    return Comparison(tuple(sorted(changes, key=worst_first)), tuple(unknown), same)


def together(parts: Sequence[Comparison]) -> Comparison:
    """Several comparisons as one."""
    return Comparison(
        tuple(sorted((each for part in parts for each in part.changes), key=worst_first)),
        tuple(each for part in parts for each in part.unknown),
        sum(part.same for part in parts),
    )


def lacks(unknown: Sequence[Unknown]) -> str:
    """What a case does not know, as a sentence; empty if it knows everything."""
    if not unknown:
        return ""
    what = " and ".join(sorted({words for each in unknown for words in each.lacking}))
    packages = f"{len(unknown)} package{'' if len(unknown) == 1 else 's'}"
    return f"This case does not know {what} of {packages}, which the policy asks for: run again to learn."


def deciding(verdict: Verdict) -> tuple[str, str]:
    """(rule, reason) of the first answer that led to the decision; empty if every rule allows it."""
    for answer in verdict.rules:
        if answer.answer == verdict.decision != "allow":
            return answer.rule, answer.reason
    return "", ""


def worst_first(change: Change) -> tuple[int, int, str]:
    """Sorts changes."""
    return -BADNESS[change.after], BADNESS[change.before], change.purl


def _change(before: Verdict, after: Verdict) -> Change:
    rule, reason = deciding(after) if after.decision != "allow" else deciding(before)
    if after.decision == "allow":
        reason = f"it would not refuse it any more ({reason})"
    return Change(after.package.purl, before.decision, after.decision, rule, reason, after.needed_by)


def _absent(case: Case, before: Verdict, after: Verdict) -> list[str]:
    """Catalogues that the policy asks about the package and the case does not have; where it lacked them in the same
    way when it was judged, nothing is different."""
    there = {source.name for source in case.source.also}
    return [
        f"what {name} says"
        for answer in after.rules
        if (name := _CATALOGUES.get(answer.rule)) is not None
        and name not in there
        and answer.answer != "allow"
        and answer not in before.rules
    ]


def _judged(case: Case, policy: Policy, unasked: Sequence[FactKind], words: str) -> dict[str, Verdict]:
    subjects = tuple(_unasked(subject, words) if unasked else subject for subject in case.subjects)  # 1
    judged = judge_all(case.model_copy(update={"policy": policy, "subjects": subjects}))
    return {verdict.package.purl: verdict for verdict in judged}


def _unasked(subject: Subject, words: str) -> Subject:
    """As it is if no index speaks of it: run again, nobody would learn more."""
    if subject.package.ecosystem != "pypi" or subject.own_wheel or subject.direct_url:
        return subject
    return subject.model_copy(update={"facts": subject.facts.model_copy(update={"lacking": words})})
