"""Fetching OSV's zips: whole or not at all, young ones kept, and no waiting where there is no way out."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from shared.advisories.download import download
from shared.advisories.zips import ZipAdvisories
from shared.errors import Permanent, Transient
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
