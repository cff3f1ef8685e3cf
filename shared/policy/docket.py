"""What was judged on the way to a lock, joined into few cases: each of those verdicts can be asked again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.model.case import Case, Subject
from shared.model.verdict import Finding

_Known = Mapping[str, list[object]]
"""By purl: everything that a case says of that package."""


@dataclass
class _Joined:
    """A case in the making: it grows by what is new, so that many small ones are joined in one round."""

    frame: Case
    """What all packages of the case have in common."""
    known: dict[str, list[object]] = field(default_factory=dict)
    subjects: list[Subject] = field(default_factory=list)
    findings: dict[str, tuple[Finding, ...]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)

    def takes(self, frame: Case, known: _Known) -> bool:
        """Only if all but the packages is the same and nothing different is said about any package."""
        if self.frame != frame:
            return False
        return all(self.known[purl] == said for purl, said in known.items() if purl in self.known)

    def add(self, case: Case, known: _Known) -> None:
        """What was said first stays."""
        self.subjects += [each for each in case.subjects if each.package.purl not in self.known]
        for purl, findings in case.findings.items():
            self.findings.setdefault(purl, findings)
        for purl, why in case.lacking.items():
            self.lacking.setdefault(purl, why)
        for purl, said in known.items():
            self.known.setdefault(purl, said)

    def case(self) -> Case:
        return self.frame.model_copy(
            update={"subjects": tuple(self.subjects), "findings": self.findings, "lacking": self.lacking}
        )


@dataclass
class Docket:
    """Collects cases. A search for replacements judges some packages at a time, often the same ones."""

    _heard: list[Case] = field(default_factory=list)

    def add(self, case: Case) -> None:
        self._heard.append(case)

    def cases(self) -> tuple[Case, ...]:
        """Everything that was judged, in as few cases as are as good as the many.

        Two are joined only if all but their packages is the same and they say nothing different about any package: each
        verdict of the joined case is the one that was given.
        """
        joined: list[_Joined] = []
        for case in self._heard:
            frame, known = _frame(case), _known(case)
            place = next((each for each in joined if each.takes(frame, known)), None)
            if place is None:
                place = _Joined(frame)
                joined.append(place)
            place.add(case, known)
        return tuple(each.case() for each in joined)


def _frame(case: Case) -> Case:
    return case.model_copy(update={"subjects": (), "findings": {}, "lacking": {}})


def _known(case: Case) -> _Known:
    known: dict[str, list[object]] = {}
    for subject in case.subjects:
        purl = subject.package.purl
        known.setdefault(purl, [case.findings.get(purl, ()), case.lacking.get(purl, "")]).append(subject)
    return known
