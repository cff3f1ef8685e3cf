"""Findings to verdicts. Pure: every rule of the policy is asked, every answer is kept, the worst one wins.

The same case gives the same bytes. Its moment decides what is too old, too young or waived, and is not written into a
verdict. In this order:

0. What nobody can read is held, whatever a policy or a waiver says: there is nothing that they could be about.
1. How old the advisory data is, and whether it could be read for this package.
2. The rules of the package's ecosystem and workload, where a waived finding answers allow (shared.policy.waive).
3. What the policy allows by name, and what a waiver allows as a whole: every rule but those of 1 and malice.
4. The worst answer decides. A hold that a cooldown alone gives says when it ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.model.case import Case, Subject
from shared.model.value import Digest, printable
from shared.model.verdict import Decision, Finding, RuleAnswer, Verdict
from shared.model.waiver import Waiver
from shared.policy import waive
from shared.policy.bench import BADNESS, Bench, bench
from shared.policy.index_facts import waits_until
from shared.policy.rules import allowed_by_name, answers


def judge_all(case: Case) -> tuple[Verdict, ...]:
    """One verdict per purl, sorted; a package that is there twice gets the worse of its two verdicts."""
    judge, verdicts = _Judge.of(case), dict[str, Verdict]()
    for subject in case.subjects:
        verdict = judge.verdict(subject)
        purl = subject.package.purl
        if purl not in verdicts or _order(verdict) > _order(verdicts[purl]):
            verdicts[purl] = verdict
    return tuple(verdicts[purl] for purl in sorted(verdicts))


def judge(subject: Subject, case: Case) -> Verdict:
    """The verdict about one package."""
    return _Judge.of(case).verdict(subject)


@dataclass(frozen=True)
class _Judge:
    case: Case
    bench: Bench
    policy: Digest
    waivers: tuple[Waiver, ...]
    """Those in force, the longest first."""

    @classmethod
    def of(cls, case: Case) -> _Judge:
        made = bench(case)
        return cls(case, made, case.policy.digest, waive.in_force(case, made.at))

    def verdict(self, subject: Subject) -> Verdict:
        purl = subject.package.purl
        findings = self.case.findings.get(purl, ())
        relevant = waive.of_package(self.waivers, purl, findings) if self.waivers else ()
        said = self._ask(subject, findings, relevant)
        needed: tuple[Waiver, ...] = ()
        if relevant:
            # Of waivers that say the same one is named; of those, a decision needs perhaps fewer still.
            used = waive.least(relevant, lambda some: self._as_good(subject, findings, some, relevant, said))
            said = self._ask(subject, findings, used)
            decided = _decision(said)
            needed = waive.least(used, lambda some: _decision(self._ask(subject, findings, some)) == decided)
        decision = _decision(said)
        return Verdict(
            package=subject.package,
            decision=decision,
            rules=tuple(said),
            findings=tuple(findings),
            policy=self.policy,
            advisories=self.case.source,
            needed_by=subject.needed_by,
            until=self._until(subject, said) if decision == "hold" else "",
            waivers=tuple(sorted(waiver.id for waiver in needed)),
        )

    def _ask(
        self, subject: Subject, findings: Sequence[Finding], waivers: Sequence[Waiver]
    ) -> list[RuleAnswer]:
        """Every rule's answer if these waivers count."""
        if subject.unreadable:  # 0
            return [RuleAnswer(rule="readable", answer="hold", reason=subject.unreadable)]
        said = [self.bench.age, self._data(subject)]  # 1
        said += answers(subject, waive.weighed(findings, waivers), self.bench)  # 2
        if why := allowed_by_name(subject, self.bench):  # 3
            said = waive.allowed(said, f"the policy allows {why}")
        said = waive.whole(said, waivers)  # 3
        if subject.in_base:
            said = [_in_base(answer, subject.in_interpreter) for answer in said]
        return said

    def _as_good(
        self,
        subject: Subject,
        findings: Sequence[Finding],
        some: Sequence[Waiver],
        every: Sequence[Waiver],
        said: Sequence[RuleAnswer],
    ) -> bool:
        """Whether some of the waivers waive the same findings as all of them, and no rule's answer is worse."""
        waived, all_waived = (
            [each.waiver is not None for each in waive.weighed(findings, waivers)]
            for waivers in (some, every)
        )
        return waived == all_waived and not _worse(self._ask(subject, findings, some), said)

    def _data(self, subject: Subject) -> RuleAnswer:
        if self.case.lacking and (why := self.case.lacking.get(subject.package.purl)):
            return RuleAnswer(rule="advisory_data", answer="hold", reason=printable(why, 400))
        return RuleAnswer(rule="advisory_data", answer="allow", reason="its advisories could be read")

    def _until(self, subject: Subject, said: Sequence[RuleAnswer]) -> str:
        """When a hold ends by itself (4)."""
        holding = [answer.rule for answer in said if answer.answer == "hold"]
        return waits_until(subject, self.bench.rules.pypi.cooldown) if holding == ["cooldown"] else ""


def _decision(said: Sequence[RuleAnswer]) -> Decision:
    return max((answer.answer for answer in said), key=BADNESS.__getitem__)  # 4


def _worse(some: Sequence[RuleAnswer], others: Sequence[RuleAnswer]) -> bool:
    """Whether any rule's answer is worse than the same rule's among the others."""
    return any(BADNESS[one.answer] > BADNESS[other.answer] for one, other in zip(some, others, strict=True))


def _order(verdict: Verdict) -> tuple[int, bytes]:
    return BADNESS[verdict.decision], verdict.canonical()


def _in_base(answer: RuleAnswer, in_interpreter: bool) -> RuleAnswer:
    if answer.answer == "allow":
        return answer
    carrier = "came with the workload's own interpreter" if in_interpreter else "is part of the base image"
    return answer.model_copy(update={"reason": f"{answer.reason}; it {carrier}"})
