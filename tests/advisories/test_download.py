"""Fetching OSV's zips: whole or not at all, young ones kept, and no waiting where there is no way out."""

from __future__ import annotations

import gzip
import socket
import time
from pathlib import Path

import pytest

from shared.advisories.download import download, download_exploitation
from shared.advisories.joined import KEV_FILE, beside
from shared.advisories.zips import ZipAdvisories
from shared.errors import DmzError, Permanent, Transient
from tests.advisories.build import TRIXIE, pypi, record, zipped
from tests.advisories.server import serving


def names(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


@pytest.fixture
def bucket(tmp_path: Path) -> Path:
    return zipped(tmp_path / "bucket", "PyPI", record())


def test_what_was_fetched_can_be_judged_with(bucket: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def handle(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        asked.append(path)
        return 200, (bucket / path.lstrip("/")).read_bytes()

    with serving(handle) as url:
        sizes: list[tuple[str, int]] = []
        assert download(tmp_path / "a", ["PyPI"], url, progress=lambda *step: sizes.append(step)) == ("PyPI",)
        # young: kept; old: fetched again; damaged: fetched again
        assert download(tmp_path / "a", ["PyPI"], url) == ()
        assert download(tmp_path / "a", ["PyPI"], url, clock=lambda: time.time() + 7 * 3600) == ("PyPI",)
        (tmp_path / "a" / "PyPI" / "all.zip").write_bytes(b"x")
        assert download(tmp_path / "a", ["PyPI"], url) == ("PyPI",)
    assert asked == ["/PyPI/all.zip"] * 3
    assert sizes[-1] == ("PyPI", (bucket / "PyPI" / "all.zip").stat().st_size)
    assert ZipAdvisories(tmp_path / "a").known([pypi()], TRIXIE).findings
    assert sorted(names(tmp_path / "a" / "PyPI")) == ["all.zip", "all.zip.index"]


@pytest.mark.parametrize(
    ("status", "body", "lie", "error"),
    [
        (404, b"", 0, Permanent),
        (500, b"", 0, Transient),
        (429, b"", 0, Transient),
        (200, b"<html>log in</html>", 0, Transient),
        (200, b"", 0, Transient),
        (200, b"PK\x03\x04", 0, Transient),
        (200, b"PK\x05\x06" + bytes(18), 0, Transient),  # a whole zip with nothing in it
        (200, b"PK\x03\x04", 1000, Transient),  # the connection breaks off
    ],
)
def test_what_is_not_whole_leaves_the_old_file(
    bucket: Path, tmp_path: Path, status: int, body: bytes, lie: int, error: type[Exception]
) -> None:
    path = bucket / "PyPI" / "all.zip"
    before = path.read_bytes()
    with (
        serving(lambda *_: (status, body), lie_about_length=lie) as url,
        pytest.raises(error, match=r"/PyPI/all\.zip"),
    ):
        download(bucket, ["PyPI"], url, max_age_hours=0)
    assert path.read_bytes() == before
    assert names(path.parent) == ["all.zip"]


def test_offline_is_said_at_once(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        with pytest.raises(Transient, match="cannot be reached"):
            download(tmp_path, ["PyPI"], url)
        assert time.monotonic() - started < 2
    assert list(tmp_path.rglob("*.zip*")) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "PyPI").write_text("in the way")
    with pytest.raises(Permanent, match="cannot be stored"):
        download(tmp_path, ["PyPI"], "http://127.0.0.1:9")


CATALOGUE = (
    b'{"dateReleased":"2026-11-20T17:04:19.9Z","count":1,"vulnerabilities":[{"cveID":"CVE-2021-44228"}]}'
)
ESTIMATES = (
    b"#model_version:v1,score_date:2026-11-21T12:55:00Z\ncve,epss,percentile\nCVE-2021-44228,0.9,0.9\n"
)


def test_what_is_exploited_is_fetched_while_it_is_old(tmp_path: Path) -> None:
    asked: list[str] = []

    def handle(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        asked.append(path)
        return 200, CATALOGUE if path == "/kev" else gzip.compress(ESTIMATES, mtime=0)

    with serving(handle) as url:
        download_exploitation(tmp_path, f"{url}/kev", f"{url}/epss")
        download_exploitation(tmp_path, f"{url}/kev", f"{url}/epss")
        assert asked == ["/kev", "/epss"]
        download_exploitation(tmp_path, f"{url}/kev", f"{url}/epss", clock=lambda: time.time() + 7 * 3600)
        assert asked == ["/kev", "/epss"] * 2
    kev, epss = beside(tmp_path, "", "")
    assert kev.now().cves == {"CVE-2021-44228"}
    assert epss.now().of(["CVE-2021-44228"]) == {"CVE-2021-44228": 0.9}
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == [
        "epss_scores-current.csv.gz",
        "known_exploited_vulnerabilities.json",
    ]


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b""), (500, b""), (429, b""), (200, b"<html>"), (200, b""), (200, CATALOGUE[:-1])],
)
def test_one_that_is_not_whole_leaves_its_old_file_and_the_other_is_fetched(
    tmp_path: Path, status: int, body: bytes
) -> None:
    path = tmp_path / KEV_FILE
    path.parent.mkdir()
    path.write_bytes(b"as it was")

    def handle(method: str, path: str, _: bytes) -> tuple[int, bytes]:
        return (status, body) if path == "/kev" else (200, ESTIMATES)

    with serving(handle) as url, pytest.raises(DmzError, match=r"KEV|kev"):
        download_exploitation(tmp_path, f"{url}/kev", f"{url}/epss", max_age_hours=0)
    assert names(path.parent) == [path.name]
    assert path.read_bytes() == b"as it was"
    assert beside(tmp_path, "", "")[1].now().snapshot.date == "2026-11-21T12:55:00Z"


def test_what_has_no_end_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.advisories.download.MAX_FILE", 50)
    with serving(lambda *_: (200, CATALOGUE)) as url, pytest.raises(Permanent, match="more than 50 bytes"):
        download_exploitation(tmp_path, f"{url}/kev", f"{url}/epss")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []
