"""Advisories to findings: names, releases, aliases, severity, fixes."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.advisories import osv
from shared.advisories.zips import ZipAdvisories
from shared.errors import Permanent
from shared.model.package import Package
from tests.advisories.build import (
    BOOKWORM,
    HIGH,
    JAMMY,
    LOW,
    TRIXIE,
    affected,
    deb,
    events,
    found,
    one,
    pypi,
    record,
    zipped,
)

BELOW_2 = events(("introduced", "0"), ("fixed", "2.0"))


def test_names_of_pypi_are_equal_after_normalization() -> None:
    finding = one(pypi("zope-interface"), record("PYSEC-2026-1", affected(BELOW_2, name="Zope.Interface")))
    assert finding is not None
    assert finding.fixed == ("2.0",)


def test_a_name_in_another_ecosystem_is_another_package() -> None:
    other = record("GHSA-aaaa-bbbb-cccc", affected(BELOW_2, ecosystem="npm"))
    assert one(pypi(), other) is None
    assert found([pypi(), deb("thing", "1.0")], other, record()).keys() == {pypi().purl}


def test_withdrawn_records_do_not_count() -> None:
    withdrawn = record("PYSEC-2026-1", withdrawn="2026-01-01T00:00:00Z")
    assert one(pypi(), withdrawn) is None
    # nor as a bridge between two others, nor with their severity
    bridge = record("X-1", withdrawn="2026-01-01T00:00:00Z", aliases=["A-1", "B-1"], severity=[HIGH])
    assert len(found(pypi(), bridge, record("A-1"), record("B-1"))[pypi().purl]) == 2


def test_aliases_are_one_finding_also_through_a_third_name() -> None:
    records = [
        record("PYSEC-2026-1", aliases=["CVE-2026-1"]),
        record("GHSA-aaaa-bbbb-cccc", aliases=["CVE-2026-1", "CVE-2026-2"], severity=[HIGH]),
        record("OTHER-1", aliases=["CVE-2026-2"], severity=[LOW]),
    ]
    for order in (records, records[::-1]):
        finding = one(pypi(), *order)
        assert finding is not None
        assert finding.id == "GHSA-aaaa-bbbb-cccc"
        assert finding.aliases == ("CVE-2026-1", "CVE-2026-2", "OTHER-1", "PYSEC-2026-1")
        assert (finding.severity, finding.score) == ("HIGH", 7.5)
        assert finding.summary == "GHSA-aaaa-bbbb-cccc is bad"


def test_an_alias_names_the_finding_even_if_its_record_is_not_there() -> None:
    finding = one(pypi(), record("PYSEC-2026-1", aliases=["GHSA-aaaa-bbbb-cccc", "CVE-2026-1"]))
    assert finding is not None
    assert (finding.id, finding.aliases) == ("GHSA-aaaa-bbbb-cccc", ("CVE-2026-1", "PYSEC-2026-1"))


def test_severity_comes_from_a_twin_that_does_not_match_by_itself() -> None:
    twin = record(
        "GHSA-aaaa-bbbb-cccc",
        affected(events(("introduced", "5.0"), ("fixed", "6.0"))),
        aliases=["PYSEC-2026-1"],
        database_specific={"severity": "CRITICAL"},
    )
    finding = one(pypi(), record(), twin)
    assert finding is not None
    assert (finding.severity, finding.score) == ("CRITICAL", None)
    assert finding.fixed == ("2.0",)


def test_a_record_without_versions_leaves_it_to_its_twin() -> None:
    silent = record("PYSEC-2026-1", affected(), aliases=["GHSA-aaaa-bbbb-cccc"])
    twin = record("GHSA-aaaa-bbbb-cccc", aliases=["PYSEC-2026-1"])
    alone = one(pypi(version="3.0"), silent)
    assert alone is not None
    assert alone.undecided == "PYSEC-2026-1: it names no versions"
    assert one(pypi(version="3.0"), silent, twin) is None
    both = one(pypi(version="1.0"), silent, twin)
    assert both is not None
    assert both.undecided == ""


def test_an_undecided_record_is_not_cleared_by_its_twin() -> None:
    strange = record("PYSEC-2026-1", affected(events(("introduced", "2024-12-04"))), aliases=["CVE-2026-1"])
    twin = record("GHSA-aaaa-bbbb-cccc", aliases=["CVE-2026-1"])
    finding = one(pypi(version="3.0"), strange, twin)
    assert finding is not None
    assert "PYSEC-2026-1: its version 2024-12-04 cannot be ordered" in finding.undecided


def test_an_unknown_schema_is_undecided_unless_the_package_is_listed() -> None:
    future = record("PYSEC-2026-1", schema_version="2.0.0")
    finding = one(pypi(version="3.0"), future)
    assert finding is not None
    assert "schema version 2.0.0" in finding.undecided


def test_fixes_are_those_above_the_version_in_order() -> None:
    ranges = [
        events(("introduced", "0"), ("fixed", "1.26.5")),
        events(("introduced", "2.0"), ("fixed", "2.10"), ("introduced", "3.0"), ("fixed", "3.9")),
    ]
    finding = one(pypi(version="2.1"), record("PYSEC-2026-1", affected(*ranges)))
    assert finding is not None
    assert finding.fixed == ("2.10", "3.9")


def test_reports_of_malice() -> None:
    report = record("MAL-2026-1", affected(events(("introduced", "0"))), aliases=["GHSA-aaaa-bbbb-cccc"])
    finding = one(pypi(), report)
    assert finding is not None
    assert (finding.malicious, finding.fixed) == (True, ())
    only_one = record("MAL-2026-2", affected(versions=["1.1"]), aliases=["GHSA-dddd-bbbb-cccc"])
    twin = record("GHSA-dddd-bbbb-cccc", aliases=["MAL-2026-2"])
    other = one(pypi(version="1.0"), only_one, twin)
    assert other is not None
    assert not other.malicious


def test_debian_is_judged_by_its_source_package_and_version() -> None:
    flaw = record(
        "DEBIAN-CVE-2026-1",
        affected(
            events(("introduced", "0"), ("fixed", "2.38.1-6")), name="util-linux", ecosystem="Debian:13"
        ),
    )
    bsdutils = deb("bsdutils", "1:2.38.1-5", "util-linux", "2.38.1-5")
    finding = one(bsdutils, flaw)
    assert finding is not None
    assert (finding.id, finding.aliases, finding.fixed) == (
        "CVE-2026-1",
        ("DEBIAN-CVE-2026-1",),
        ("2.38.1-6",),
    )
    # the binary's epoch would have hidden it, the binary's name too
    assert one(deb("bsdutils", "1:2.38.1-5"), flaw) is None
    assert one(deb("util-linux", "2.38.1-5"), flaw) is not None
    assert one(deb("bsdutils", "1:2.38.1-6", "util-linux", "2.38.1-6"), flaw) is None


@pytest.mark.parametrize(
    ("ecosystem", "expected"),
    [("Debian:13", "affected"), ("Debian:12", "clean"), ("Debian:1", "clean"), ("Debian", "undecided")],
)
def test_a_debian_release_matches_exactly(ecosystem: str, expected: str) -> None:
    finding = one(deb("thing", "1.0"), record("DSA-1", affected(BELOW_2, ecosystem=ecosystem)))
    assert ("clean" if finding is None else "undecided" if finding.undecided else "affected") == expected


@pytest.mark.parametrize(
    ("ecosystem", "expected"),
    [
        ("Ubuntu:22.04", True),
        ("Ubuntu:22.04:LTS", True),
        ("Ubuntu:Pro:22.04:LTS", False),
        ("Ubuntu:24.04:LTS", False),
        ("Debian:13", False),
    ],
)
def test_an_ubuntu_release_with_and_without_lts(ecosystem: str, expected: bool) -> None:
    flaw = record("USN-1-1", affected(BELOW_2, ecosystem=ecosystem))
    assert (one(deb("thing", "1.0", release=JAMMY), flaw, release=JAMMY) is not None) is expected


def test_one_debian_advisory_of_many_cves_does_not_join_them() -> None:
    many = record("DSA-1-1", affected(BELOW_2, ecosystem="Debian:12"), upstream=["CVE-2026-1", "CVE-2026-2"])
    first = record("DEBIAN-CVE-2026-1", affected(BELOW_2, ecosystem="Debian:12"), upstream=["CVE-2026-1"])
    second = record("DEBIAN-CVE-2026-2", affected(BELOW_2, ecosystem="Debian:12"), upstream=["CVE-2026-2"])
    package = deb("thing", "1.0", release=BOOKWORM)
    ids = [f.id for f in found(package, many, first, second, release=BOOKWORM)[package.purl]]
    assert ids == ["CVE-2026-1", "CVE-2026-2", "DSA-1-1"]


def test_an_entry_without_a_package_is_about_a_repository() -> None:
    assert one(pypi(), record("CVE-2026-1", {"ranges": [BELOW_2]})) is None


@pytest.mark.parametrize(
    "broken",
    [
        {"affected": []},
        {"id": 7},
        {"id": "A", "affected": {"package": "x"}},
        {"id": "A", "affected": [7]},
        {"id": "A", "affected": [{"package": "thing"}]},
        {"id": "A", "affected": [{"package": {"name": 7, "ecosystem": "PyPI"}}]},
        [],
        None,
    ],
)
def test_a_record_that_does_not_say_whom_it_touches_ends_it(broken: object) -> None:
    with pytest.raises(Permanent, match=r"broken\.json"):
        osv.read(broken, "broken.json", lambda *_: True)


def test_files_fetched_by_url_have_no_advisories() -> None:
    generic = Package(ecosystem="generic", name="thing", version="sha256:" + "0" * 64)
    assert found(generic, record(), release=TRIXIE) == {}


def test_a_package_from_a_url_is_judged_by_what_is_known_of_its_name_and_version(tmp_path: Path) -> None:
    """Where it came from is the policy's question; that its version is listed counts all the same."""
    own = pypi(version="1.0+git.abc")
    finding = one(own, record())
    assert finding is not None
    generic = Package(ecosystem="generic", name="thing", version="sha256:" + "0" * 64)
    known = ZipAdvisories(zipped(tmp_path, "PyPI", record())).known([own, generic], TRIXIE)
    assert (known.findings.keys(), known.lacking) == ({own.purl}, {})


def test_a_report_of_malice_without_versions_is_undecided_and_malicious() -> None:
    finding = one(pypi(), record("MAL-2026-1", affected()))
    assert finding is not None
    assert (finding.malicious, bool(finding.undecided)) == (True, True)


def test_a_ghsa_without_a_twin_counts() -> None:
    finding = one(pypi(), record("GHSA-aaaa-bbbb-cccc", aliases=["CVE-2026-1"]))
    assert finding is not None
    assert finding.aliases == ("CVE-2026-1",)
