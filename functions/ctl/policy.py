"""`./dmz policy`: is a policy well-formed, and what would it change?"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from functions.ctl.inputs import BadInput
from functions.ctl.stored import UNREACHABLE, Records, records
from functions.local.layout import Layout
from shared.errors import DmzError, Inaccessible, Permanent
from shared.model.case import Case
from shared.model.policy import Policy
from shared.model.value import printable
from shared.model.verdict import Verdict
from shared.policy.compare import Comparison, compare, lacks, together
from shared.policy.read import BUILT_IN, built_in, find
from shared.policy.wants import asks_for
from shared.ports.store import Document

SAME, DIFFERENT = 0, 1


@dataclass(frozen=True)
class Judged:
    """One run under the policy that is checked."""

    run_id: str
    workload: str
    at: str
    policy: str
    """Name of the policy by which it was judged."""
    comparison: Comparison | None
    trouble: str = ""
    """Why it cannot be compared."""

    @property
    def clean(self) -> bool:
        return self.comparison is not None and self.comparison.clean


def policy(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code."""
    match arguments.action:
        case "list":
            return _list(arguments.json)
        case "show":
            return _show(arguments.name)
    try:
        found = find(arguments.file)
    except Permanent as error:
        raise BadInput(str(error)) from error
    if not arguments.against:
        return _valid(found, arguments.json)
    try:
        return check(found, arguments.against, records(layout, arguments.project), arguments.json)
    except (BadInput, Inaccessible):
        raise
    except DmzError as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE


def check(found: Policy, against: str, stored: Records, as_json: bool) -> int:
    """Judge a run, or all of them, by `found`, and say what is different."""
    named = list(stored.judged()) if against == "all" else [(against, stored.run(against))]
    judged = [_again(run_id, run, found, stored) for run_id, run in named]
    if as_json:
        print(json.dumps(_document(found, judged), ensure_ascii=False, indent=1))
    else:
        print("\n".join(_lines(found, judged)))
    return SAME if all(each.clean for each in judged) else DIFFERENT


def _again(run_id: str, run: Document, found: Policy, stored: Records) -> Judged:
    """A run that cannot be read keeps no other one from being compared."""
    workload = str(run.get("workload", ""))
    try:
        first, *more = stored.of_run(run_id, run)
        chosen = stored.chosen(run)
        parts = [_compared(first.verdicts.verdicts, first.case, found)]
        # Of what was judged on the way to the lock, what the lock names is what gets in.
        parts += [_compared(each.verdicts.verdicts, each.case, found, chosen) for each in more]
    except Inaccessible:
        raise
    except Permanent as error:
        return Judged(run_id, workload, "", "", None, str(error))
    return Judged(run_id, workload, first.case.at, first.case.policy.name, together(parts))


def _compared(
    before: Sequence[Verdict], case: Case, found: Policy, only: frozenset[str] | None = None
) -> Comparison:
    return compare(before, case, found, asks_for(found, case.workload), only)


# --- what is printed ---


def _valid(found: Policy, as_json: bool) -> int:
    if as_json:
        print(json.dumps(_named(found)))
    else:
        print(f"The policy {found.name} is valid ({found.digest}).")
    return SAME


def _named(found: Policy) -> dict[str, Any]:
    return {"policy": {"name": found.name, "digest": found.digest}}


def _list(as_json: bool) -> int:
    known = [find(name) for name in built_in()]
    if as_json:
        print(json.dumps([{"name": each.name, "description": each.description} for each in known], indent=1))
        return SAME
    for each in known:
        print(f"{each.name:<12} {' '.join(each.description.split())}")
    return SAME


def _show(name: str) -> int:
    if name not in built_in():
        raise BadInput(
            f"There is no policy '{printable(name, 80)}' that comes with the project: there are "
            f"{', '.join(built_in())}."
        )
    print((BUILT_IN / f"{name}.yaml").read_text(encoding="utf-8"), end="")
    return SAME


def _document(found: Policy, judged: Sequence[Judged]) -> dict[str, Any]:
    runs = []
    for each in judged:
        made = {
            "run_id": each.run_id,
            "workload": each.workload,
            "judged": each.at,
            "by": each.policy,
            "trouble": each.trouble,
        }
        if each.comparison is not None:
            made |= asdict(each.comparison)
        runs.append(made)
    return {**_named(found), "clean": all(each.clean for each in judged), "runs": runs}


def _lines(found: Policy, judged: Sequence[Judged]) -> Iterator[str]:
    yield f"The policy {found.name} is valid ({found.digest})."
    if not judged:
        yield "There is no run with verdicts to hold it against."
    for each in judged:
        yield f"{printable(each.run_id, 60)} ({_whose(each)})"
        if each.comparison is None:
            yield f"  cannot be compared: {printable(each.trouble, 1000)}"
            continue
        yield from (f"  {line}" for line in _changes(each.comparison))
    if len(judged) > 1:
        yield from _totals(judged)


def _whose(judged: Judged) -> str:
    parts = [f"workload {judged.workload}" if judged.workload else ""]
    parts += [f"judged at {judged.at} by the policy {judged.policy}"] if judged.at else []
    return printable(", ".join(filter(None, parts)), 200)


def _changes(comparison: Comparison) -> Iterator[str]:
    for change in comparison.changes:
        needed = f"; needed by {' > '.join(change.needed_by)}" if change.needed_by else ""
        yield printable(
            f"{change.before:>5} -> {change.after:<5}  {change.purl}  {change.rule}: {change.reason}{needed}",
            2000,
        )
    if said := lacks(comparison.unknown):
        yield said
    yield from (f"not known  {printable(each.purl, 300)} (was {each.before})" for each in comparison.unknown)
    yield _total([comparison])


def _totals(judged: Sequence[Judged]) -> Iterator[str]:
    compared = [each.comparison for each in judged if each.comparison is not None]
    silent = len(judged) - len(compared)
    runs = f"{len(judged)} runs"
    yield f"{runs}: {_total(compared)}" + (f" {silent} could not be compared." if silent else "")


def _total(parts: Sequence[Comparison]) -> str:
    moves = Counter(f"{change.before} -> {change.after}" for part in parts for change in part.changes)
    unknown, same = sum(len(part.unknown) for part in parts), sum(part.same for part in parts)
    counts = [f"{count} {move}" for move, count in sorted(moves.items())]
    counts += [f"{unknown} not known"] if unknown else []
    if not counts:
        return f"nothing would change, {same} packages keep their decision."
    return f"{', '.join(counts)}; {same} packages keep their decision."
