"""Joins to each finding what CISA and FIRST say of its CVEs: exploited, and how probably so within thirty days.

1. Only what was read whole stands in `AdvisorySource.also`. A policy that asks for one that does not stand there holds
   the packages that have findings, so missing data never passes for "not exploited".
2. Why it could not be read is told to the operator, once for each reason; as a warning, unless nobody has set it up: no
   setting names it, and no file lies where it would.
3. A flaw counts as exploited, and as probable, as the worst of its CVEs.

A finding is of the CVEs that are its id or its aliases. A distribution's own notice (DSA, USN) of several CVEs has
none; each of those has a record of its own beside it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import httpx

from shared.advisories.exploitation import (
    CVE,
    MAX_FILE,
    Absent,
    Exploited,
    Predictions,
    Snapshot,
    parse_exploited,
    parse_predictions,
    read_exploited,
    read_predictions,
)
from shared.errors import DmzError, Permanent, Transient
from shared.model.package import Package, Release
from shared.model.policy import EPSS, KEV
from shared.model.verdict import DataSource, Finding, Known

KEV_URL = "https://www.cisa.gov/sites/default/files/feeds/known_exploited_vulnerabilities.json"
EPSS_URL = "https://epss.empiricalsecurity.com/epss_scores-current.csv.gz"
"""Where https://www.first.org/epss/data_stats leads to; epss.cyentia.com, the address before it, redirects there."""
KEV_FILE = Path("KEV", "known_exploited_vulnerabilities.json")
EPSS_FILES = (Path("EPSS", "epss_scores-current.csv.gz"), Path("EPSS", "epss_scores-current.csv"))
"""Beside the zips of advisories; the first that is there."""
_KEPT, _AGAIN = 6 * 3600.0, 300.0
"""Seconds: so long an answer is used, so long nobody asks again after a failure."""
_TIMEOUT = httpx.Timeout(30, connect=3)


class _Dated(Protocol):
    @property
    def snapshot(self) -> Snapshot: ...


_Data = TypeVar("_Data", bound=_Dated)


class Source(Protocol):
    """Where the findings come from."""

    def known(self, packages: Iterable[Package], release: Release) -> Known: ...


class Feed(Generic[_Data]):
    """One body of data, read anew when it changes."""

    def __init__(self, get: Callable[[], tuple[object, Callable[[], _Data]]], named: bool = True) -> None:
        """`get` says what state the data is in (equal if unchanged), and how that state is read.

        `named`: False if no setting names the data, so that it need not be there.
        """
        self._get, self.named = get, named
        self._state: object = None
        self._data: _Data | DmzError | None = None
        self._lock = threading.Lock()

    def now(self) -> _Data:
        """DmzError if it cannot be had or read."""
        with self._lock:
            state, read = self._get()
            if self._data is None or state != self._state:
                try:
                    self._data = read()
                except DmzError as error:
                    self._data = error
                self._state = state
            if isinstance(self._data, DmzError):
                raise self._data
            return self._data


def of_file(places: Sequence[Path], read: Callable[[Path], _Data], named: bool = True) -> Feed[_Data]:
    """The first of the files that is there; `named` as a feed has it."""

    def get() -> tuple[object, Callable[[], _Data]]:
        path = next((place for place in places if place.exists()), places[0])
        try:
            found = path.stat()
            state = (path, found.st_ino, found.st_size, found.st_mtime_ns)
        except OSError as error:
            state = (path, 0, 0, error.errno or 0)
        return state, lambda: read(path)

    return Feed(get, named)


def of_address(
    url: str, parse: Callable[[bytes, str], _Data], what: str, clock: Callable[[], float] = time.time
) -> Feed[_Data]:
    """What a web address answers, asked again after some hours. If that fails, the last one serves, with its date."""
    until, generation, last = 0.0, 0, None

    def get() -> tuple[object, Callable[[], _Data]]:
        nonlocal until, generation
        if clock() >= until:
            generation += 1
        return generation, read

    def read() -> _Data:
        nonlocal until, last
        until = clock() + _AGAIN
        try:
            data = parse(_fetched(url), f"{what} at {url}")
        except DmzError:
            if last is None:
                raise
            return last
        until, last = clock() + _KEPT, data
        return data

    return Feed(get)


def _fetched(url: str) -> bytes:
    """At most MAX_FILE bytes."""
    parts: list[bytes] = []
    size = 0
    try:
        with httpx.stream("GET", url, timeout=_TIMEOUT, follow_redirects=True) as response:
            if response.status_code != 200:
                raise Transient(f"{url} answered HTTP {response.status_code}.")
            for chunk in response.iter_bytes(1 << 20):
                parts.append(chunk)
                size += len(chunk)
                if size > MAX_FILE:
                    raise Permanent(
                        f"{url} sends more than {MAX_FILE} bytes, which neither KEV nor EPSS has."
                    )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Transient(f"{url} cannot be reached ({type(error).__name__}: {error}).") from error
    return b"".join(parts)


class Joined:
    """The port `Advisories` over another one. What that one raises passes; of the two others nothing is raised."""

    def __init__(
        self,
        source: Source,
        exploited: Feed[Exploited],
        predictions: Feed[Predictions],
        tell: Callable[[str, bool], None],
    ) -> None:
        """`tell` is given a message, and whether it is a warning."""
        self._source, self._tell = source, tell
        self._exploited, self._predictions = exploited, predictions
        self._told: dict[str, str] = {}

    def known(self, packages: Iterable[Package], release: Release) -> Known:
        """Everything that is known of the packages."""
        known = self._source.known(packages, release)
        cves = {id(one): _cves(one) for found in known.findings.values() for one in found}
        listed = self._read(KEV, self._exploited, self._exploited.now)
        # A line that is wrong in itself comes out only when it is asked for.
        values = self._read(
            EPSS,
            self._predictions,
            lambda: _estimated(self._predictions.now(), frozenset().union(*cves.values())),
        )
        exploited = listed.cves if listed else frozenset()
        estimates = values[1] if values else {}
        findings = {
            purl: tuple(_with(one, cves[id(one)], exploited, estimates) for one in found)
            for purl, found in known.findings.items()
        }
        also = (
            *known.source.also,
            *((_named(KEV, listed.snapshot),) if listed else ()),
            *((_named(EPSS, values[0]),) if values else ()),
        )
        source = known.source.model_copy(update={"also": also})
        return known.model_copy(update={"findings": findings, "source": source})

    def _read(self, name: str, feed: Feed[Any], get: Callable[[], _Any]) -> _Any | None:
        try:
            found = get()
        except DmzError as error:  # 2
            if self._told.get(name) != str(error):
                self._told[name] = str(error)
                self._tell(
                    f"{name} is not asked: {error} Packages with findings are held where the policy asks for it.",
                    feed.named or not isinstance(error, Absent),
                )
            return None
        self._told.pop(name, None)
        return found


_Any = TypeVar("_Any")


def beside(directory: Path, kev: str, epss: str) -> tuple[Feed[Exploited], Feed[Predictions]]:
    """The two feeds: where they are named, else beside the zips in `directory`."""
    beside_kev, beside_epss = [directory / KEV_FILE], [directory / file for file in EPSS_FILES]
    return (
        _exploited(kev) if kev else of_file(beside_kev, read_exploited, named=False),
        _predictions(epss) if epss else of_file(beside_epss, read_predictions, named=False),
    )


def official(kev: str, epss: str) -> tuple[Feed[Exploited], Feed[Predictions]]:
    """The two feeds: where they are named, else where CISA and FIRST publish them."""
    return _exploited(kev or KEV_URL), _predictions(epss or EPSS_URL)


def _exploited(place: str) -> Feed[Exploited]:
    if place.startswith(("https://", "http://")):
        return of_address(place, parse_exploited, "The catalogue of exploited flaws")
    return of_file([Path(place)], read_exploited)


def _predictions(place: str) -> Feed[Predictions]:
    if place.startswith(("https://", "http://")):
        return of_address(place, parse_predictions, "The predictions")
    return of_file([Path(place)], read_predictions)


def _estimated(predictions: Predictions, cves: frozenset[str]) -> tuple[Snapshot, Mapping[str, float]]:
    return predictions.snapshot, predictions.of(cves)


def _named(name: str, snapshot: Snapshot) -> DataSource:
    return DataSource(name=name, date=snapshot.date, digest=snapshot.digest)


def _cves(finding: Finding) -> frozenset[str]:
    return frozenset(name for name in (finding.id, *finding.aliases) if CVE.fullmatch(name))


def _with(
    finding: Finding, cves: frozenset[str], exploited: frozenset[str], estimates: Mapping[str, float]
) -> Finding:
    known = [estimates[cve] for cve in cves if cve in estimates]  # 3
    update = {"exploited": not cves.isdisjoint(exploited), "exploit_probability": max(known, default=None)}
    return finding.model_copy(update=update)
