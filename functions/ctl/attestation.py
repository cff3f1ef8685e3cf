"""`./dmz attestation`: reference values out of signed votes, and what Google Cloud must be told."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

from functions.ctl import voting
from functions.ctl.appraise import UNUSABLE, read_file, read_references, read_time
from functions.local.layout import Layout
from shared.appraisal import builders, federation, policy, votes
from shared.errors import Permanent
from shared.model.reference import ReferenceValue

AGREED, NOT_AGREED = 0, 1


def attestation(arguments: argparse.Namespace, layout: Layout) -> int:
    """Exit codes: 0 done or agreed, 1 undecided or disputed, 2 unusable input."""
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
    listed, now = builders.read(arguments.builders), read_time(arguments.at)
    counted = [votes.verify(read_file(path), listed, now) for path in arguments.envelopes]
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
    outcome = votes.tally(counted, listed, config_json, now)
    if isinstance(outcome, ReferenceValue):
        _print(outcome.model_dump(mode="json"))
        return AGREED
    print(f"dmz: {outcome.reason}", file=sys.stderr)
    return NOT_AGREED


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
