"""Advisories from a directory in osv-scanner's offline layout: `<dir>/<ecosystem>/all.zip`, one JSON file per record.

https://google.github.io/osv-scanner/usage/offline-mode/
"""

from __future__ import annotations

import hashlib
import time
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any

import orjson

from shared.advisories import index, osv
from shared.advisories.index import Index
from shared.advisories.match import Query, concerns, match, query
from shared.errors import Permanent
from shared.model.package import Package, Release
from shared.model.value import Digest, canonical, sha256
from shared.model.verdict import AdvisorySource, Finding, Known

ECOSYSTEMS = ("Debian", "PyPI", "Ubuntu")
_MAX_RECORD = 64 * 1024 * 1024  # bytes inflated; the largest real record has some 2 MB


@dataclass(frozen=True)
class _Zip:
    """One open zip and its index. A download that replaces the file does not change what is open."""

    path: Path
    file: BufferedReader
    index: Index
    newest: str


class ZipAdvisories:
    """The port `Advisories` over local zips: with an index only the records that are asked for are read, without one
    each zip is passed over once.

    Permanent, naming the file, if a zip is missing, broken or holds something that is no record: without the whole
    data nothing can be called clean. `ecosystems` are those that `source` vouches for; all that are there if None.
    `indexes` is a directory where indexes are kept; one beside its zip (`all.zip.index`) is used in any case.
    """

    def __init__(
        self,
        directory: Path,
        ecosystems: Sequence[str] | None = None,
        source: str = "osv.dev zips",
        clock: Callable[[], float] = time.time,
        indexes: Path | None = None,
    ) -> None:
        self._directory, self._source, self._clock = directory, source, clock
        self._named, self._indexes = ecosystems, indexes
        self._zips: dict[str, _Zip] = {}

    def source(self) -> AdvisorySource:
        """The date is that of the zip that is most behind: fresh data of one ecosystem says nothing of another."""
        names = self._named or [e for e in ECOSYSTEMS if (self._directory / e / "all.zip").exists()]
        if not names:
            raise Permanent(
                f"There is no advisory data in {self._directory}: fetch it, or give another directory."
            )
        zips = {ecosystem: self._zip(ecosystem) for ecosystem in sorted(names)}
        return AdvisorySource(
            source=self._source,
            date=min(found.newest for found in zips.values()),
            digest=sha256(canonical({ecosystem: found.index.digest for ecosystem, found in zips.items()})),
        )

    def known(self, packages: Iterable[Package], release: Release) -> Known:
        """Everything that is known of the packages."""
        found = self.findings(packages, release)
        return Known(findings=dict(found), lacking={}, source=self.source())

    def findings(self, packages: Iterable[Package], release: Release) -> Mapping[str, tuple[Finding, ...]]:
        """Findings by purl (see `shared.advisories.match`)."""
        packages = tuple(packages)
        wanted: dict[str, set[Query]] = defaultdict(set)
        for package in packages:
            if (found := query(package, release)) is not None:
                wanted[found.ecosystem.split(":")[0]].add(found)
        records = (
            record for ecosystem in sorted(wanted) for record in self.records(ecosystem, wanted[ecosystem])
        )
        return match(packages, release, records)

    def records(self, ecosystem: str, queries: Collection[Query]) -> Iterator[osv.Record]:
        """The records of the zip of `ecosystem` that are about any of the queries' packages."""
        names = {found.name for found in queries}
        scopes = {found.ecosystem for found in queries}
        zipped = self._zip(ecosystem)
        with _explained(zipped.path):
            for member, data in index.read(zipped.file, zipped.index.members(names), _MAX_RECORD):
                yield osv.read(
                    orjson.loads(data),
                    f"{member} in {zipped.path}",
                    lambda found, name: name in names and any(concerns(found, scope) for scope in scopes),
                )

    def _zip(self, ecosystem: str) -> _Zip:
        if ecosystem not in self._zips:
            self._zips[ecosystem] = _open(
                self._directory / ecosystem / "all.zip", ecosystem, self._clock(), self._indexes
            )
        return self._zips[ecosystem]


def records(path: Path) -> Iterator[tuple[str, Any]]:
    """(member, parsed JSON) of every record in the zip at `path`; Permanent, naming it, if it is broken."""
    with _explained(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield from _read(path, archive, _members(archive))


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(".json")]


def prepare(path: Path, ecosystem: str) -> None:
    """Put the index of the zip at `path` beside it: whoever reads it needs no pass. Permanent if it is broken."""
    with _explained(path), path.open("rb") as file:
        index.save(_made(path, file, ecosystem), _beside(path))


def _open(path: Path, ecosystem: str, now: float, indexes: Path | None) -> _Zip:
    with _explained(path):
        file = path.open("rb")
        digest = _sha256(file)
        kept = indexes / f"{digest.removeprefix('sha256:')}-{ecosystem}.index" if indexes else None
        found = index.load(_beside(path), digest, ecosystem) or (
            index.load(kept, digest, ecosystem) if kept else None
        )
        if found is None:
            found = _made(path, file, ecosystem)
            if kept:
                with suppress(OSError):  # a pass each time is slower, and as good
                    index.save(found, kept)
    # Some records carry a date of next year. Taken as the newest, they would make old data look fresh for ever.
    newest = found.newest(datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"))
    if not newest:
        raise Permanent(f"The advisories in {path} hold no dated record: fetch them again.")
    return _Zip(path, file, found, newest)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.index")


def _sha256(file: BufferedReader) -> Digest:
    file.seek(0)
    return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _made(path: Path, file: BufferedReader, ecosystem: str) -> Index:
    """One pass over the zip: what each record is about, and how new it is."""
    digest = _sha256(file)
    described = []
    with zipfile.ZipFile(file) as archive:
        for member, raw in _read(path, archive, _members(archive)):
            named = osv.named(raw, f"{member} in {path}")
            names = frozenset(name for found, name in named if found.split(":")[0] == ecosystem)
            modified = raw.get("modified")
            described.append(
                index.Described(archive.getinfo(member), names, modified if isinstance(modified, str) else "")
            )
    return index.make(digest, ecosystem, described)


def _read(path: Path, archive: zipfile.ZipFile, members: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """(member, parsed JSON) of each member; zipfile checks the CRCs on the way."""
    for member in members:
        with _explained(path):
            info = archive.getinfo(member)
            if info.file_size > _MAX_RECORD:
                raise Permanent(f"{member} in {path} inflates to {info.file_size} bytes: fetch it again.")
            raw = orjson.loads(archive.read(info))
        yield member, raw


@contextmanager
def _explained(path: Path) -> Iterator[None]:
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
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError) as error:
        raise Permanent(
            f"The advisory data {path} is broken ({error}): delete it and fetch it again."
        ) from error
    except OSError as error:
        raise Permanent(
            f"The advisory data {path} cannot be read ({error.strerror or error}): fetch it again."
        ) from error
