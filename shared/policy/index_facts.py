"""The rules about what the index says of a version: yanked, cooldown, licences. Pure.

1. What the index was not asked for, or did not answer, is not known, and never good.
2. Of the workload's own wheel no index speaks, so nothing is asked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from shared.model.case import FactKind, Subject
from shared.model.policy import Cooldown, Licences
from shared.model.value import printable
from shared.model.verdict import Decision, RuleAnswer
from shared.policy.bench import Bench
from shared.policy.licences import Passes, passes

_UNASKED = "the policy does not ask"
_OWN = "it is the workload's own wheel, of which no index speaks"
_MENDED = 5  # advisories that one reason names


def yanked(subject: Subject, answer: Decision, bench: Bench) -> RuleAnswer:
    """Withdrawn by its authors (PEP 592)."""
    rule, facts = "yanked", subject.facts
    if skipped := _skipped(rule, subject, answer == "allow"):
        return skipped
    if facts.yanked is not None:
        why = printable(facts.yanked, 300) or "they gave no reason"
        return RuleAnswer(rule=rule, answer=answer, reason=f"its authors have withdrawn it (yanked): {why}")
    # The time of upload stands on the same page of the index: who knows it knows whether the version was yanked.
    sure = facts.uploaded and not _unasked("yanked", bench)
    if not sure and (unknown := _unknown("yanked", subject, bench)):
        reason = f"it is not known whether it was yanked: {unknown}"
        return RuleAnswer(rule=rule, answer="hold", reason=reason)
    return RuleAnswer(rule=rule, answer="allow", reason="it is not yanked")


def cooldown(subject: Subject, rule: Cooldown, bench: Bench) -> RuleAnswer:
    """A version must have been public for some days, unless it mends an advisory of what it replaces."""
    name = "cooldown"
    if skipped := _skipped(name, subject, rule.days == 0):
        return skipped
    ends = _ends(subject, rule)
    if ends is None:
        why = _unknown("uploaded", subject, bench) or "the index does not say"
        answer, reason = rule.unknown_upload, f"it is not known when it was uploaded: {why}"
    elif bench.at >= ends:
        reason = f"it was uploaded {subject.facts.uploaded}, {rule.days} days ago or more"
        return RuleAnswer(rule=name, answer="allow", reason=reason)
    else:
        answer, reason = (
            "hold",
            f"it was uploaded {subject.facts.uploaded}, and waits for {rule.days} days until {_text(ends)}",
        )
    if subject.mends and answer != "allow":
        mended = ", ".join(printable(id, 60) for id in subject.mends[:_MENDED])
        reason = f"{reason}; it may pass at once because it mends {mended} of what it replaces"
        return RuleAnswer(rule=name, answer="allow", reason=reason)
    return RuleAnswer(rule=name, answer=answer, reason=reason)


def waits_until(subject: Subject, rule: Cooldown) -> str:
    """RFC 3339: when the cooldown is over; empty if that is not known."""
    ends = _ends(subject, rule)
    return _text(ends) if ends else ""


def licences(subject: Subject, rule: Licences, bench: Bench) -> RuleAnswer:
    """What its metadata say of its licence, held against the policy's lists."""
    name, stated = "licences", subject.facts.licences
    if skipped := _skipped(name, subject, not rule.asked):
        return skipped
    said = printable(", ".join(stated), 300)
    if not stated or _unasked("licences", bench):
        why = _unknown("licences", subject, bench) or "its metadata say nothing"
        return RuleAnswer(rule=name, answer=rule.unknown, reason=f"its licence is not known: {why}")
    match passes(stated, rule):
        case Passes.YES:
            return RuleAnswer(rule=name, answer="allow", reason=f"its licence may enter: {said}")
        case Passes.NO:
            return RuleAnswer(
                rule=name, answer=rule.refused, reason=f"the policy refuses its licence: {said}"
            )
        case Passes.UNKNOWN:
            reason = f"its licence cannot be told from what its metadata say: {said}"
            return RuleAnswer(rule=name, answer=rule.unknown, reason=reason)


def _skipped(rule: str, subject: Subject, unasked: bool) -> RuleAnswer | None:
    if unasked:
        return RuleAnswer(rule=rule, answer="allow", reason=_UNASKED)
    if subject.own_wheel:  # 2
        return RuleAnswer(rule=rule, answer="allow", reason=_OWN)
    return None


def _unasked(kind: FactKind, bench: Bench) -> str:
    return "" if kind in bench.asked else "nobody asked the index"


def _unknown(kind: FactKind, subject: Subject, bench: Bench) -> str:
    """Why a fact is not known; empty if the index was asked and did answer."""
    facts = subject.facts
    return ("" if kind in facts.told else printable(facts.lacking, 400)) or _unasked(kind, bench)  # 1


def _ends(subject: Subject, rule: Cooldown) -> datetime | None:
    try:
        uploaded = datetime.fromisoformat(subject.facts.uploaded)
        return uploaded.astimezone(UTC) + timedelta(days=rule.days) if uploaded.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
