"""OSV.dev's API in the shape that its pages describe, on loopback: batches, pages, and failures in between."""

from __future__ import annotations

import json
import socket
from collections import Counter
from typing import Any

import pytest

from shared.advisories.api import OsvApi
from shared.errors import Permanent, Transient
from tests.advisories.build import JAMMY, TRIXIE, affected, deb, events, found, pypi, record
from tests.advisories.server import Answer, serving

BELOW_2 = events(("introduced", "0"), ("fixed", "2.0"))


class Osv:
    """Answers as OSV.dev does: ids and dates for a batch, in pages of `page`, and records by id."""

    def __init__(self, *records: dict[str, Any], page: int = 100) -> None:
        self.records = {one["id"]: one for one in records}
        self.page = page
        self.batches: list[list[dict[str, Any]]] = []
        self.fetched: Counter[str] = Counter()
        self.broken: dict[str, Answer] = {}

    def __call__(self, method: str, path: str, body: bytes) -> Answer:
        if path in self.broken:
            return self.broken[path]
        if (method, path) == ("POST", "/v1/querybatch"):
            queries = json.loads(body)["queries"]
            self.batches.append(queries)
            return 200, json.dumps({"results": [self._result(one) for one in queries]}).encode()
        id = path.removeprefix("/v1/vulns/")
        self.fetched[id] += 1
        if method != "GET" or id not in self.records:
            return 404, b'{"code":5,"message":"Bug not found."}'
        return 200, json.dumps(self.records[id]).encode()

    def _result(self, asked: dict[str, Any]) -> dict[str, Any]:
        ids = [
            {"id": one["id"], "modified": one["modified"]}
            for one in self.records.values()
            if any(entry["package"] == asked["package"] for entry in one["affected"])
            and asked.get("version") not in one.get("hidden_from", ())
        ]
        start = int(asked.get("page_token", 0))
        result: dict[str, Any] = {"vulns": ids[start : start + self.page]} if ids[start:] else {}
        if len(ids) > start + self.page:
            result["next_page_token"] = str(start + self.page)
        return result


def test_findings_are_those_of_the_records() -> None:
    flaw = affected(BELOW_2, ecosystem="Debian:13", name="util-linux")
    records = [
        record(),
        record("DEBIAN-CVE-2026-1", flaw),
        record("PYSEC-2026-2", affected(BELOW_2, name="other")),
    ]
    packages = [pypi(), pypi("clean"), deb("bsdutils", "1:1.0", "util-linux", "1.0")]
    osv = Osv(*records)
    with serving(osv) as url:
        api = OsvApi(url, clock=lambda: 1_800_000_000)
        findings = api.findings(packages, TRIXIE)
    assert findings == found(packages, *records)
    assert len(findings) == 2
    assert osv.fetched == {"PYSEC-2026-1": 1, "DEBIAN-CVE-2026-1": 1}
    assert api.source().source == "osv.dev api"
    assert api.source().date == "2027-01-15T08:00:00Z"


def test_only_questions_with_more_to_tell_are_asked_again() -> None:
    records = [record(f"PYSEC-2026-{i}") for i in range(7)] + [
        record("PYSEC-2026-99", affected(BELOW_2, name="b"))
    ]
    osv = Osv(*records, page=3)
    with serving(osv) as url:
        findings = OsvApi(url).findings([pypi(), pypi("b"), pypi("c")], TRIXIE)
    assert len(findings[pypi().purl]) == 7
    assert [[one["package"]["name"] for one in batch] for batch in osv.batches] == [
        ["b", "c", "thing"],
        ["thing"],
        ["thing"],
    ]
    assert osv.batches[1][0]["page_token"] == "3"
    assert osv.batches[1][0]["version"] == "1.0"


def test_a_batch_has_a_thousand_questions_at_most() -> None:
    osv = Osv(record())
    with serving(osv) as url:
        OsvApi(url).findings([pypi(f"p{i}") for i in range(2500)] + [pypi()], TRIXIE)
    assert [len(batch) for batch in osv.batches] == [1000, 1000, 501]


def test_forms_of_a_version_and_of_a_release() -> None:
    osv = Osv()
    with serving(osv) as url:
        packages = [
            pypi("a", "2.6.0+cpu"),
            pypi("b", "weird"),
            pypi("d", "v01.0"),
            deb("c", "1.0", release=JAMMY),
        ]
        OsvApi(url).findings(packages, JAMMY)
    asked = [
        (one["package"]["ecosystem"], one["package"]["name"], one.get("version")) for one in osv.batches[0]
    ]
    assert asked == [
        ("PyPI", "a", "2.6.0"),
        ("PyPI", "a", "2.6.0+cpu"),
        ("PyPI", "b", None),
        ("PyPI", "d", "1.0"),
        ("Ubuntu:22.04:LTS", "c", "1.0"),
    ]


def test_a_record_that_does_not_include_what_the_server_listed_is_undecided() -> None:
    other = record("PYSEC-2026-1", affected(events(("introduced", "5"))))
    with serving(Osv(other)) as url:
        (finding,) = OsvApi(url).findings([pypi()], TRIXIE)[pypi().purl]
    assert "OSV.dev lists it" in finding.undecided


def test_records_are_kept_until_they_change() -> None:
    osv = Osv(record())
    with serving(osv) as url:
        api = OsvApi(url)
        api.findings([pypi()], TRIXIE)
        first = api.source().digest
        api.findings([pypi()], TRIXIE)
        assert osv.fetched["PYSEC-2026-1"] == 1
        assert api.source().digest == first
        osv.records["PYSEC-2026-1"] = record(modified="2026-11-21T00:00:00Z", severity=[])
        api.findings([pypi()], TRIXIE)
        assert osv.fetched["PYSEC-2026-1"] == 2
        assert api.source().digest != first


GARBAGE = [
    b"",
    b"<html>",
    b"[]",
    b"{}",
    b'{"results": []}',
    b'{"results": [7]}',
    b'{"results": [{"vulns": [{"id": 7}]}]}',
    b'{"results": [{"vulns": "all"}]}',
]


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_not_believed(body: bytes) -> None:
    osv = Osv(record())
    osv.broken["/v1/querybatch"] = (200, body)
    with serving(osv) as url, pytest.raises(Transient, match=url):
        OsvApi(url).findings([pypi()], TRIXIE)


@pytest.mark.parametrize("status", [429, 500, 503, 302])
@pytest.mark.parametrize("path", ["/v1/querybatch", "/v1/vulns/PYSEC-2026-2"])
def test_a_failure_anywhere_is_no_partial_answer(path: str, status: int) -> None:
    osv = Osv(record(), record("PYSEC-2026-2"), record("PYSEC-2026-3"))
    osv.broken[path] = (status, b"")
    with serving(osv) as url:
        api = OsvApi(url)
        with pytest.raises(Transient, match=str(status)):
            api.findings([pypi()], TRIXIE)
        with pytest.raises(Permanent, match="ask it for findings first"):
            api.source()
        del osv.broken[path]
        assert len(api.findings([pypi()], TRIXIE)[pypi().purl]) == 3


@pytest.mark.parametrize(
    "body", [b"{}", b"null", b'{"id": "PYSEC-2026-1"', json.dumps(record("OTHER-1")).encode()]
)
def test_a_record_that_is_another_or_none_is_not_believed(body: bytes) -> None:
    osv = Osv(record())
    osv.broken["/v1/vulns/PYSEC-2026-1"] = (200, body)
    with serving(osv) as url, pytest.raises(Transient):
        OsvApi(url).findings([pypi()], TRIXIE)


def test_a_record_that_names_nobody_is_not_believed() -> None:
    osv = Osv(record())
    osv.broken["/v1/vulns/PYSEC-2026-1"] = (200, b'{"id": "PYSEC-2026-1", "affected": [{"package": {}}]}')
    with serving(osv) as url, pytest.raises(Transient, match="no readable name"):
        OsvApi(url).findings([pypi()], TRIXIE)


def test_a_question_that_it_does_not_understand_is_final() -> None:
    osv = Osv()
    osv.broken["/v1/querybatch"] = (400, b'{"code":3,"message":"Invalid ecosystem."}')
    with serving(osv) as url, pytest.raises(Permanent, match=r"Invalid ecosystem"):
        OsvApi(url).findings([pypi()], TRIXIE)


def test_pages_without_end_end() -> None:
    def endless(method: str, path: str, body: bytes) -> Answer:
        queries = json.loads(body)["queries"]
        return 200, json.dumps({"results": [{"next_page_token": "again"} for _ in queries]}).encode()

    with serving(endless) as url, pytest.raises(Transient, match="end of its pages"):
        OsvApi(url).findings([pypi()], TRIXIE)


def test_an_unreachable_server_is_transient() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Transient, match="cannot be reached"):
            OsvApi(f"http://127.0.0.1:{unused.getsockname()[1]}").findings([pypi()], TRIXIE)
