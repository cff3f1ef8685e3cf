"""Advisories from OSV.dev's API: one batch of questions, then the records that the answers name.

https://google.github.io/osv.dev/post-v1-querybatch/ and https://google.github.io/osv.dev/get-v1-vulns/
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx

from shared.advisories import osv
from shared.advisories.calls import Calls, Refused, Waiting
from shared.advisories.match import Query, concerns, match, query
from shared.errors import DmzError, Permanent, Transient
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
_Asked = tuple[Query, dict[str, Any]]
"""A package, and one of the questions about it."""


@dataclass
class _Answers:
    """What came back, and what did not."""

    listed: dict[Query, _Listed]
    lacking: dict[Query, str] = field(default_factory=dict)
    """Why not everything that is known of the package came back, as a sentence."""
    heard: bool = False
    """The service answered at least one question."""

    def lacks(self, queries: Iterable[Query], why: str) -> None:
        for one in queries:
            self.lacking.setdefault(one, why)


class OsvApi:
    """The port `Advisories` over the API.

    1. What did not come, or cannot be read, makes the packages `lacking` that it may be about; the others are judged.
    2. Transient only if no question was answered at all: then OSV.dev is away, its records exist, and an event that
       comes again in a minute finds them. If it refuses the questions themselves, the same ones would be refused again.
    """

    def __init__(
        self, url: str = API, clock: Callable[[], float] = time.time, waiting: Waiting | None = None
    ) -> None:
        self._url, self._clock, self._waiting = url.rstrip("/"), clock, waiting or Waiting()
        self._cache: dict[tuple[str, str], Any] = {}

    def known(self, packages: Iterable[Package], release: Release) -> Known:
        """Everything that is known of the packages. The server chooses the records, `match` decides; where they
        disagree it is undecided. The source is when it was asked, with a digest over every record's id and date."""
        packages = tuple(packages)
        asked = {package.purl: query(package, release) for package in packages}
        queries = sorted({found for found in asked.values() if found is not None}, key=_key)
        started = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="seconds")
        with httpx.Client(timeout=_TIMEOUT) as client:
            calls = Calls(client, self._url, "OSV.dev", self._waiting)
            answers = self._ask(calls, queries)
            raws = self._fetch(calls, answers)
        if queries and not answers.heard:  # 2
            raise Transient(next(iter(answers.lacking.values())))
        records = self._read(raws, answers)
        findings = dict(match(packages, release, records.values()))
        lacking: dict[str, str] = {}
        for purl, one in asked.items():
            if one is None:
                continue
            if extra := _disagreement(findings.get(purl, ()), answers.listed[one], records):
                findings[purl] = tuple(
                    sorted((*findings.get(purl, ()), *extra), key=lambda finding: finding.id)
                )
            if one in answers.lacking:
                lacking[purl] = answers.lacking[one].removesuffix(".")
        said = [
            [*_key(one), sorted(answers.listed[one].items()), *([None] if one in answers.lacking else [])]
            for one in queries
        ]
        date = started.replace("+00:00", "Z")
        source = AdvisorySource(source="osv.dev api", date=date, digest=sha256(canonical(said)))
        return Known(findings=findings, lacking=lacking, source=source)

    def _ask(self, calls: Calls, queries: Sequence[Query]) -> _Answers:
        answers = _Answers({one: {} for one in queries})
        waiting: list[_Asked] = [(one, question) for one in queries for question in _questions(one)]
        for _ in range(_PAGES):
            again: list[_Asked] = []
            for start in range(0, len(waiting), _BATCH):
                for asked, answer in self._batch(calls, waiting[start : start + _BATCH], answers):
                    # Only the questions that have more to tell are asked again.
                    again += self._note(asked, answer, answers)
            if not again:
                return answers
            waiting = again
        why = f"OSV.dev at {self._url} does not come to an end of its pages: try again later."
        answers.lacks((one for one, _ in waiting), why)
        return answers

    def _batch(
        self, calls: Calls, batch: Sequence[_Asked], answers: _Answers
    ) -> Iterator[tuple[_Asked, Any]]:
        """Each question with its answer; those without are noted. A question that OSV.dev refuses takes the others
        of its batch with it: halves are asked, until it stands alone."""
        questions = [question for _, question in batch]
        try:
            results = calls.json(
                "POST", "/v1/querybatch", lambda answer: _results(answer, len(batch)), {"queries": questions}
            )
        except Refused as error:
            if error.status != 400 or len(batch) == 1:
                answers.lacks((one for one, _ in batch), str(error))
                answers.heard = True
                return
            middle = len(batch) // 2
            yield from self._batch(calls, batch[:middle], answers)
            yield from self._batch(calls, batch[middle:], answers)
            return
        except Transient as error:
            answers.lacks((one for one, _ in batch), str(error))
            return
        answers.heard = True
        yield from zip(batch, results, strict=True)

    def _note(self, asked: _Asked, answer: Any, answers: _Answers) -> list[_Asked]:
        """Notes what one answer lists; the question for its next page, if there is one."""
        one, question = asked
        try:
            listed, token = _page(answer)
        except ValueError as error:
            answers.lacks(
                [one], f"OSV.dev at {self._url} answered something unreadable ({error}): try again later."
            )
            return []
        answers.listed[one].update(listed)
        return [(one, {**question, "page_token": token})] if token else []

    def _fetch(self, calls: Calls, answers: _Answers) -> dict[str, Any]:
        """Every record that was listed, by id; a package one of whose records does not come is noted."""
        wanted = sorted({pair for found in answers.listed.values() for pair in found.items()})
        missing = [pair for pair in wanted if pair not in self._cache]
        if len(self._cache) + len(missing) > _CACHED:
            self._cache.clear()
            missing = wanted

        def fetched(pair: tuple[str, str]) -> tuple[tuple[str, str], Any]:
            try:
                return pair, calls.json("GET", f"/v1/vulns/{quote(pair[0], safe='')}", _record(pair[0]))
            except DmzError as error:
                return pair, error

        failed: dict[tuple[str, str], str] = {}
        raws: dict[str, Any] = {id: self._cache[id, date] for id, date in wanted if (id, date) in self._cache}
        with ThreadPoolExecutor(_WORKERS) as pool:
            for pair, raw in pool.map(fetched, missing):
                if isinstance(raw, DmzError):
                    failed[pair] = str(raw)
                else:
                    self._cache[pair] = raws[pair[0]] = raw
        for one, listed in answers.listed.items() if failed else ():
            if why := next((failed[pair] for pair in sorted(listed.items()) if pair in failed), ""):
                answers.lacks([one], why)
        return raws

    def _read(self, raws: Mapping[str, Any], answers: _Answers) -> dict[str, osv.Record]:
        names = {found.name for found in answers.listed}
        scopes = {found.ecosystem for found in answers.listed}

        def wanted(ecosystem: str, name: str) -> bool:
            return name in names and any(concerns(ecosystem, scope) for scope in scopes)

        records: dict[str, osv.Record] = {}
        for id, raw in sorted(raws.items()):
            try:
                records[id] = osv.read(raw, f"{printable(id, 60)} of {self._url}", wanted)
            except Permanent as error:
                answers.lacks((one for one, listed in answers.listed.items() if id in listed), str(error))
        return records


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


def _results(answer: Any, count: int) -> list[Any]:
    """An answer for each question, or none is believed."""
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != count:
        raise ValueError(f"{count} questions, other than {count} results")
    return results


def _page(answer: Any) -> tuple[_Listed, str]:
    """What one result lists, and the token of its next page.

    Of a package without advisories it is an empty object (or one whose list is empty); null is nowhere an answer.
    """
    listed = answer.get("vulns", []) if isinstance(answer, dict) else None
    if not isinstance(listed, list) or not all(
        isinstance(one, dict) and isinstance(one.get("id"), str) and isinstance(one.get("modified", ""), str)
        for one in listed
    ):
        raise ValueError("it lists what is no advisory")
    token = answer.get("next_page_token", "")
    if not isinstance(token, str):
        raise ValueError("the token of its next page is no text")  # noqa: TRY004 - as everything else of an answer
    return {one["id"]: one.get("modified", "") for one in listed}, token


def _record(id: str) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        if not isinstance(raw, dict) or raw.get("id") != id:
            raise ValueError(f"another record than {printable(id, 60)}, or none")
        return raw

    return read


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
        if id in records and not matched[id] and not records[id].withdrawn
    ]
