"""Whether a finding is a reason why the policy refuses a package. Pure."""

from __future__ import annotations

from collections.abc import Callable

from shared.model.case import Case, Subject
from shared.model.package import Package
from shared.model.verdict import Finding
from shared.policy import waive
from shared.policy.about import Weighed
from shared.policy.bench import BADNESS, bench
from shared.policy.rules import answers


def blames(case: Case) -> Callable[[Package, Finding], bool]:
    """Says whether any rule answers worse about a package with the finding than about the same one without any.

    A finding that a waiver in force names, for whatever package, is no reason: its flaw was accepted.
    """
    judged = bench(case)
    waivers = [each for each in waive.in_force(case, judged.at) if each.advisory]

    def blamed(package: Package, finding: Finding) -> bool:
        if any(waive.names(waiver, finding) for waiver in waivers):
            return False
        subject = Subject(package=package)
        without = answers(subject, (), judged)
        found = answers(subject, (Weighed(finding, None),), judged)
        return any(
            BADNESS[one.answer] > BADNESS[other.answer] for one, other in zip(found, without, strict=True)
        )

    return blamed
