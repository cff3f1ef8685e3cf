"""What is exploited, and how probably so, at each finding; what cannot be read is never "not exploited"."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from shared.advisories.exploitation import parse_exploited
from shared.advisories.joined import EPSS_FILES, KEV_FILE, Joined, beside, of_address, official
from shared.advisories.zips import ZipAdvisories
from shared.errors import DmzError, Permanent, Transient
from shared.judgement import advisories
from shared.model.package import Package, Release
from shared.model.policy import EPSS, KEV
from shared.model.verdict import DataSource, Known
from shared.settings import Settings
from tests.advisories.build import TRIXIE, affected, deb, events, pypi, record, zipped
from tests.advisories.server import Answer, serving

HEAD = "#model_version:v2025.03.14,score_date:2026-11-21T12:55:00Z\ncve,epss,percentile\n"
ALL = events(("introduced", "0"))


def catalogue(*cves: str) -> bytes:
    listed = [{"cveID": cve} for cve in cves]
    return json.dumps(
        {"dateReleased": "2026-11-20T17:04:19.9796Z", "count": len(listed), "vulnerabilities": listed}
    ).encode()


def estimates(**values: str) -> bytes:
    return (
        HEAD + "".join(f"{cve.replace('_', '-')},{value},0.5\n" for cve, value in values.items())
    ).encode()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    zipped(
        tmp_path,
        "PyPI",
        record("GHSA-aaaa-bbbb-cccc", aliases=["CVE-2026-1000", "CVE-2026-2000"]),
        record("PYSEC-2026-1", affected(ALL), aliases=["CVE-2026-3000"]),
        record("PYSEC-2026-2", affected(ALL)),
    )
    zipped(tmp_path, "Debian", record("DEBIAN-CVE-2026-4000", affected(ALL, ecosystem="Debian:13")))
    kev, epss = tmp_path / KEV_FILE, tmp_path / EPSS_FILES[0]
    for path in (kev, epss):
        path.parent.mkdir()
    kev.write_bytes(catalogue("CVE-2026-2000", "CVE-2026-4000"))
    epss.write_bytes(gzip.compress(estimates(CVE_2026_1000="0.25", CVE_2026_2000="0.125", CVE_2026_3000="1")))
    return tmp_path


class Told(list[str]):
    """What the operator was told."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[bool] = []
        """Of each, whether it is a warning."""

    def tell(self, message: str, warning: bool) -> None:
        self.append(message)
        self.warnings.append(warning)


def joined(directory: Path, told: Told, kev: str = "", epss: str = "") -> Joined:
    return Joined(ZipAdvisories(directory), *beside(directory, kev, epss), told.tell)


def findings(known: Known, package: Package) -> dict[str, tuple[bool, float | None]]:
    return {one.id: (one.exploited, one.exploit_probability) for one in known.findings[package.purl]}


def test_each_finding_has_the_worst_of_its_cves(directory: Path) -> None:
    told = Told()
    thing = deb("thing", "1.0")
    known = joined(directory, told).known([pypi(), thing], TRIXIE)
    assert findings(known, pypi()) == {
        "GHSA-aaaa-bbbb-cccc": (True, 0.25),
        "PYSEC-2026-1": (False, 1.0),
        "PYSEC-2026-2": (False, None),
    }
    assert findings(known, thing) == {"CVE-2026-4000": (True, None)}
    assert told == []


def test_the_source_says_what_was_asked(directory: Path) -> None:
    known = joined(directory, Told()).known([], TRIXIE)
    plain = ZipAdvisories(directory).known([], TRIXIE).source
    assert known.source.model_copy(update={"also": ()}) == plain
    digests = [
        "sha256:" + hashlib.sha256((directory / file).read_bytes()).hexdigest()
        for file in (KEV_FILE, EPSS_FILES[0])
    ]
    assert known.source.also == (
        DataSource(name=KEV, date="2026-11-20T17:04:19.9796Z", digest=digests[0]),
        DataSource(name=EPSS, date="2026-11-21T12:55:00Z", digest=digests[1]),
    )


@pytest.mark.parametrize("data", [None, b"", b"{}", b"\xff", catalogue("CVE-2026-1000")[:-2], catalogue()])
@pytest.mark.parametrize("which", [KEV, EPSS])
def test_what_cannot_be_read_is_not_among_what_was_asked_and_is_told_once(
    directory: Path, which: str, data: bytes | None
) -> None:
    path = directory / (KEV_FILE if which == KEV else EPSS_FILES[0])
    whole = path.read_bytes()
    path.unlink()
    if data is not None:
        path.write_bytes(data)
    told = Told()
    source = joined(directory, told)
    for _ in range(3):
        known = source.known([pypi()], TRIXIE)
        assert [one.name for one in known.source.also] == [EPSS if which == KEV else KEV]
        found = findings(known, pypi())["GHSA-aaaa-bbbb-cccc"]
        assert found == ((False, 0.25) if which == KEV else (True, None))
    (line,) = told
    assert which in line
    assert str(path) in line
    assert told.warnings == [data is not None]
    # mended: asked at the next question; damaged again: told again
    path.write_bytes(whole)
    assert len(source.known([pypi()], TRIXIE).source.also) == 2
    path.write_bytes(b"broken again")
    assert len(source.known([pypi()], TRIXIE).source.also) == 1
    assert len(told) == 2
    assert told.warnings[1]


def test_what_is_named_and_not_there_is_a_warning_and_what_was_never_set_up_is_none(tmp_path: Path) -> None:
    zipped(tmp_path, "PyPI", record("GHSA-aaaa-bbbb-cccc"))
    told = Told()
    known = joined(tmp_path, told).known([pypi()], TRIXIE)
    assert (known.source.also, told.warnings) == ((), [False, False])
    told = Told()
    known = joined(tmp_path, told, str(tmp_path / KEV_FILE), str(tmp_path / EPSS_FILES[0])).known(
        [pypi()], TRIXIE
    )
    assert (known.source.also, told.warnings) == ((), [True, True])
    (tmp_path / KEV_FILE.parts[0]).write_text("no directory")
    (tmp_path / EPSS_FILES[0]).mkdir(parents=True)
    told = Told()
    joined(tmp_path, told).known([pypi()], TRIXIE)
    assert told.warnings == [True, True]


def test_an_address_that_fails_is_a_warning(directory: Path) -> None:
    told = Told()
    with serving(lambda *_: (404, b"")) as url:
        joined(directory, told, f"{url}/kev", f"{url}/epss").known([pypi()], TRIXIE)
    assert told.warnings == [True, True]


def test_an_estimate_that_stands_twice_is_none(directory: Path) -> None:
    (directory / EPSS_FILES[0]).write_bytes(estimates(CVE_2026_1000="0.5") + b"CVE-2026-1000,0.1,0.5\n")
    told = Told()
    known = joined(directory, told).known([pypi()], TRIXIE)
    assert [one.name for one in known.source.also] == [KEV]
    assert "stands there twice" in told[0]


def test_plain_csv_serves_where_there_is_no_gzip(directory: Path) -> None:
    (directory / EPSS_FILES[0]).unlink()
    (directory / EPSS_FILES[1]).write_bytes(estimates(CVE_2026_1000="0.75"))
    assert (
        findings(joined(directory, Told()).known([pypi()], TRIXIE), pypi())["GHSA-aaaa-bbbb-cccc"][1] == 0.75
    )


def test_what_is_named_counts_instead_of_what_lies_beside(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_bytes(catalogue("CVE-2026-3000"))
    with serving(lambda *_: (200, estimates(CVE_2026_3000="0.5"))) as url:
        source = joined(directory, Told(), str(tmp_path / "mine.json"), f"{url}/epss")
        known = source.known([pypi()], TRIXIE)
    values = findings(known, pypi())
    assert values["GHSA-aaaa-bbbb-cccc"] == (False, None)
    assert (True, 0.5) in values.values()


class Clock:
    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_an_address_is_asked_again_after_hours_and_its_last_answer_serves() -> None:
    answers: list[Answer] = [(200, catalogue("CVE-2026-1000")), (500, b""), (200, catalogue("CVE-2026-2000"))]
    asked: list[str] = []

    def handle(method: str, path: str, body: bytes) -> Answer:
        asked.append(path)
        return answers[len(asked) - 1]

    clock = Clock()
    with serving(handle) as url:
        feed = of_address(f"{url}/kev", parse_exploited, "The catalogue", clock)
        assert feed.now() is feed.now()
        assert len(asked) == 1
        clock.now += 6 * 3600
        assert feed.now().cves == {"CVE-2026-1000"}  # the server fails
        assert feed.now().cves == {"CVE-2026-1000"}
        assert len(asked) == 2
        clock.now += 300
        assert feed.now().cves == {"CVE-2026-2000"}
        assert len(asked) == 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((404, b""), Transient),
        ((500, b""), Transient),
        ((200, b"<html>"), Permanent),
        ((200, b""), Permanent),
    ],
)
def test_an_address_without_an_answer_is_left_alone_for_minutes(
    answer: Answer, error: type[DmzError]
) -> None:
    asked: list[str] = []

    def handle(method: str, path: str, body: bytes) -> Answer:
        asked.append(path)
        return answer

    clock = Clock()
    with serving(handle) as url:
        feed = of_address(f"{url}/kev", parse_exploited, "The catalogue", clock)
        for _ in range(3):
            with pytest.raises(error, match=url):
                feed.now()
        assert len(asked) == 1
        clock.now += 300
        with pytest.raises(error):
            feed.now()
        assert len(asked) == 2


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.advisories.joined.MAX_FILE", 1000)
    with (
        serving(lambda *_: (200, b"x" * 5000)) as url,
        pytest.raises(Permanent, match="more than 1000 bytes"),
    ):
        of_address(url, parse_exploited, "The catalogue").now()


def test_the_settings_say_where_from(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = Settings(project="test-project", advisories=str(directory))
    known = advisories(settings, "scanner").known([pypi()], TRIXIE)
    assert [one.name for one in known.source.also] == [KEV, EPSS]
    assert capsys.readouterr().err == ""
    settings = Settings(project="test-project", advisories=str(directory), kev=str(directory / "none.json"))
    known = advisories(settings, "scanner").known([pypi()], TRIXIE)
    assert [one.name for one in known.source.also] == [EPSS]
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["severity"], line["stage"]) == ("data-lacking", "WARNING", "scanner")
    assert "none.json" in line["message"]
    (directory / KEV_FILE).unlink()
    advisories(Settings(project="test-project", advisories=str(directory)), "scanner").known([pypi()], TRIXIE)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["severity"]) == ("data-lacking", "INFO")


def test_over_the_api_both_are_asked_where_they_are_named() -> None:
    def handle(method: str, path: str, body: bytes) -> Answer:
        return 200, catalogue("CVE-2026-1000") if path == "/kev" else estimates(CVE_2026_1000="0.5")

    class Flawed:
        def known(self, packages: Iterable[Package], release: Release) -> Known:
            raise Transient("The API is away.")

    with serving(handle) as url:
        kev, epss = official(f"{url}/kev", f"{url}/epss")
        assert kev.now().cves == {"CVE-2026-1000"}
        assert epss.now().of(["CVE-2026-1000"]) == {"CVE-2026-1000": 0.5}
        with pytest.raises(Transient, match="The API is away"):
            Joined(Flawed(), kev, epss, Told().tell).known([pypi()], TRIXIE)


def test_many_findings_are_joined_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question about CVEs that were asked before does not read the estimates again."""
    source = joined(directory, Told())
    first = source.known([pypi()], TRIXIE)
    monkeypatch.setattr("shared.advisories.exploitation._blocks", lambda *_: pytest.fail("read again"))
    assert source.known([pypi()], TRIXIE) == first
