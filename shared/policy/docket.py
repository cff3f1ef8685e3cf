"""What was judged on the way to a lock, joined into few cases: each of those verdicts can be asked again."""

from __future__ import annotations

from dataclasses import dataclass, field

from shared.model.case import Case


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
        joined: list[Case] = []
        for case in self._heard:
            for place, other in enumerate(joined):
                if (both := _joined(other, case)) is not None:
                    joined[place] = both
                    break
            else:
                joined.append(case)
        return tuple(joined)


def _joined(one: Case, other: Case) -> Case | None:
    if _frame(one) != _frame(other):
        return None
    here, there = _known(one), _known(other)
    if any(here[purl] != known for purl, known in there.items() if purl in here):
        return None
    new = tuple(subject for subject in other.subjects if subject.package.purl not in here)
    return one.model_copy(
        update={
            "subjects": (*one.subjects, *new),
            "findings": {**other.findings, **one.findings},
            "lacking": {**other.lacking, **one.lacking},
        }
    )


def _frame(case: Case) -> Case:
    """What all packages of the case have in common."""
    return case.model_copy(update={"subjects": (), "findings": {}, "lacking": {}})


def _known(case: Case) -> dict[str, list[object]]:
    """By purl: everything that the case says of that package."""
    known: dict[str, list[object]] = {}
    for subject in case.subjects:
        purl = subject.package.purl
        known.setdefault(purl, [case.findings.get(purl, ()), case.lacking.get(purl, "")]).append(subject)
    return known
