"""Which facts of an index a policy needs: nobody fetches what no rule asks."""

from __future__ import annotations

from shared.model.case import FactKind
from shared.model.policy import Policy


def asks_for(policy: Policy, workload: str) -> frozenset[FactKind]:
    """The kinds of facts that the policy's rules ask for the packages of this workload; empty: fetch nothing."""
    rules = policy.rules(workload).pypi
    wanted: set[FactKind] = set()
    if rules.cooldown.days:
        wanted.add("uploaded")
    if rules.yanked != "allow":
        wanted.add("yanked")
    if rules.licences.asked:
        wanted.add("licences")
    return frozenset(wanted)
