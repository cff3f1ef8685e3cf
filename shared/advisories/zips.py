"""Advisories from a directory in osv-scanner's offline layout: `<dir>/<ecosystem>/all.zip`, one JSON file per record.

https://google.github.io/osv-scanner/usage/offline-mode/
"""

from __future__ import annotations

import hashlib
import time
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from shared.advisories import osv
from shared.advisories.match import Query, concerns, match, query
from shared.errors import Permanent
from shared.model.package import Package, Release
from shared.model.value import Digest, canonical, sha256
from shared.model.verdict import AdvisorySource, Finding

ECOSYSTEMS = ("Debian", "PyPI", "Ubuntu")
_MAX_RECORD = 64 * 1024 * 1024  # bytes inflated; the largest real record has some 2 MB


@dataclass(frozen=True)
class _Zip:
    """One open zip and what a pass over it yielded. A download that replaces the file does not change what is open."""

    path: Path
    archive: zipfile.ZipFile
    digest: Digest
    newest: str
    members: Mapping[str, tuple[str, ...]]
    """Normalized package name to the names of the records about it."""


class ZipAdvisories:
    """The port `Advisories` over local zips. One pass over each zip, then only the records that are asked for.

    Permanent, naming the file, if a zip is missing, broken or holds something that is no record: without the whole
    data nothing can be called clean. `ecosystems` are those that `source` vouches for; all that are there if None.
    """

    def __init__(
        self,
        directory: Path,
        ecosystems: Sequence[str] | None = None,
        source: str = "osv.dev zips",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._directory, self._source, self._clock = directory, source, clock
        self._named = ecosystems
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
            digest=sha256(canonical({ecosystem: found.digest for ecosystem, found in zips.items()})),
        )

    def findings(self, packages: Iterable[Package], release: Release) -> Mapping[str, tuple[Finding, ...]]:
        """Findings by purl (see `shared.advisories.match`)."""
        packages = tuple(packages)
        wanted: dict[str, set[Query]] = defaultdict(set)
        for package in packages:
            if (found := query(package, release)) is not None:
                wanted[found.ecosystem.split(":")[0]].add(found)
        records = [
            record for ecosystem in sorted(wanted) for record in self._records(ecosystem, wanted[ecosystem])
        ]
        return match(packages, release, records)

    def _records(self, ecosystem: str, queries: set[Query]) -> Iterator[osv.Record]:
        names = {found.name for found in queries}
        scopes = {found.ecosystem for found in queries}
        zipped = self._zip(ecosystem)
        members = sorted({member for name in names for member in zipped.members.get(name, ())})
        for member, raw in _read(zipped.path, zipped.archive, members):
            yield osv.read(
                raw,
                f"{member} in {zipped.path}",
                lambda found, name: name in names and any(concerns(found, scope) for scope in scopes),
            )

    def _zip(self, ecosystem: str) -> _Zip:
        if ecosystem not in self._zips:
            self._zips[ecosystem] = _open(self._directory / ecosystem / "all.zip", ecosystem, self._clock())
        return self._zips[ecosystem]


def records(path: Path) -> Iterator[tuple[str, Any]]:
    """(member, parsed JSON) of every record in the zip at `path`; Permanent, naming it, if it is broken."""
    with _explained(path):
        archive = zipfile.ZipFile(path)
    with archive:
        yield from _read(path, archive, _members(archive))


def _members(archive: zipfile.ZipFile) -> list[str]:
    return [name for name in archive.namelist() if name.endswith(".json")]


def _open(path: Path, ecosystem: str, now: float) -> _Zip:
    with _explained(path):
        file = path.open("rb")
        digest = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
        archive = zipfile.ZipFile(file)
    members: dict[str, list[str]] = defaultdict(list)
    # Some records carry a date of next year. Taken as the newest, they would make old data look fresh for ever.
    newest, latest = "", datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
    for member, raw in _read(path, archive, _members(archive)):
        for found, name in set(osv.named(raw, f"{member} in {path}")):
            if found.split(":")[0] == ecosystem:
                members[name].append(member)
        modified = raw.get("modified")
        # RFC 3339 in UTC with Z, as the schema demands: comparable as text up to the seconds.
        if isinstance(modified, str) and newest < modified <= latest:
            newest = modified
    if not newest:
        raise Permanent(f"The advisories in {path} hold no dated record: fetch them again.")
    return _Zip(path, archive, digest, newest, {name: tuple(found) for name, found in members.items()})


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
