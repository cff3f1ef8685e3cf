"""Whether a verdict is an answer, or says no more than that data lacks. Pure.

1. Advisories that are old or could not be read, and catalogues that do not serve.
2. What the index did not tell. What it did tell counts, whatever else it did not: a version that is known to be yanked
   is yanked, although its licence could not be read.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.model.case import Subject
from shared.model.policy import EPSS, KEV
from shared.model.verdict import RuleAnswer, Verdict

_DATA = ("advisory_age", "advisory_data")
"""Rules that say nothing but that data lacks."""
_CATALOGUES = {"known_exploited": KEV, "exploit_probability": EPSS}
"""Rules that hold where their catalogue does not serve."""


def why(verdict: Verdict, subject: Subject, catalogues: Mapping[str, str]) -> str:
    """Why this is no answer: nothing but a want of data speaks against the package. Empty for every other verdict."""
    against = [rule for rule in verdict.rules if rule.answer != "allow"]
    if not all(_wants_data(rule, subject, catalogues) for rule in against):
        return ""
    return "; ".join(rule.reason for rule in against)


def _wants_data(rule: RuleAnswer, subject: Subject, catalogues: Mapping[str, str]) -> bool:
    if rule.rule in _DATA:  # 1
        return rule.answer == "hold"
    if catalogue := _CATALOGUES.get(rule.rule):
        return rule.answer == "hold" and bool(catalogues[catalogue])
    facts = subject.facts
    unknown = {  # 2
        "cooldown": not facts.uploaded,
        "yanked": facts.yanked is None,
        "licences": not facts.licences,
    }
    return bool(facts.lacking) and unknown.get(rule.rule, False)
