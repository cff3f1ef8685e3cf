"""`./dmz match --osv DIR`: which advisories touch these packages. JSON lines in, JSON lines out.

In:  {"id", "ecosystem", "name", "version", "source_name"?, "source_version"?}, where `ecosystem` is OSV's: PyPI, or a
     release like Debian:13 or Ubuntu:22.04.
Out: {"id", "advisories": [...], "undecided": [...]}, a line for each, in the same order. Both lists hold ids of
     records; where nothing at all could be asked about a package, `undecided` holds the reason as a sentence.

A line that is none of these is answered as undecided, told on standard error, and makes the exit code 1.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import orjson

from shared.advisories.match import Query, Records, records_about, scope
from shared.advisories.osv import normal_name
from shared.advisories.zips import ECOSYSTEMS, ZipAdvisories
from shared.errors import Permanent
from shared.model.value import printable

_AT_ONCE = 5_000
"""Lines that are answered together: what bounds the memory."""
_FIELDS = {"id", "ecosystem", "name", "version", "source_name", "source_version"}
_LONGEST = 100_000
# https://packaging.python.org/en/latest/specifications/name-normalization/ and Debian policy 5.6.1, 5.6.7
_PYTHON_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII)
_DEBIAN_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+", re.ASCII)


@dataclass(frozen=True)
class Line:
    id: object
    """Whatever JSON the asker put there."""
    query: Query | None
    problem: str = ""


def match(directory: Path, lines: Iterable[bytes], out: IO[bytes], indexes: Path) -> int:
    """Answer every line; the exit code."""
    advisories = ZipAdvisories(directory, indexes=indexes)
    if not any((directory / ecosystem / "all.zip").exists() for ecosystem in ECOSYSTEMS):
        raise Permanent(
            f"There is no advisory data in {directory}: it needs PyPI/all.zip or another one of OSV."
        )
    failed = 0
    batch: list[Line] = []
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        line = read(text, number)
        if line.problem:
            print(f"dmz: {line.problem}", file=sys.stderr)
            failed = 1
        batch.append(line)
        if len(batch) == _AT_ONCE:
            out.writelines(_answered(advisories, batch))
            batch = []
    out.writelines(_answered(advisories, batch))
    return failed


def read(text: bytes, number: int) -> Line:
    """One line of input."""
    where = f"Line {number}"
    try:
        given = orjson.loads(text) if len(text) <= _LONGEST else None
    except orjson.JSONDecodeError as error:
        return Line(None, None, f"{where} is not JSON ({error}): write an object per line.")
    if not isinstance(given, dict):
        return Line(None, None, f"{where} is not a JSON object of at most {_LONGEST} bytes.")
    id = given.get("id")
    if unknown := sorted(set(given) - _FIELDS):
        return Line(id, None, f"{where} has a field {printable(unknown[0], 40)} that is not known here.")
    for name in ("ecosystem", "name", "version"):
        if not isinstance(given.get(name), str) or not given[name]:
            return Line(id, None, f"{where} lacks the text '{name}'.")
    source = [given.get(name) or "" for name in ("source_name", "source_version")]
    if not all(isinstance(each, str) for each in source):
        return Line(id, None, f"{where}: source_name and source_version are texts, if they are there.")
    ecosystem = scope(given["ecosystem"])
    if ecosystem == "PyPI":
        if not _PYTHON_NAME.fullmatch(given["name"]):
            return Line(id, None, f"{where}: {printable(given['name'], 60)} is no name that PyPI would have.")
        return Line(id, Query("PyPI", normal_name("PyPI", given["name"]), given["version"]))
    base, colon, release = ecosystem.partition(":")
    if base not in ECOSYSTEMS or not colon or not release:
        said = f"{where}: nothing is known of the ecosystem {printable(given['ecosystem'], 60)}; known are PyPI, and"
        return Line(id, None, f"{said} releases of Debian and Ubuntu like Debian:13.")
    # Debian policy 5.6.1, as `shared.advisories.match.query`
    name = source[0] or given["name"]
    if not _DEBIAN_NAME.fullmatch(name):
        return Line(id, None, f"{where}: {printable(name, 60)} is no name that a Debian package would have.")
    return Line(id, Query(ecosystem, name, source[1] or given["version"]))


def _answered(advisories: ZipAdvisories, batch: list[Line]) -> Iterator[bytes]:
    wanted: dict[str, set[Query]] = defaultdict(set)
    for line in batch:
        if line.query:
            wanted[line.query.ecosystem.partition(":")[0]].add(line.query)
    answers: dict[Query, Records | str] = {}
    for ecosystem, queries in wanted.items():
        answers |= _asked(advisories, ecosystem, queries)
    for line in batch:
        found = answers[line.query] if line.query else line.problem
        if isinstance(found, str):
            found = Records((), (found,))
        yield (
            orjson.dumps({"id": line.id, "advisories": found.affected, "undecided": found.undecided}) + b"\n"
        )


def _asked(advisories: ZipAdvisories, ecosystem: str, queries: set[Query]) -> dict[Query, Records | str]:
    """Data that is missing or broken leaves those packages undecided that it may be about, and no others."""
    try:
        reading = advisories.reading(ecosystem, queries)
    except Permanent as error:
        return dict.fromkeys(queries, str(error))
    said = records_about(queries, reading)
    return {one: _with(said[one], reading.lacking.get(one.name, "")) for one in queries}


def _with(said: Records, lacking: str) -> Records:
    return replace(said, undecided=(*said.undecided, lacking)) if lacking else said
