"""The snapshot that the project carries, and the script that made it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import shared.data.advisories
from shared.advisories import osv
from shared.advisories.archive import records
from shared.advisories.match import match
from shared.advisories.zips import ZipAdvisories
from shared.data.advisories import trim
from tests.advisories.build import BOOKWORM, TRIXIE, affected, deb, events, found, pypi, record, zipped

SNAPSHOT = Path(shared.data.advisories.__file__).parent
CORRECTIONS = yaml.safe_load(trim.CORRECTIONS.read_text())


def test_it_is_small_and_says_where_it_comes_from() -> None:
    assert sum(path.stat().st_size for path in SNAPSHOT.glob("*/all.zip")) < 4_000_000
    readme = (SNAPSHOT / "README.md").read_text()
    assert all(word in readme for word in ("CC-BY-4.0", "pypa/advisory-database", "derived"))
    counts = {name: sum(1 for _ in records(SNAPSHOT / name / "all.zip")) for name in ("PyPI", "Debian")}
    assert counts == {"PyPI": 6_811 + 5, "Debian": 2_852 + 3}
    assert "6,811" in readme
    assert "2,852" in readme


def test_trimming_it_again_changes_nothing(tmp_path: Path) -> None:
    keep = ["PyPI", "Debian:12", "Debian:13"]
    trim.trim(SNAPSHOT, tmp_path, keep, CORRECTIONS)
    for name in ("PyPI", "Debian"):
        again, kept = (dict(records(place / name / "all.zip")) for place in (tmp_path, SNAPSHOT))
        assert again == kept
    first = (tmp_path / "Debian" / "all.zip").read_bytes()
    trim.trim(SNAPSHOT, tmp_path, keep, CORRECTIONS)
    assert (tmp_path / "Debian" / "all.zip").read_bytes() == first


def test_trimming_leaves_verdicts_as_they_were(tmp_path: Path) -> None:
    git = {"type": "GIT", "repo": "https://example.org", "events": [{"introduced": "0"}, {"fixed": "a" * 40}]}
    full = [
        record(
            "PYSEC-2026-1",
            affected(
                git, events(("introduced", "0"), ("fixed", "2.0")), versions=["1.0", "1.5", "3.0", "weird"]
            ),
            affected(events(("introduced", "0"))),
            details="long " * 1000,
            references=[{"type": "WEB", "url": "https://example.org"}],
            aliases=["GHSA-aaaa-bbbb-cccc"],
            database_specific={"severity": "HIGH", "cwe_ids": []},
        ),
        record("PYSEC-2026-2", affected(git)),
        record("PYSEC-2026-3", affected(events(("introduced", "0"), ("last_affected", "2024-12-04")))),
        record("PYSEC-2026-4", withdrawn="2026-01-01T00:00:00Z"),
        record("GHSA-dddd-bbbb-cccc", affected(events(("introduced", "0")), ecosystem="npm")),
    ]
    trim.trim(zipped(tmp_path / "full", "PyPI", *full), tmp_path / "small", ["PyPI"], [])
    small = [raw for _, raw in records(tmp_path / "small" / "PyPI" / "all.zip")]
    assert [raw["id"] for raw in small] == ["PYSEC-2026-1", "PYSEC-2026-2", "PYSEC-2026-3"]
    assert small[0]["affected"][0]["versions"] == ["3.0", "weird"]
    for version in ("0.1", "1.0", "1.5.0", "2.0", "3.0", "4.0", "weird", "1.0+local"):
        assert found(pypi(version=version), *small) == found(pypi(version=version), *full)


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda correction: correction["id"])
def test_every_correction_is_in_it_with_its_reason(correction: dict[str, str]) -> None:
    ecosystem = correction["ecosystem"].split(":")[0]
    raw = dict(records(SNAPSHOT / ecosystem / "all.zip"))[f"{correction['id']}.json"]
    assert raw["database_specific"]["correction"] == correction["reason"]


def test_rebuilds_for_a_release_are_not_taken_for_older_than_their_fix() -> None:
    advisories = ZipAdvisories(SNAPSHOT)
    current = [
        deb("libexpat1", "2.9.0-1~deb13u1", "expat", "2.9.0-1~deb13u1"),
        deb("libopenjp2-7", "2.5.3-2.1~deb13u2", "openjpeg2", "2.5.3-2.1~deb13u2"),
    ]
    assert advisories.known(current, TRIXIE).findings == {}
    old = deb("libexpat1", "2.8.3-1~deb13u1", "expat", "2.8.3-1~deb13u1")
    assert advisories.known([old], TRIXIE).findings[old.purl][0].fixed
    assert advisories.known([deb("less", "590-2.1~deb12u2", release=BOOKWORM)], BOOKWORM).findings == {}


def test_keras_is_judged_by_its_version() -> None:
    advisories = ZipAdvisories(SNAPSHOT)
    assert advisories.known([pypi("keras", "3.15.1")], TRIXIE).findings == {}
    ids = {
        f.id
        for f in advisories.known([pypi("keras", "3.10.0")], TRIXIE).findings[pypi("keras", "3.10.0").purl]
    }
    assert {"GHSA-c9rc-mg46-23w3", "GHSA-36fq-jgmw-4r9c"} <= ids


def test_no_real_record_breaks_the_matching() -> None:
    """Every record against a low and an unreadable version of its own packages."""
    raws = [raw for name in ("PyPI", "Debian") for _, raw in records(SNAPSHOT / name / "all.zip")]
    read = [osv.read(raw, raw["id"], lambda *_: True) for raw in raws]
    names = sorted({(entry.ecosystem, entry.name) for one in read for entry in one.affected})
    pythons = [name for ecosystem, name in names if ecosystem == "PyPI"]
    assert len(pythons) > 1000
    undecided = match([pypi(name, "no version") for name in pythons], TRIXIE, read)
    assert len(undecided) == len(pythons)  # never clean
    assert len(match([pypi(name, "0.0.0.dev1") for name in pythons], TRIXIE, read)) > 1000
