"""Advisories from a directory in osv-scanner's offline layout: `<dir>/<ecosystem>/all.zip`, one JSON file per record.

https://google.github.io/osv-scanner/usage/offline-mode/
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.advisories import osv
from shared.advisories.archive import Reading, Zip, opened
from shared.advisories.match import Query, match, query
from shared.errors import Permanent
from shared.model.package import Package, Release
from shared.model.value import canonical, sha256
from shared.model.verdict import AdvisorySource, Known

ECOSYSTEMS = ("Debian", "PyPI", "Ubuntu")
_State = tuple[int, int, int]


@dataclass(frozen=True)
class _Opened:
    """What came of opening a zip, and of which state of its file."""

    state: _State | None
    zipped: Zip | Permanent


class ZipAdvisories:
    """The port `Advisories` over local zips: with an index only the records that are asked for are read, without one
    each zip is passed over once.

    It does not raise for want of data: a zip that is missing or broken makes the packages of its ecosystem `lacking`, a
    broken record those that it may be about. Trying again would find the same file, so nothing here is Transient; a
    file that was replaced is opened anew at the next question, and a question is answered from one state of each.
    `ecosystems` are those that the source vouches for in any case; the ones that are asked for if None.
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
        self._zips: dict[str, _Opened] = {}
        self._lock = threading.Lock()

    def known(self, packages: Iterable[Package], release: Release) -> Known:
        """Everything that is known of the packages (see `shared.advisories.match`)."""
        packages = tuple(packages)
        asked: dict[str, dict[Query, list[str]]] = defaultdict(lambda: defaultdict(list))
        for package in packages:
            if (found := query(package, release)) is not None:
                asked[found.ecosystem.partition(":")[0]][found].append(package.purl)
        # 1. Every zip is opened before the first is read: the source says what was asked.
        zips = {name: self._open(name) for name in sorted({*asked, *(self._named or ())} or self._there())}
        readings = {
            name: Reading(zipped, asked[name].keys())
            for name, zipped in zips.items()
            if isinstance(zipped, Zip) and name in asked
        }
        findings = match(packages, release, _chained(readings.values()))
        # 2. What could not be read is said of the packages that it may be about, whatever else was found.
        lacking: dict[str, str] = {}
        for name, queries in asked.items():
            zipped = zips[name]
            for wanted, purls in queries.items():
                why = (
                    _part(zipped)
                    if isinstance(zipped, Permanent)
                    else readings[name].lacking.get(wanted.name)
                )
                if why:
                    lacking.update(dict.fromkeys(purls, why))
        return Known(findings=dict(findings), lacking=lacking, source=self._source_of(zips))

    def reading(self, ecosystem: str, queries: Collection[Query]) -> Reading:
        """The records of one ecosystem's zip about those packages; Permanent if it is missing or broken."""
        zipped = self._open(ecosystem)
        if isinstance(zipped, Permanent):
            raise zipped
        return Reading(zipped, queries)

    def _source_of(self, zips: Mapping[str, Zip | Permanent]) -> AdvisorySource:
        """Of what could be read. The date is that of the zip that is most behind: fresh data of one ecosystem says
        nothing of another; empty, which no policy takes for fresh, if there was none."""
        read = {name: zipped for name, zipped in zips.items() if isinstance(zipped, Zip)}
        return AdvisorySource(
            source=self._source,
            date=min((zipped.newest for zipped in read.values()), default=""),
            digest=sha256(canonical({name: zipped.index.digest for name, zipped in read.items()})),
        )

    def _there(self) -> list[str]:
        return [name for name in ECOSYSTEMS if (self._directory / name / "all.zip").exists()]

    def _open(self, ecosystem: str) -> Zip | Permanent:
        path = self._directory / ecosystem / "all.zip"
        with self._lock:
            state = _state(path)
            known = self._zips.get(ecosystem)
            if known is None or state is None or known.state != state:
                try:
                    zipped: Zip | Permanent = opened(path, ecosystem, self._clock(), self._indexes)
                except Permanent as error:
                    zipped = error
                known = self._zips[ecosystem] = _Opened(state, zipped)
            return known.zipped


def _state(path: Path) -> _State | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _chained(readings: Iterable[Reading]) -> Iterator[osv.Record]:
    for reading in readings:
        yield from reading


def _part(error: Permanent) -> str:
    """A sentence as part of another one."""
    text = str(error)
    return text[:1].lower() + text[1:].removesuffix(".")
