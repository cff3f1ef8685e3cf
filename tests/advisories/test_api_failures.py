"""What an API that fails, lies or is silent comes to: whom it concerns is held, and nobody waits for ever."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from shared.advisories.api import OsvApi
from shared.advisories.calls import PATIENCE, TRIES
from shared.errors import Transient
from shared.model.package import Package
from tests.advisories.build import TRIXIE, affected, pypi, record
from tests.advisories.osv_server import BELOW_2, Osv, Time, api
from tests.advisories.server import Answer, serving

GARBAGE = [
    b"",
    b"<html>",
    b"[]",
    b"{}",
    b'{"results": []}',
    b'{"results": {}}',
    b'{"results": [{}, {}]}',
]
BATCH, VULN = "/v1/querybatch", "/v1/vulns/PYSEC-2026-2"


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_alone_is_an_api_that_is_away(body: bytes) -> None:
    osv = Osv(record())
    osv.broken[BATCH] = (200, body)
    with serving(osv) as url, pytest.raises(Transient, match=f"{url}.* answered something else"):
        api(url).known([pypi()], TRIXIE)


@pytest.mark.parametrize(
    "result", ["7", '"x"', "[]", '{"vulns": [{"id": 7}]}', '{"vulns": "all"}', '{"next_page_token": 7}']
)
def test_garbage_for_one_package_holds_that_one(result: str) -> None:
    def handle(method: str, path: str, body: bytes) -> Answer:
        return 200, b'{"results": [' + result.encode() + b", {}]}"

    with serving(handle) as url:
        known = api(url).known([pypi("a"), pypi("b")], TRIXIE)
    assert known.lacking.keys() == {pypi("a").purl}
    assert "something unreadable" in known.lacking[pypi("a").purl]


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("path", [BATCH, VULN])
def test_what_fails_for_a_while_is_asked_again(path: str, status: int) -> None:
    osv = Osv(record(), record("PYSEC-2026-2"))
    osv.once[path] = [(status, b""), (status, b""), (200, b"garbage"), (status, b"")]
    time = Time()
    with serving(osv) as url:
        known = OsvApi(url, waiting=time.waiting()).known([pypi()], TRIXIE)
    assert (len(known.findings[pypi().purl]), known.lacking) == (2, {})
    assert time.waits == [0.5, 1, 2, 4]  # half of a doubling bound: the chance here


def test_what_the_server_asks_to_wait_is_waited() -> None:
    osv = Osv(record())
    osv.once[BATCH] = [(429, b"", {"Retry-After": "17"}), (503, b"", {"Retry-After": "soon"})]
    osv.once[BATCH] += [(503, b"", {"Retry-After": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"})]
    time = Time()
    with serving(osv) as url:
        assert OsvApi(url, waiting=time.waiting()).known([pypi()], TRIXIE).findings
    assert time.waits == [17, 1, 2]


def test_a_date_to_wait_for_is_understood() -> None:
    osv = Osv(record())
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    osv.once[BATCH] = [(429, b"", {"Retry-After": then})]
    time = Time()
    with serving(osv) as url:
        assert OsvApi(url, waiting=time.waiting()).known([pypi()], TRIXIE).findings
    assert 30 < time.waits[0] <= 60


def test_longer_than_a_question_may_take_nobody_waits() -> None:
    osv = Osv(record())
    osv.broken[BATCH] = (429, b"", {"Retry-After": "3600"})
    time = Time()
    with serving(osv) as url, pytest.raises(Transient, match="HTTP 429"):
        OsvApi(url, waiting=time.waiting()).known([pypi()], TRIXIE)
    assert time.waits == []


@pytest.mark.parametrize(
    ("result", "clean"),
    [
        ("{}", True),
        ('{"vulns": []}', True),
        ('{"vulns": [], "next_page_token": ""}', True),
        ("null", False),
        ("[]", False),
        ('{"vulns": null}', False),
        ('{"vulns": {}}', False),
        ('{"vulns": ""}', False),
        ('{"next_page_token": null}', False),
    ],
)
def test_only_an_empty_object_or_list_says_that_nothing_is_known(result: str, clean: bool) -> None:
    with serving(lambda *_: (200, f'{{"results": [{result}]}}'.encode())) as url:
        known = api(url).known([pypi()], TRIXIE)
    assert known.findings == {}
    assert known.lacking.keys() == (set() if clean else {pypi().purl})


@pytest.mark.parametrize(
    "broken", [(429, b""), (500, b""), (404, b"?"), (200, b"{}"), (200, b"null"), (200, b"")]
)
def test_a_record_that_does_not_come_holds_whom_it_was_listed_for(broken: Answer) -> None:
    osv = Osv(record(), record("PYSEC-2026-2"), record("PYSEC-2026-3", affected(BELOW_2, name="other")))
    osv.broken[VULN] = broken
    with serving(osv) as url:
        asked = api(url)
        known = asked.known([pypi(), pypi("other"), pypi("clean")], TRIXIE)
        assert known.lacking.keys() == {pypi().purl}
        assert VULN in known.lacking[pypi().purl]
        assert [one.id for one in known.findings[pypi().purl]] == ["PYSEC-2026-1"]
        assert known.findings[pypi("other").purl][0].id == "PYSEC-2026-3"
        # what did not come is not remembered; the source tells the two apart
        del osv.broken[VULN]
        whole = asked.known([pypi(), pypi("other"), pypi("clean")], TRIXIE)
        assert whole.lacking == {}
        assert len(whole.findings[pypi().purl]) == 2
        assert whole.source.digest != known.source.digest


@pytest.mark.parametrize("other", [b'{"id": "PYSEC-2026-2"', json.dumps(record("OTHER-1")).encode()])
def test_a_record_that_is_another_or_none_is_not_believed(other: bytes) -> None:
    osv = Osv(record("PYSEC-2026-2"))
    osv.broken[VULN] = (200, other)
    with serving(osv) as url:
        known = api(url).known([pypi()], TRIXIE)
    assert known.lacking.keys() == {pypi().purl}


def test_a_record_that_names_nobody_holds_whom_it_was_listed_for() -> None:
    osv = Osv(record("PYSEC-2026-2"))
    osv.broken[VULN] = (200, b'{"id": "PYSEC-2026-2", "affected": [{"package": {}}]}')
    with serving(osv) as url:
        known = api(url).known([pypi(), pypi("b")], TRIXIE)
    assert known.lacking.keys() == {pypi().purl}
    assert "no readable name" in known.lacking[pypi().purl]


def test_a_page_that_does_not_come_holds_its_package() -> None:
    """The first page came: what it lists is found all the same."""
    osv = Osv(*(record(f"PYSEC-2026-{i}") for i in range(5)), page=3)

    def handle(method: str, path: str, body: bytes) -> Answer:
        return (503, b"") if b"page_token" in body else osv(method, path, body)

    with serving(handle) as url:
        known = api(url).known([pypi(), pypi("b")], TRIXIE)
    assert known.lacking.keys() == {pypi().purl}
    assert len(known.findings[pypi().purl]) == 3


def test_a_batch_that_does_not_come_holds_its_packages_and_the_others_are_judged() -> None:
    osv = Osv(record())
    packages = [pypi(f"p{i:04}") for i in range(1500)]

    def handle(method: str, path: str, body: bytes) -> Answer:
        return (500, b"") if b'"p1400"' in body else osv(method, path, body)

    with serving(handle) as url:
        known = api(url).known([*packages, pypi()], TRIXIE)
    assert {*known.lacking} == {package.purl for package in packages[1000:]} | {pypi().purl}
    assert all("HTTP 500" in why for why in known.lacking.values())


def test_a_question_that_it_refuses_holds_that_package_alone() -> None:
    osv = Osv(record())

    def handle(method: str, path: str, body: bytes) -> Answer:
        bad = b'"p7"' in body or b'"p30"' in body
        return (400, b'{"code":3,"message":"Invalid query."}') if bad else osv(method, path, body)

    with serving(handle) as url:
        known = api(url).known([*(pypi(f"p{i}") for i in range(50)), pypi()], TRIXIE)
    assert known.lacking.keys() == {pypi("p7").purl, pypi("p30").purl}
    assert "Invalid query" in known.lacking[pypi("p7").purl]
    assert known.findings.keys() == {pypi().purl}


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404])
def test_who_is_refused_altogether_holds_everything_and_does_not_try_again(status: int) -> None:
    calls: list[str] = []

    def handle(method: str, path: str, body: bytes) -> Answer:
        calls.append(path)
        return status, b"No"

    with serving(handle) as url:
        known = api(url).known([pypi(), pypi("b")], TRIXIE)
    assert known.lacking.keys() == {pypi().purl, pypi("b").purl}
    assert all(f"HTTP {status}: No" in why for why in known.lacking.values())
    assert len(calls) == (3 if status == 400 else 1)


def test_pages_without_end_end() -> None:
    def endless(method: str, path: str, body: bytes) -> Answer:
        asked = json.loads(body)["queries"]
        results = [{"next_page_token": "again"} if one["package"]["name"] == "thing" else {} for one in asked]
        return 200, json.dumps({"results": results}).encode()

    with serving(endless) as url:
        known = api(url).known([pypi(), pypi("b")], TRIXIE)
    assert known.lacking.keys() == {pypi().purl}
    assert "end of its pages" in known.lacking[pypi().purl]


def test_an_unreachable_server_is_transient() -> None:
    time = Time()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = OsvApi(f"http://127.0.0.1:{unused.getsockname()[1]}", waiting=time.waiting())
        with pytest.raises(Transient, match="cannot be reached"):
            nowhere.known([pypi()], TRIXIE)
        assert len(time.waits) == TRIES - 1
        # nothing has to be asked about a file that was fetched by URL
        generic = Package(ecosystem="generic", name="thing", version="sha256:" + "0" * 64)
        assert nowhere.known([generic], TRIXIE).lacking == {}


def test_a_question_ends_when_its_time_is_over() -> None:
    """Thousands of records of which none comes: not one after the other for hours."""
    osv = Osv(*(record(f"PYSEC-2026-{i}") for i in range(300)), page=1000)
    asked: list[str] = []

    def handle(method: str, path: str, body: bytes) -> Answer:
        asked.append(path)
        return osv(method, path, body) if path == BATCH else (503, b"", {"Retry-After": "20"})

    time = Time()
    with serving(handle) as url:
        known = OsvApi(url, waiting=time.waiting()).known([pypi(), pypi("b")], TRIXIE)
    assert known.lacking.keys() == {pypi().purl}
    assert len(asked) < 100
    assert max(time.waits) < PATIENCE


def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.advisories.calls._MOST", 1000)
    osv = Osv(record(details="x" * 5000))
    with serving(osv) as url:
        known = api(url).known([pypi()], TRIXIE)
    assert "sends more than 1000 bytes" in known.lacking[pypi().purl]
