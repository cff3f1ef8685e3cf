"""The canonical digest of a wheel's RECORD: one number that a wheel and its installation have in common.

It runs inside the VM over what is installed, and outside over the wheel that the index offers; equal digests mean
that the same files with the same contents were installed. Standard library only, Python 3.10 or later.

RECORD (https://packaging.python.org/en/latest/specifications/recording-installed-packages/) is a CSV file of
`path,hash,size`. An installer adds rows, drops rows and rewrites scripts, so the canonical form holds only what every
installer takes over as it is:

1. A row's path is relative to the site directory. In a wheel, `NAME.data/purelib/X` and `NAME.data/platlib/X` stand
   for `X`; rows of `NAME.data/scripts`, `NAME.data/headers` and `NAME.data/data` are left out.
2. Left out: rows without a hash, absolute paths and paths with a part `..` (scripts, man pages, headers), `*.pyc`,
   and in the distribution's own `.dist-info`: INSTALLER, REQUESTED, RECORD, RECORD.jws, RECORD.p7s, direct_url.json,
   provenance_url.json, uv_cache.json, uv_build.json.
3. Of equal rows one is kept (pip writes some twice); two rows of one path that differ have no digest.
4. The rest is sorted by path (as UTF-8 bytes), each row written `path,hash,size`, rows joined by one line feed, no
   line feed at the end. The digest is sha256 over its UTF-8 bytes.

What that leaves out: generated scripts (from entry_points.txt, which is in) and `.data/scripts` (their first line is
rewritten). Their content is proved by the wheel's own hash, not by this digest.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

Row = tuple[str, str, str]
"""path, hash (`sha256=<unpadded urlsafe base64>`), size in bytes; all as RECORD spells them."""

INSTALLER_FILES = frozenset(
    (
        "INSTALLER",
        "REQUESTED",
        "RECORD",
        "RECORD.jws",
        "RECORD.p7s",
        "direct_url.json",
        "provenance_url.json",
        "uv_build.json",
        "uv_cache.json",
    )
)
_HASH = re.compile(r"[a-z0-9_]+=[A-Za-z0-9_=-]+", re.ASCII)
_SIZE = re.compile(r"[0-9]{0,18}", re.ASCII)


def parse(record_text: str) -> list[Row]:
    """The rows of RECORD. ValueError if one is malformed."""
    rows: list[Row] = []
    try:
        for fields in csv.reader(io.StringIO(record_text, newline="")):
            if not fields:
                continue
            path, algorithm_and_hash, size = (*fields, "", "")[:3]
            malformed = (
                len(fields) > 3
                or not path.isprintable()
                or (algorithm_and_hash and not _HASH.fullmatch(algorithm_and_hash))
                or not _SIZE.fullmatch(size)
            )
            if not path or malformed:
                raise ValueError(f"RECORD has a malformed row: {fields!r:.120}")
            rows.append((path, algorithm_and_hash, size))
    except csv.Error as error:
        raise ValueError(f"RECORD is not CSV: {error}") from error
    return rows


def kept(rows: Iterable[Row], dist_info_name: str) -> Iterator[Row]:
    """The rows that every installer takes over as they are (rules 1 and 2)."""
    for path, algorithm_and_hash, size in rows:
        place = place_of(path)
        if place is None or not algorithm_and_hash or place.endswith(".pyc"):
            continue
        directory, _, name = place.rpartition("/")
        if directory == dist_info_name and name in INSTALLER_FILES:
            continue
        yield place, algorithm_and_hash, size


def canonical_digest(rows: Iterable[Row]) -> str:
    """`sha256:<hex>` of kept rows in canonical order (rules 3 and 4). ValueError if a path has two contents."""
    ordered = sorted(set(rows))  # by code points, which is the order of the bytes of UTF-8, too
    for row, following in pairwise(ordered):
        if row[0] == following[0]:
            raise ValueError(f"RECORD lists {row[0]!r:.120} twice")
    return "sha256:" + hashlib.sha256("\n".join(map(",".join, ordered)).encode()).hexdigest()


def from_installed(record_text: str, dist_info_name: str) -> str:
    """The digest of an installed distribution; `dist_info_name` like `jinja2-3.1.6.dist-info`. ValueError if broken."""
    return canonical_digest(kept(parse(record_text), dist_info_name))


def from_wheel(record_text: str, dist_info_name: str) -> str:
    """The digest that an installation of the wheel with this RECORD has. ValueError if it is broken."""
    return from_installed(record_text, dist_info_name)


def place_of(path: str) -> str | None:
    """Where in the site directory the file goes; None if elsewhere (rules 1 and 2)."""
    parts = path.split("/")
    if path.startswith("/") or ".." in parts:
        return None
    if not parts[0].endswith(".data") or len(parts) < 3:
        return path
    return "/".join(parts[2:]) if parts[1] in ("purelib", "platlib") else None
