"""`./dmz verdict`: what was asked about a package, and the proof that its verdict follows.

A replay shows, in this order,

1. that the stored verdicts and their case have the digests by which they are named, and that the verdicts are about the
   run's manifest;
2. that this program judges the case to the very bytes that are stored;
3. of a run, that the documents which people are shown say what those bytes say;
4. if the advisories of then are given, that matching them again finds what the case holds.

It does not show that the case itself is true: who could replace all of it, its digests and the run, could invent one.
That is what the decision log and the advisories are for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions.ctl.inputs import BadInput
from functions.ctl.stored import UNREACHABLE, Judgement, Records, Unreachable, is_digest, records
from functions.local.layout import Layout
from shared import judgement
from shared.advisories import joined
from shared.advisories.zips import ZipAdvisories
from shared.errors import Inaccessible, Permanent, Transient
from shared.model.holdings import Holdings
from shared.model.manifest import ClaimedManifest
from shared.model.package import Release
from shared.model.value import Digest, printable
from shared.model.verdict import Verdict, Verdicts
from shared.policy import replay
from shared.policy.judge import judge_all

SAME, DIFFERENT = 0, 1


def verdict(arguments: argparse.Namespace, layout: Layout) -> int:
    """The exit code."""
    try:
        stored = records(layout, arguments.project)
        if arguments.action == "show":
            return show(stored, arguments.run, arguments.package, arguments.json)
        return again(stored, arguments.id, arguments.advisories, arguments.json)
    except (Unreachable, Transient) as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNREACHABLE


# --- replay ---


@dataclass(frozen=True)
class Replayed:
    """One case, judged again."""

    judgement: Judgement
    made: Digest
    """Of the verdicts as they are now."""
    difference: str
    """The first one, in words; empty if there is none."""


def again(stored: Records, id: str, advisories: Path | None, as_json: bool) -> int:
    """Judge what was judged for a run, or what verdicts of this digest follow from; say whether it is the same."""
    replayed: list[Replayed] = []
    trouble = matched = ""
    try:
        judgements = _judgements(stored, id)
        replayed = [_replayed(each) for each in judgements]
        trouble = next((each.difference for each in replayed if each.difference), "")
        if not trouble and not is_digest(id):
            trouble = _shown(stored, id, replayed)
        if not trouble and advisories is not None:
            trouble, matched = _matched(stored, judgements, advisories)
    except (BadInput, Inaccessible):
        raise
    except Permanent as error:  # 1
        trouble = str(error)
    if as_json:
        print(json.dumps(_document(id, replayed, trouble), ensure_ascii=False, indent=1))
    else:
        print(_said(replayed, trouble, matched))
    return DIFFERENT if trouble else SAME


def _judgements(stored: Records, id: str) -> tuple[Judgement, ...]:
    return (stored.judgement(id),) if is_digest(id) else stored.of_run(id, stored.run(id))


def _replayed(given: Judgement) -> Replayed:
    verdicts = given.verdicts
    made = Verdicts(manifest=verdicts.manifest, case=verdicts.case, verdicts=judge_all(given.case))
    return Replayed(given, made.digest, replay.of_verdicts(given.content, verdicts, made))  # 2


def _shown(stored: Records, run_id: str, replayed: Sequence[Replayed]) -> str:
    """The first document of the run that says what no stored verdict says."""
    known = {
        (fields["purl"], json.dumps(fields, sort_keys=True))
        for each in replayed
        for fields in judgement.documents(run_id, each.judgement.verdicts.verdicts).values()
    }
    purls = {purl for purl, _ in known}
    seen = set()
    for name, fields in stored.documents.find("verdicts", "run_id", run_id):  # 3
        seen.add(fields.get("purl"))
        if (fields.get("purl"), json.dumps(fields, sort_keys=True)) not in known:
            said = f"{fields.get('purl')} is {fields.get('decision')} ({fields.get('reason')})"
            return printable(
                f"the document verdicts/{name} says that {said}; no stored verdict says so", 1000
            )
    lacking = sorted(
        v.package.purl for v in replayed[0].judgement.verdicts.verdicts if v.package.purl not in seen & purls
    )
    return f"there is no document about {lacking[0]}, and there is a stored verdict" if lacking else ""


def _matched(stored: Records, judgements: Sequence[Judgement], directory: Path) -> tuple[str, str]:
    """(the first difference between the findings of the cases and what the advisories say of the same packages, what
    was compared as a part of a sentence)."""
    beside = True
    for each in judgements:
        case = each.case
        zips = ZipAdvisories(directory, source=case.source.source)
        # That KEV or EPSS is not there is said in the answer.
        both = joined.Joined(zips, *joined.beside(directory, "", ""), lambda *_: None)
        known = both.known([subject.package for subject in case.subjects], _release(stored, each))
        if known.source.digest != case.source.digest:
            raise BadInput(
                f"{directory} holds the advisories {known.source.digest} of {known.source.date}; the case "
                f"{each.verdicts.case} leans on {case.source.digest} of {case.source.date} ({case.source.source}): "
                "give the directory with those."
            )
        beside = beside and known.source.also == case.source.also
        if difference := replay.of_findings(case, known):  # 4
            return f"matched again, {difference}", ""
    less = "" if beside else ", apart from what KEV and EPSS say, which are others there"
    return "", f", and the advisories give the same findings{less}"


def _release(stored: Records, given: Judgement) -> Release:
    """Of the machine whose manifest was judged; of what repositories hold, that of the packages of a distribution."""
    digest, case = given.verdicts.manifest, given.case
    data = stored.blobs.get(digest)
    try:
        return ClaimedManifest.read(data, f"The manifest {digest}").release
    except Permanent as error:
        try:
            held = Holdings.read(data, "The holdings").held
        except Permanent:
            raise error from None
    debian = {subject.package.purl for subject in case.subjects if subject.package.ecosystem == "debian"}
    releases = [each.release for each in held if each.purl in debian] or [each.release for each in held]
    if not releases:
        raise Permanent(f"The holdings {digest} name no package, so nothing can be matched again.")
    return releases[0]


def _said(replayed: Sequence[Replayed], trouble: str, matched: str) -> str:
    """`matched`: what was compared with the advisories, as a part of a sentence."""
    if trouble:
        return f"Not the same: {printable(trouble.rstrip('.'), 3000)}."
    first = replayed[0].judgement
    count = len({v.package.purl for each in replayed for v in each.judgement.verdicts.verdicts})
    more = f" and {len(replayed) - 1} more, judged on the way to the lock," if len(replayed) > 1 else ""
    return (
        f"The same: judged again, the case {first.verdicts.case}{more} gives the verdicts {first.digest} byte for byte "
        f"({count} packages, policy {first.case.policy.digest}, advisories {first.case.source.digest} of "
        f"{first.case.source.date}){matched}."
    )


def _document(id: str, replayed: Sequence[Replayed], trouble: str) -> dict[str, Any]:
    return {
        "id": id,
        "same": not trouble,
        "difference": trouble,
        "judgements": [
            {
                "verdicts": each.judgement.digest,
                "again": each.made,
                "case": each.judgement.verdicts.case,
                "manifest": each.judgement.verdicts.manifest,
                "policy": each.judgement.case.policy.digest,
                "advisories": each.judgement.case.source.model_dump(mode="json"),
                "packages": len(each.judgement.verdicts.verdicts),
                "difference": each.difference,
            }
            for each in replayed
        ],
    }


# --- show ---


def show(stored: Records, run_id: str, package: str, as_json: bool) -> int:
    """Print the verdicts of a run: of one package, or of all."""
    first, *more = stored.of_run(run_id, run := stored.run(run_id))
    chosen = stored.chosen(run)
    found = {v.package.purl: v for each in more for v in each.verdicts.verdicts if v.package.purl in chosen}
    found |= {v.package.purl: v for v in first.verdicts.verdicts}
    wanted = [found[purl] for purl in sorted(found) if package in ("", purl, found[purl].package.name)]
    if not wanted:
        raise BadInput(
            f"The run {printable(run_id, 60)} has no verdict about '{printable(package, 200)}': give one of its purls, "
            f"as ./dmz verdict show {printable(run_id, 60)} lists them."
        )
    if as_json:
        print(json.dumps([each.model_dump(mode="json") for each in wanted], ensure_ascii=False, indent=1))
        return SAME
    for each in wanted:
        print("\n".join(_lines(each)))
    return SAME


def _lines(found: Verdict) -> Iterator[str]:
    yield printable(f"{found.package.purl}: {found.decision}", 1000)
    if found.until:
        yield f"  until {printable(found.until, 60)}"
    for answer in found.rules:
        yield printable(f"  {answer.answer:<5}  {answer.rule}: {answer.reason}", 3000)
    if found.needed_by:
        yield printable(f"  needed by {' > '.join(found.needed_by)}", 1000)
    for waiver in found.waivers:
        yield f"  leans on {printable(waiver, 100)}"
    if found.findings:
        more = f" and {len(found.findings) - 20} more" if len(found.findings) > 20 else ""
        yield printable(f"  findings: {', '.join(f.id for f in found.findings[:20])}{more}", 3000)
    yield f"  by the policy {found.policy}, advisories {found.advisories.digest} of {found.advisories.date}"
