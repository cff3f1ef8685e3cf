"""What every judgement of one case has in common: the rules, the moment, the age of the data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.model.case import Case, FactKind
from shared.model.policy import EPSS, KEV, Rules
from shared.model.value import printable
from shared.model.verdict import Decision, RuleAnswer

BADNESS: Mapping[Decision, int] = {"allow": 0, "hold": 1, "block": 2}
_CLOCK_SKEW = timedelta(hours=24)
_PAUSES = {KEV: timedelta(days=14)}
"""CISA dates its catalogue by the last flaw that it entered, and there are weeks without any."""


@dataclass(frozen=True)
class Bench:
    """Made once for a case, used for each of its packages."""

    rules: Rules
    at: datetime
    age: RuleAnswer
    """The rule advisory_age, whose answer is the same for all packages."""
    catalogues: Mapping[str, str]
    """KEV and EPSS: why it does not serve, as a sentence part; empty if it does."""
    asked: frozenset[FactKind]
    """Kinds of facts that the index was asked for."""


def bench(case: Case) -> Bench:
    """What the case says to all of its packages."""
    limit, at = case.policy.max_advisory_age_hours, datetime.fromisoformat(case.at)
    return Bench(
        rules=case.policy.rules(case.workload),
        at=at,
        age=_age(case.source.date, at, limit),
        catalogues={name: _catalogue(name, case, at) for name in (KEV, EPSS)},
        asked=frozenset(case.asked),
    )


def _age(date: str, at: datetime, limit: int | None) -> RuleAnswer:
    rule = "advisory_age"
    if limit is None:
        reason = f"the policy sets no limit of age; the data is of {date}"
        return RuleAnswer(rule=rule, answer="allow", reason=reason)
    if why := _stale(date, at, timedelta(hours=limit)):
        return RuleAnswer(rule=rule, answer="hold", reason=f"the advisory data {why}")
    return RuleAnswer(rule=rule, answer="allow", reason=f"the advisory data is of {date}")


def _catalogue(name: str, case: Case, at: datetime) -> str:
    limit = case.policy.max_advisory_age_hours
    found = next((each for each in case.source.also if each.name == name), None)
    if found is None:
        return f"{name} was not at hand"
    if limit is None:
        return ""
    why = _stale(found.date, at, timedelta(hours=limit) + _PAUSES.get(name, timedelta(0)))
    return f"{name} {why}" if why else ""


def _stale(date: str, at: datetime, limit: timedelta) -> str:
    """Why data of this date does not serve at that moment, behind `the data`; empty if it does."""
    try:
        age = at - datetime.fromisoformat(date)
    except (ValueError, TypeError):
        return f"has no readable date ({printable(date, 40)}), so its age is unknown"
    if age > limit:
        hours = limit.days * 24 + limit.seconds // 3600
        return f"is of {date}, older than the policy's {hours} hours: fetch it again"
    if age < -_CLOCK_SKEW:
        return f"is of {date}, which is in the future: set the clock right"
    return ""
