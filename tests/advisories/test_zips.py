"""The offline layout: what is read, what it is called, and that a broken file is never an empty one."""

from __future__ import annotations

import calendar
import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from shared.advisories.zips import ZipAdvisories
from shared.errors import Permanent
from shared.model.value import canonical, sha256
from tests.advisories.build import JAMMY, TRIXIE, affected, deb, events, pypi, record, zipped

NOW = float(calendar.timegm((2026, 11, 21, 0, 0, 0)))
DEBIAN = record(
    "DEBIAN-CVE-2026-1",
    affected(events(("introduced", "0"), ("fixed", "2.0")), ecosystem="Debian:13"),
    modified="2026-11-10T00:00:00Z",
)


def advisories(directory: Path) -> ZipAdvisories:
    return ZipAdvisories(directory, clock=lambda: NOW)


def test_each_package_is_looked_up_in_its_own_ecosystem(tmp_path: Path) -> None:
    zipped(zipped(tmp_path, "PyPI", record()), "Debian", DEBIAN)
    packages = [pypi(), deb("thing", "1.0"), pypi("other"), deb("other", "1")]
    found = advisories(tmp_path).findings(packages, TRIXIE)
    assert {purl: [finding.id for finding in found] for purl, found in found.items()} == {
        pypi().purl: ["PYSEC-2026-1"],
        deb("thing", "1.0").purl: ["CVE-2026-1"],
    }


def test_a_release_without_data_cannot_be_judged(tmp_path: Path) -> None:
    zipped(zipped(tmp_path, "PyPI", record()), "Debian", DEBIAN)
    with pytest.raises(Permanent, match=r"There is no advisory data at \S*/Ubuntu/all\.zip: fetch it"):
        advisories(tmp_path).findings([deb("thing", "1.0", release=JAMMY)], JAMMY)


def test_source_is_digest_and_date_of_what_is_most_behind(tmp_path: Path) -> None:
    zipped(zipped(tmp_path, "PyPI", record()), "Debian", DEBIAN)
    source = advisories(tmp_path).source()
    digests = {
        name: "sha256:" + hashlib.sha256((tmp_path / name / "all.zip").read_bytes()).hexdigest()
        for name in ("Debian", "PyPI")
    }
    assert source.digest == sha256(canonical(digests))
    assert source.date == "2026-11-10T00:00:00Z"
    assert ZipAdvisories(tmp_path, ["PyPI"]).source().date == "2026-11-20T00:00:00Z"
    assert advisories(tmp_path).source() == source


def test_a_date_of_next_year_does_not_make_old_data_fresh(tmp_path: Path) -> None:
    zipped(tmp_path, "PyPI", record(), record("PYSEC-2026-2", modified="2027-07-09T15:45:00Z"))
    assert advisories(tmp_path).source().date == "2026-11-20T00:00:00Z"


def test_a_download_in_the_middle_does_not_mix_two_states(tmp_path: Path) -> None:
    zipped(tmp_path, "PyPI", record())
    reader = advisories(tmp_path)
    before = reader.source()
    other = zipped(tmp_path / "new", "PyPI", record("PYSEC-2026-9"))
    (other / "PyPI" / "all.zip").replace(tmp_path / "PyPI" / "all.zip")
    assert reader.findings([pypi()], TRIXIE)[pypi().purl][0].id == "PYSEC-2026-1"
    assert reader.source() == before
    assert advisories(tmp_path).source() != before


def _broken(path: Path, how: str) -> None:
    data = path.read_bytes()
    match how:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "truncated":
            path.write_bytes(data[: len(data) // 2])
        case "flipped":
            middle = data.index(b".json") + 20
            path.write_bytes(data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :])
        case "html":
            path.write_bytes(b"<html>captive portal</html>")
        case "directory":
            path.unlink()
            path.mkdir()
        case "no records":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("README.md", "nothing")
        case "not json":
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr("PYSEC-2026-2.json", "{")
        case "nameless":
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(
                    "PYSEC-2026-2.json", json.dumps({"id": "PYSEC-2026-2", "affected": [{"package": {}}]})
                )


@pytest.mark.parametrize(
    "how",
    ["missing", "empty", "truncated", "flipped", "html", "directory", "no records", "not json", "nameless"],
)
def test_broken_data_is_one_sentence_that_names_the_file(tmp_path: Path, how: str) -> None:
    path = zipped(tmp_path, "PyPI", record(details="x" * 500)) / "PyPI" / "all.zip"
    _broken(path, how)
    for ask in (
        lambda: advisories(tmp_path).findings([pypi()], TRIXIE),
        lambda: advisories(tmp_path).source(),
    ):
        with pytest.raises(Permanent) as caught:
            ask()
        text = str(caught.value)
        assert str(tmp_path) in text
        assert "etch" in text  # fetch it (again)
        assert "\n" not in text
        assert text.endswith(".")


def test_a_distribution_without_data_is_not_clean(tmp_path: Path) -> None:
    zipped(zipped(tmp_path, "PyPI", record()), "Debian", DEBIAN)
    with pytest.raises(Permanent, match=r"Ubuntu/all\.zip"):
        advisories(tmp_path).findings([deb("thing", "1.0", release=JAMMY)], JAMMY)


def test_a_record_that_inflates_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.advisories.zips._MAX_RECORD", 1000)
    zipped(tmp_path, "PyPI", record(details="x" * 5000))
    with pytest.raises(Permanent, match="inflates"):
        advisories(tmp_path).findings([pypi()], TRIXIE)
