"""One zip of an ecosystem: opened with its index, and read record by record.

What is wrong with one record is said of the packages that it may be about, and of no others. What is wrong with the
zip as a whole is Permanent: `shared.advisories.zips` says it of the ecosystem's packages.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from io import BufferedReader
from pathlib import Path
from typing import Any

import orjson

from shared.advisories import index, members, osv, reduced
from shared.advisories.index import Index
from shared.advisories.match import Query, concerns
from shared.errors import Permanent
from shared.model.value import Digest, printable

MAX_RECORD = 64 * 1024 * 1024
"""Bytes inflated; the largest real record has some 2 MB."""
AGAIN = "fetch the advisories again"


@dataclass(frozen=True)
class Zip:
    """A zip by its index. A download that replaces the file does not change what is open."""

    path: Path
    index: Index
    newest: str
    """When its newest record was modified, RFC 3339."""


@dataclass
class Reading:
    """The records of a zip about some packages. Iterate first; then `lacking` is complete."""

    zipped: Zip
    queries: Collection[Query]
    lacking: dict[str, str] = field(default_factory=dict)
    """By normalized name: why a record that may be about the package could not be read, as a sentence part."""

    def __iter__(self) -> Iterator[osv.Record]:
        names = {found.name for found in self.queries}
        scopes = {found.ecosystem for found in self.queries}
        path, opened = self.zipped.path, self.zipped.index
        self.lacking.update({name: f"{why} ({path}): {AGAIN}" for name, why in opened.unread(names).items()})

        @cache  # a zip names few ecosystems, thousands of times
        def in_scope(ecosystem: str) -> bool:
            return any(concerns(ecosystem, scope) for scope in scopes)

        def wanted(ecosystem: str, name: str) -> bool:
            return name in names and in_scope(ecosystem)

        for member, about in opened.members(names):
            try:
                yield reduced.unpack(opened.packed(member), wanted)
            except (OSError, Permanent) as error:
                why = f"the record {printable(member.name, 60)} in {path} is broken ({error}): {AGAIN}"
                self.lacking.update(dict.fromkeys(about, why))


def records(path: Path) -> Iterator[tuple[str, Any]]:
    """(member, parsed JSON) of every record in the zip at `path`; Permanent, naming it, if any of it is broken."""
    with explained(path), path.open("rb") as file:
        for info in members.listed(file):
            yield info.filename, orjson.loads(members.content(file, info, MAX_RECORD))


def opened(path: Path, ecosystem: str, now: float, indexes: Path | None) -> Zip:
    """The zip at `path`; Permanent, naming it, if it is no whole zip of dated records.

    Its index is the one beside it, else one in the directory `indexes`, else made now and kept there.
    """
    with explained(path), path.open("rb") as file:
        found = _index(path, file, ecosystem, indexes)
    # Some records carry a date of next year. Taken as the newest, they would make old data look fresh for ever.
    newest = found.newest(
        datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    )
    if not newest:
        raise Permanent(f"The advisories in {path} hold no dated record: fetch them again.")
    return Zip(path, found, newest)


def _index(path: Path, file: BufferedReader, ecosystem: str, indexes: Path | None) -> Index:
    digest = _sha256(file)
    kept = indexes / f"{digest.removeprefix('sha256:')}-{ecosystem}.index" if indexes else None
    found = index.load(beside(path), digest, ecosystem) or (
        index.load(kept, digest, ecosystem) if kept else None
    )
    if found is None:
        found = make(path, file, ecosystem)
        if kept:
            with suppress(OSError):  # a pass each time is slower, and as good
                index.save(found, kept)
    return found


def prepare(path: Path, ecosystem: str) -> None:
    """Put the index of the zip at `path` beside it: whoever reads it needs no pass. Permanent if it is broken."""
    with explained(path), path.open("rb") as file:
        index.save(make(path, file, ecosystem), beside(path))


def beside(path: Path) -> Path:
    """Where the index of the zip at `path` stands."""
    return path.with_name(f"{path.name}.index")


def make(path: Path, file: BufferedReader, ecosystem: str) -> Index:
    """One pass over the zip: what each record says, how new it is, and which cannot be read."""
    listed = members.listed(file)
    if not listed:
        raise Permanent(f"The advisories in {path} hold no record: fetch them again.")
    described = (_described(path, file, info, ecosystem) for info in listed)
    return index.make(_sha256(file), ecosystem, described)


def _described(path: Path, file: BufferedReader, info: zipfile.ZipInfo, ecosystem: str) -> index.Described:
    name = printable(info.filename, 60)
    try:
        raw = orjson.loads(members.content(file, info, MAX_RECORD))
    except (orjson.JSONDecodeError, zipfile.BadZipFile) as error:
        kind = "broken" if isinstance(error, zipfile.BadZipFile) else "not JSON"
        why = f"the record {name} is {kind} ({error}), so nobody can tell whom it touches"
        return index.Described(info.filename, frozenset(), "", problem=why, anybody=True)
    about = osv.about(raw, ecosystem)
    modified = raw.get("modified") if isinstance(raw, dict) else ""
    packed, problem = b"", f"the record {name} is not one of OSV: {about.problem}" if about.problem else ""
    if about.names and not problem:
        try:
            packed = reduced.pack(osv.read(raw, name, lambda found, _: found.partition(":")[0] == ecosystem))
        except Permanent as error:  # it names somebody of another ecosystem who cannot be read
            problem = f"the record {name} in {path} is broken ({error})"
    return index.Described(
        info.filename,
        about.names,
        modified if isinstance(modified, str) else "",
        packed,
        problem,
        about.anybody,
    )


def _sha256(file: BufferedReader) -> Digest:
    file.seek(0)
    return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns what a missing or broken file raises into one sentence that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise Permanent(
            f"There is no advisory data at {path}: fetch it, or give another directory."
        ) from error
    except orjson.JSONDecodeError as error:
        raise Permanent(
            f"The advisory data {path} holds a record that is not JSON ({error}): fetch it again."
        ) from error
    # What zipfile raises for bytes that are no zip, by experiment: any of these.
    except (
        zipfile.BadZipFile,
        EOFError,
        NotImplementedError,
        RuntimeError,
        KeyError,
        ValueError,
    ) as error:
        raise Permanent(
            f"The advisory data {path} is broken ({error}): delete it and fetch it again."
        ) from error
    except OSError as error:
        raise Permanent(
            f"The advisory data {path} cannot be read ({error.strerror or error}): fetch it again."
        ) from error
