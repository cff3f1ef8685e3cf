"""The offline layout: what is read, what it is called, and that a broken file is never an empty one."""

from __future__ import annotations

import calendar
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from shared.advisories import osv
from shared.advisories.archive import prepare
from shared.advisories.zips import ZipAdvisories
from shared.model.package import Package, Release
from shared.model.value import canonical, sha256
from shared.model.verdict import Known
from tests.advisories.build import JAMMY, TRIXIE, affected, deb, events, pypi, record, zipped

NOW = float(calendar.timegm((2026, 11, 21, 0, 0, 0)))
DEBIAN = record(
    "DEBIAN-CVE-2026-1",
    affected(events(("introduced", "0"), ("fixed", "2.0")), ecosystem="Debian:13"),
    modified="2026-11-10T00:00:00Z",
)


def advisories(directory: Path) -> ZipAdvisories:
    return ZipAdvisories(directory, clock=lambda: NOW)


def asked(directory: Path, *packages: Package, release: Release = TRIXIE) -> Known:
    return advisories(directory).known(packages, release)


def test_each_package_is_looked_up_in_its_own_ecosystem(tmp_path: Path) -> None:
    zipped(zipped(tmp_path, "PyPI", record()), "Debian", DEBIAN)
    known = asked(tmp_path, pypi(), deb("thing", "1.0"), pypi("other"), deb("other", "1"))
    assert {purl: [finding.id for finding in found] for purl, found in known.findings.items()} == {
        pypi().purl: ["PYSEC-2026-1"],
        deb("thing", "1.0").purl: ["CVE-2026-1"],
    }
    assert known.lacking == {}


def test_source_is_digest_and_date_of_what_is_most_behind(tmp_path: Path) -> None:
    zipped(zipped(zipped(tmp_path, "PyPI", record()), "Debian", DEBIAN), "Ubuntu", record("USN-1"))
    source = asked(tmp_path, pypi(), deb("thing", "1.0")).source
    digests = {
        name: "sha256:" + hashlib.sha256((tmp_path / name / "all.zip").read_bytes()).hexdigest()
        for name in ("Debian", "PyPI")
    }
    assert source.digest == sha256(canonical(digests))  # Ubuntu's was not asked, and not opened
    assert source.date == "2026-11-10T00:00:00Z"
    assert asked(tmp_path, pypi()).source.date == "2026-11-20T00:00:00Z"
    vouched = ZipAdvisories(tmp_path, ["PyPI", "Debian"], clock=lambda: NOW)
    assert vouched.known([pypi()], TRIXIE).source == source
    assert asked(tmp_path).source.date == "2026-11-10T00:00:00Z"


def test_a_date_of_next_year_does_not_make_old_data_fresh(tmp_path: Path) -> None:
    zipped(tmp_path, "PyPI", record(), record("PYSEC-2026-2", modified="2027-07-09T15:45:00Z"))
    assert asked(tmp_path, pypi()).source.date == "2026-11-20T00:00:00Z"


def test_a_new_file_is_opened_at_the_next_question(tmp_path: Path) -> None:
    zipped(tmp_path, "PyPI", record())
    reader = advisories(tmp_path)
    before = reader.known([pypi()], TRIXIE)
    assert reader.known([pypi()], TRIXIE) == before
    other = zipped(tmp_path / "new", "PyPI", record("PYSEC-2026-9"))
    (other / "PyPI" / "all.zip").replace(tmp_path / "PyPI" / "all.zip")
    after = reader.known([pypi()], TRIXIE)
    assert [found.id for found in after.findings[pypi().purl]] == ["PYSEC-2026-9"]
    assert after.source.digest != before.source.digest
    (tmp_path / "PyPI" / "all.zip").unlink()
    assert reader.known([pypi()], TRIXIE).lacking.keys() == {pypi().purl}


def test_a_download_in_the_middle_does_not_mix_two_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is replaced while its records are read."""
    zipped(tmp_path, "PyPI", record(), record("PYSEC-2026-2"))
    expected = asked(tmp_path, pypi())
    zipped(tmp_path / "new", "PyPI", record("PYSEC-2026-9"))
    read = osv.read

    def replaced(*given: Any) -> osv.Record:
        new = tmp_path / "new" / "PyPI" / "all.zip"
        if new.exists():
            new.replace(tmp_path / "PyPI" / "all.zip")
        return read(*given)

    monkeypatch.setattr(osv, "read", replaced)
    assert asked(tmp_path, pypi()) == expected
    assert asked(tmp_path, pypi()) != expected


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
        case "no date":
            zipped(path.parents[1], "PyPI", record(modified=None))
        case "no records":
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("README.md", "nothing")


@pytest.mark.parametrize(
    "how", ["missing", "empty", "truncated", "html", "directory", "no records", "no date", "flipped"]
)
@pytest.mark.parametrize("indexed", [False, True])
def test_a_broken_zip_holds_the_packages_of_its_ecosystem_only(
    tmp_path: Path, how: str, indexed: bool
) -> None:
    zipped(tmp_path, "Debian", DEBIAN)
    path = zipped(tmp_path, "PyPI", record(details="x" * 500)) / "PyPI" / "all.zip"
    if indexed:
        prepare(path, "PyPI")
    _broken(path, how)
    known = asked(tmp_path, pypi(), pypi("other"), deb("thing", "1.0"))
    assert known.findings.keys() == {deb("thing", "1.0").purl}
    assert known.lacking.keys() == {pypi().purl, pypi("other").purl}
    (why,) = set(known.lacking.values())
    assert str(path) in why
    assert "etch" in why  # fetch it (again)
    assert "\n" not in why
    assert not why.endswith(".")
    # the verdicts name what was read, and nothing else
    if how != "flipped":  # then the zip as such was read
        assert known.source == asked(tmp_path, deb("thing", "1.0")).source


def test_no_data_at_all_holds_everything_and_has_no_date(tmp_path: Path) -> None:
    known = asked(tmp_path, pypi(), deb("thing", "1.0"))
    assert known.lacking.keys() == {pypi().purl, deb("thing", "1.0").purl}
    assert known.findings == {}
    assert known.source.date == ""
    known = asked(tmp_path)
    assert (known.lacking, known.source.date) == ({}, "")


def test_a_distribution_without_data_is_not_clean(tmp_path: Path) -> None:
    zipped(zipped(tmp_path, "PyPI", record()), "Debian", DEBIAN)
    package = deb("thing", "1.0", release=JAMMY)
    known = asked(tmp_path, package, pypi(), release=JAMMY)
    assert "there is no advisory data at" in known.lacking[package.purl]
    assert "Ubuntu/all.zip" in known.lacking[package.purl]
    assert known.findings.keys() == {pypi().purl}


NAMED = {
    "no id": {"affected": [affected()]},
    "empty id": {"id": "", "affected": [affected()]},
    "id is a number": {"id": 7, "affected": [affected()]},
    "of an ecosystem without name": {"id": "A", "affected": [{"package": {"name": "thing"}}]},
}
NAMELESS: dict[str, Any] = {
    "not JSON": b"{",
    "half": json.dumps(record()).encode()[:100],
    "not UTF-8": b'{"id": "A\xff"}',
    "a list": [],
    "nothing": None,
    "affected is an object": {"id": "A", "affected": {"package": "x"}},
    "an entry is a number": {"id": "A", "affected": [7]},
    "a package is a text": {"id": "A", "affected": [{"package": "thing"}]},
    "a package has no name": {"id": "A", "affected": [{"package": {"ecosystem": "PyPI"}}]},
    "a name is a number": {"id": "A", "affected": [{"package": {"name": 7, "ecosystem": "PyPI"}}]},
    "nested without end": b"[" * 100_000,
}
ELSEWHERE: dict[str, Any] = {
    "another ecosystem": {"id": "A", "affected": [{"package": {"name": 7, "ecosystem": "npm"}}]},
    "commits": {"id": "A", "affected": [{"ranges": "?"}]},
    "nobody": {"id": "A"},
    "nobody said so": {"id": "A", "affected": []},
}


def _with(directory: Path, content: Any) -> None:
    """A zip of a good record and one of that content, and no other one."""
    path = zipped(directory, "PyPI", record(), record("X-1", affected(name="other"))) / "PyPI" / "all.zip"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("bad.json", content if isinstance(content, bytes) else json.dumps(content))


@pytest.mark.parametrize("case", NAMED)
def test_a_bad_record_that_says_whom_it_is_about_holds_those(tmp_path: Path, case: str) -> None:
    _with(tmp_path, NAMED[case])
    known = asked(tmp_path, pypi(), pypi("other"))
    assert known.lacking.keys() == {pypi().purl}
    assert "bad.json" in known.lacking[pypi().purl]
    assert str(tmp_path) in known.lacking[pypi().purl]
    assert known.findings.keys() == {pypi().purl, pypi("other").purl}


@pytest.mark.parametrize("case", NAMELESS)
def test_a_bad_record_that_does_not_say_whom_it_is_about_holds_all_of_its_ecosystem(
    tmp_path: Path, case: str
) -> None:
    _with(tmp_path, NAMELESS[case])
    zipped(tmp_path, "Debian", DEBIAN)
    known = asked(tmp_path, pypi(), pypi("third"), deb("thing", "1.0"))
    assert known.lacking.keys() == {pypi().purl, pypi("third").purl}
    assert "bad.json" in known.lacking[pypi().purl]
    assert known.findings.keys() == {pypi().purl, deb("thing", "1.0").purl}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_record_about_nobody_here_holds_nobody(tmp_path: Path, case: str) -> None:
    _with(tmp_path, ELSEWHERE[case])
    assert asked(tmp_path, pypi(), pypi("third")).lacking == {}


def test_of_two_records_with_one_member_name_both_count(tmp_path: Path) -> None:
    path = zipped(tmp_path, "PyPI", record()) / "PyPI" / "all.zip"
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("PYSEC-2026-1.json", json.dumps(record("PYSEC-2026-2")))
    assert [found.id for found in asked(tmp_path, pypi()).findings[pypi().purl]] == [
        "PYSEC-2026-1",
        "PYSEC-2026-2",
    ]


def test_a_record_that_inflates_without_end_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.advisories.archive.MAX_RECORD", 1000)
    zipped(tmp_path, "PyPI", record(details="x" * 5000), record("X-1"))
    zipped(tmp_path, "Debian", DEBIAN)
    known = asked(tmp_path, pypi(), deb("thing", "1.0"))
    assert known.lacking.keys() == {pypi().purl}
    assert "inflates to" in known.lacking[pypi().purl]


def test_no_damage_to_a_zip_makes_a_package_clean_or_ends_the_question(tmp_path: Path) -> None:
    """Bits are flipped, one at a time, all over the file; and it is cut at every length."""
    path = zipped(tmp_path, "PyPI", record(), record("X-1", affected(name="other"))) / "PyPI" / "all.zip"
    whole = path.read_bytes()
    damaged = [
        whole[:place] + bytes([whole[place] ^ (1 << place % 8)]) + whole[place + 1 :]
        for place in range(len(whole))
    ]
    damaged += [whole[:length] for length in range(0, len(whole), 7)]
    for number, data in enumerate(damaged):
        path.write_bytes(data)
        known = asked(tmp_path, pypi())
        assert pypi().purl in {*known.lacking, *known.findings}, number
