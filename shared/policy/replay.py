"""Where a judgement that is made again is not the one that was stored: the first difference, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.model.case import Case
from shared.model.value import printable
from shared.model.verdict import Finding, Known, RuleAnswer, Verdict, Verdicts

_NAMED = 5
"""Findings that one difference names."""


def of_verdicts(stored: bytes, read: Verdicts, again: Verdicts) -> str:
    """The first difference between the stored bytes, which say `read`, and the judgement made again; empty if none."""
    if again.canonical() == stored:
        return ""
    before = {verdict.package.purl: verdict for verdict in read.verdicts}
    after = {verdict.package.purl: verdict for verdict in again.verdicts}
    for purl in sorted(before.keys() | after.keys()):
        if purl not in after:
            return f"{purl} has a stored verdict, and the case does not name it"
        if purl not in before:
            return f"the case names {purl}, and there is no stored verdict about it"
        if said := _verdict(before[purl], after[purl]):
            return f"{purl}: {said}"
    return "the stored verdicts say the same in other bytes: this program did not write them"


def of_findings(case: Case, known: Known) -> str:
    """The first difference between what the case says is known and what is matched now; empty if there is none.

    What other bodies of data say of a finding is compared only if both lean on the same ones.
    """
    same = case.source.also == known.source.also
    for purl in sorted({subject.package.purl for subject in case.subjects}):
        before, after = (
            tuple(_plain(f, same) for f in each.findings.get(purl, ())) for each in (case, known)
        )
        said = _lists(before, after)
        # The reason may name a path, which is not what is to be the same.
        if not said and (purl in case.lacking) != (purl in known.lacking):
            was = case.lacking.get(purl) or "nothing"
            said = f"then its data lacked {was!r}, and now {known.lacking.get(purl) or 'nothing'!r}"
        if said:
            return f"{purl}: {printable(said, 1000)}"
    return ""


def _plain(finding: Finding, same: bool) -> Finding:
    return finding if same else finding.model_copy(update={"exploited": False, "exploit_probability": None})


def _verdict(before: Verdict, after: Verdict) -> str:
    if before == after:
        return ""
    said = f"stored is {before.decision}, judged again it is {after.decision}"
    if rule := _rules(before.rules, after.rules):
        return f"{said}; {rule}"
    if before.decision != after.decision:
        return said
    if findings := _lists(before.findings, after.findings):
        return findings
    fields = [name for name in Verdict.model_fields if getattr(before, name) != getattr(after, name)]
    return f"the stored {fields[0]} is not what follows from the case"


def _rules(before: Sequence[RuleAnswer], after: Sequence[RuleAnswer]) -> str:
    now: Mapping[str, RuleAnswer] = {answer.rule: answer for answer in after}
    for old in before:
        new = now.get(old.rule)
        if new is None:
            return f"the rule {old.rule} is not asked"
        if new != old:
            said = f"the rule {old.rule} says {new.answer} ({new.reason}), where it is stored that it said"
            return printable(f"{said} {old.answer} ({old.reason})", 1000)
    known = {answer.rule for answer in before}
    added = [answer.rule for answer in after if answer.rule not in known]
    return f"the rule {added[0]} is asked, of which nothing is stored" if added else ""


def _lists(before: Sequence[Finding], after: Sequence[Finding]) -> str:
    old, new = ({finding.id: finding for finding in each} for each in (before, after))
    if gone := sorted(old.keys() - new.keys()):
        return f"{_few(gone)} was found then, and is not found again"
    if added := sorted(new.keys() - old.keys()):
        return f"{_few(added)} is found now, and was not found then"
    for id, finding in sorted(old.items()):
        for name in Finding.model_fields:
            was, is_ = getattr(finding, name), getattr(new[id], name)
            if was != is_:
                return f"of {id} the {name} was {was!r}, and is {is_!r} now"
    return "" if tuple(before) == tuple(after) else "the findings stand in another order"


def _few(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more
