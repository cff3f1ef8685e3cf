"""Advisories from OSV.dev's API: one batch of questions, then the records that the answers name.

https://google.github.io/osv.dev/post-v1-querybatch/ and https://google.github.io/osv.dev/get-v1-vulns/
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from shared.advisories import osv
from shared.advisories.match import Query, concerns, match, query
from shared.errors import Permanent, Transient
from shared.model.package import Package, Release
from shared.model.value import canonical, printable, sha256
from shared.model.verdict import AdvisorySource, Finding, Known

API = "https://api.osv.dev"
_BATCH = 1000  # the API's own limit
_PAGES = 200  # of one question; a server that always has one more page is broken
_WORKERS = 16
_TIMEOUT = httpx.Timeout(30, connect=3)
_CACHED = 50_000

_Listed = dict[str, str]
"""Record id to the date of its last change."""


class OsvApi:
    """The port `Advisories` over the API. What cannot be fetched or read is Transient: the data exists, elsewhere."""

    def __init__(self, url: str = API, clock: Callable[[], float] = time.time) -> None:
        self._url, self._clock = url.rstrip("/"), clock
        self._cache: dict[tuple[str, str], Any] = {}
        self._answered = threading.local()

    def source(self) -> AdvisorySource:
        """Of this thread's last `findings`: when it asked, and a digest over every record's id and date."""
        source: AdvisorySource | None = getattr(self._answered, "source", None)
        if source is None:
            raise Permanent("OSV.dev's API has no date of its own: ask it for findings first.")
        return source

    def known(self, packages: Iterable[Package], release: Release) -> Known:
        """Everything that is known of the packages."""
        found = self.findings(packages, release)
        return Known(findings=dict(found), lacking={}, source=self.source())

    def findings(self, packages: Iterable[Package], release: Release) -> Mapping[str, tuple[Finding, ...]]:
        """Findings by purl. The server chooses the records, `match` decides; where they disagree it is undecided."""
        packages = tuple(packages)
        asked = {package.purl: query(package, release) for package in packages}
        queries = sorted({found for found in asked.values() if found is not None}, key=_key)
        started = (
            datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        )
        with httpx.Client(timeout=_TIMEOUT) as client:
            listed = self._ask(client, queries)
            raws = self._fetch(client, {pair for found in listed.values() for pair in found.items()})
        names = {found.name for found in queries}
        scopes = {found.ecosystem for found in queries}
        records = {id: self._read(raw, names, scopes) for id, raw in sorted(raws.items())}
        found = dict(match(packages, release, records.values()))
        for purl, one in asked.items():
            if one is not None and (extra := _disagreement(found.get(purl, ()), listed[one], records)):
                found[purl] = tuple(sorted((*found.get(purl, ()), *extra), key=lambda finding: finding.id))
        digest = sha256(canonical([[*_key(one), sorted(listed[one].items())] for one in queries]))
        self._answered.source = AdvisorySource(source="osv.dev api", date=started, digest=digest)
        return found

    def _ask(self, client: httpx.Client, queries: Sequence[Query]) -> dict[Query, _Listed]:
        listed: dict[Query, _Listed] = {one: {} for one in queries}
        waiting = [(one, question) for one in queries for question in _questions(one)]
        for _ in range(_PAGES):
            if not waiting:
                return listed
            batch, rest = waiting[:_BATCH], waiting[_BATCH:]
            again = []
            for (one, question), answer in zip(
                batch, self._batch(client, [q for _, q in batch]), strict=True
            ):
                listed[one].update(_vulnerabilities(answer, self._url))
                # 1. Only the questions that have more to tell are asked again.
                if token := answer.get("next_page_token"):
                    again.append((one, {**question, "page_token": token}))
            waiting = again + rest
        raise Transient(f"OSV.dev at {self._url} does not come to an end of its pages: try again later.")

    def _batch(self, client: httpx.Client, questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        answer = self._call(client, "POST", "/v1/querybatch", {"queries": questions})
        results = answer.get("results") if isinstance(answer, dict) else None
        # 2. An answer for each question, or none is believed.
        if not isinstance(results, list) or len(results) != len(questions):
            raise Transient(
                f"OSV.dev at {self._url} answered {len(questions)} questions with something else."
            )
        results = [{} if result is None else result for result in results]
        if not all(isinstance(result, dict) for result in results):
            raise Transient(f"OSV.dev at {self._url} answered a question with something unreadable.")
        return results

    def _fetch(self, client: httpx.Client, wanted: Iterable[tuple[str, str]]) -> dict[str, Any]:
        wanted = sorted(wanted)
        missing = [pair for pair in wanted if pair not in self._cache]
        if len(self._cache) + len(missing) > _CACHED:
            self._cache.clear()
            missing = wanted
        with ThreadPoolExecutor(_WORKERS) as pool:
            # 3. Every record that was listed, or no findings at all.
            for pair, raw in pool.map(lambda pair: (pair, self._record(client, pair[0])), missing):
                self._cache[pair] = raw
        return {id: self._cache[id, modified] for id, modified in wanted}

    def _record(self, client: httpx.Client, id: str) -> Any:
        raw = self._call(client, "GET", f"/v1/vulns/{quote(id, safe='')}")
        if not isinstance(raw, dict) or raw.get("id") != id:
            raise Transient(
                f"OSV.dev at {self._url} sent something else than {printable(id, 60)}: try again later."
            )
        return raw

    def _read(self, raw: Any, names: set[str], scopes: set[str]) -> osv.Record:
        def wanted(ecosystem: str, name: str) -> bool:
            return name in names and any(concerns(ecosystem, scope) for scope in scopes)

        try:
            return osv.read(raw, f"{printable(str(raw['id']), 60)} of {self._url}", wanted)
        except Permanent as error:
            raise Transient(str(error)) from error

    def _call(self, client: httpx.Client, method: str, path: str, body: Any = None) -> Any:
        url = self._url + path
        try:
            response = client.request(method, url, content=None if body is None else orjson.dumps(body))
        except httpx.HTTPError as error:
            raise Transient(
                f"OSV.dev at {url} cannot be reached ({type(error).__name__}: {error})."
            ) from error
        if response.status_code == 400:
            text = printable(response.text, 200)
            raise Permanent(f"OSV.dev at {url} does not understand the question: {text}")
        if response.status_code != 200:
            raise Transient(f"OSV.dev at {url} answered HTTP {response.status_code}: try again later.")
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise Transient(
                f"OSV.dev at {url} answered something that is not JSON: try again later."
            ) from error


def _key(one: Query) -> tuple[str, str, str]:
    return one.ecosystem, one.name, one.version


def _questions(one: Query) -> list[dict[str, Any]]:
    """By version, in every form that an advisory may mean; a version that nobody can order is left out.

    A Python version goes out normalized (PEP 440): asked about in another spelling, it may be one that nobody listed.
    """
    package = {"ecosystem": _ecosystem(one.ecosystem), "name": one.name}
    point = one.scheme.parse(one.version)
    if point is None or point.loose:
        return [{"package": package}]
    pypi = one.ecosystem == "PyPI"
    versions = {str(form.key) for form in one.scheme.forms(point)} if pypi else {one.version}
    return [{"package": package, "version": version} for version in sorted(versions)]


def _ecosystem(name: str) -> str:
    """OSV.dev lists Ubuntu's long-term releases, April of even years, with `:LTS`."""
    release = name.removeprefix("Ubuntu:")
    lts = name != release and release.endswith(".04") and int(release.split(".")[0]) % 2 == 0
    return f"{name}:LTS" if lts else name


def _vulnerabilities(answer: dict[str, Any], url: str) -> _Listed:
    listed = answer.get("vulns") or []
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and isinstance(one.get("id"), str) and isinstance(one.get("modified", ""), str)
        for one in listed
    ):
        raise Transient(f"OSV.dev at {url} listed something that is no advisory: try again later.")
    return {one["id"]: one.get("modified", "") for one in listed}


def _disagreement(
    findings: Sequence[Finding], listed: Iterable[str], records: Mapping[str, osv.Record]
) -> list[Finding]:
    """A finding for each record that the server lists for a version while its own text does not include it."""
    matched: dict[str, bool] = defaultdict(bool)
    for finding in findings:
        matched.update(dict.fromkeys((finding.id, *finding.aliases), True))
    return [
        Finding(
            id=id,
            aliases=tuple(sorted(records[id].aliases)),
            severity="UNKNOWN",
            score=None,
            fixed=(),
            malicious=records[id].malicious,
            summary=records[id].summary,
            undecided=f"{id}: OSV.dev lists it for this version, the record itself does not",
        )
        for id in sorted(listed)
        if not matched[id] and not records[id].withdrawn
    ]
