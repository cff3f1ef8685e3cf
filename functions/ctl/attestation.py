"""`./dmz attestation`: reference values out of signed votes, and what Google Cloud must be told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from functions.ctl import voting
from functions.ctl.appraise import UNUSABLE, read_file, read_references, read_time
from functions.local.layout import Layout
from shared.appraisal import builders, federation, policy, votes
from shared.appraisal.builders import Builders
from shared.appraisal.votes import Vote
from shared.errors import Permanent
from shared.model.reference import ReferenceValue
from shared.model.value import printable

AGREED, NOT_AGREED, DISPUTED = 0, 1, 3


def attestation(arguments: argparse.Namespace, layout: Layout) -> int:
    """Exit codes: 0 done or agreed, 1 undecided, 2 unusable input, 3 disputed."""
    try:
        match arguments.action:
            case "reference":
                return _reference(arguments)
            case "export":
                return _export(arguments)
            case "builders":
                return voting.builders(arguments)
            case _:
                return voting.publish(arguments, layout)
    except Permanent as error:
        print(f"dmz: {error}", file=sys.stderr)
        return UNUSABLE


def _reference(arguments: argparse.Namespace) -> int:
    """Who may add a file must not be able to block a revision for ever, so what does not count is named and left out:
    1. what proves nothing, 2. what is about another revision than the one asked for, 3. what is too old (votes.tally
    sees to that): it makes up no threshold, but a dispute still. 4. The threshold decides about the rest.
    """
    listed, now = builders.read(arguments.builders), read_time(arguments.at)
    counted = list(_proved(arguments, listed, now))
    if len(votes.grouped(counted)) > 1:
        raise Permanent(
            "The envelopes are about different images, revisions or locks; give those of one, whose builders mean "
            "the same source: "
            + "; ".join(sorted(f"{each.build.builder} {' '.join(each.build.source)}" for each in counted))
            + "."
        )
    try:
        config_json = read_file(arguments.config).decode()
    except UnicodeDecodeError as error:
        raise Permanent(f"The configuration {arguments.config} is not UTF-8.") from error
    outcome = votes.tally(counted, listed, config_json, now)  # 4
    if isinstance(outcome, ReferenceValue):
        _print(outcome.model_dump(mode="json"))
        return AGREED
    print(f"dmz: {outcome.reason}", file=sys.stderr)
    return DISPUTED if isinstance(outcome, votes.Dispute) else NOT_AGREED


def _proved(arguments: argparse.Namespace, listed: Builders, now: float) -> Iterator[Vote]:
    """Votes of the envelopes; a line on stderr for each that does not count. Permanent if a file cannot be read."""
    wanted = arguments.revision
    for path in arguments.envelopes:
        try:
            vote = votes.proved(read_file(path), listed, now)
        except Permanent as error:  # 1
            if not path.exists():
                raise
            _uncounted(path, str(error))
            continue
        if wanted is not None and vote.build.revision != wanted:  # 2
            _uncounted(path, f"it is about the revision {vote.build.revision}, not {printable(wanted, 300)}.")
            continue
        if stale := votes.too_old(vote, listed, now):  # 3
            _uncounted(path, stale)
        yield vote


def _uncounted(path: Path, reason: str) -> None:
    print(f"dmz: {printable(str(path), 300)} does not count: {reason}", file=sys.stderr)


def _export(arguments: argparse.Namespace) -> int:
    references = [value for path in arguments.reference for value in read_references(path)]
    found = federation.export(
        policy.find(arguments.policy),
        references,
        read_time(arguments.at),
        arguments.project_number,
        arguments.pool,
    )
    _print(found)
    return 0


def _print(found: Mapping[str, object]) -> None:
    print(json.dumps(found, indent=2, sort_keys=True, ensure_ascii=True))
