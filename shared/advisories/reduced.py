"""A record as an index keeps it: what `osv.read` makes of one, as compact JSON.

Unpacked it is equal to the record that was packed, field by field. Which record that is depends on what reads and
rates: `reader` tells one state of it from another, so that an index of an older one is not taken for today's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

from shared.advisories import osv, severity
from shared.advisories.osv import Affected, Event, Range, Record


@cache
def reader() -> str:
    """sha256 over the sources of what makes a packed record, and over the file that says the version of `cvss`."""
    calculator = find_spec("cvss")  # looked up and not imported: that takes longer than matching
    files = (__file__, osv.__file__, severity.__file__, calculator.origin if calculator else "")
    return hashlib.sha256(b"\0".join(Path(str(file)).read_bytes() for file in files)).hexdigest()


def pack(record: Record) -> bytes:
    """The record with the entries that it has."""
    entries = [
        [
            each.ecosystem,
            each.name,
            [[found.problem, [list(event) for event in found.events]] for found in each.ranges],
            each.versions,
            each.ratings,
            each.problem,
        ]
        for each in record.affected
    ]
    return orjson.dumps(
        [
            record.id,
            sorted(record.aliases),
            record.withdrawn,
            record.summary,
            record.ratings,
            record.problem,
            entries,
        ]
    )


def unpack(data: bytes, wanted: Callable[[str, str], bool]) -> Record:
    """The packed record, with those entries only whose (ecosystem, name) is wanted."""
    id, aliases, withdrawn, summary, ratings, problem, entries = orjson.loads(data)
    return Record(
        id=id,
        aliases=frozenset(aliases),
        withdrawn=withdrawn,
        summary=summary,
        ratings=tuple(map(tuple, ratings)),
        affected=tuple(_affected(entry) for entry in entries if wanted(entry[0], entry[1])),
        problem=problem,
    )


def _affected(entry: list[Any]) -> Affected:
    ecosystem, name, ranges, versions, ratings, problem = entry
    return Affected(
        ecosystem,
        name,
        tuple([Range(tuple(map(Event._make, events)), doubt) for doubt, events in ranges]),
        tuple(versions),
        tuple(map(tuple, ratings)),
        problem,
    )
