"""OSV.dev's API in the shape that its pages describe, on loopback: batches, pages, forms of names."""

from __future__ import annotations

from shared.advisories.api import OsvApi
from tests.advisories.build import JAMMY, TRIXIE, affected, deb, events, found, pypi, record
from tests.advisories.osv_server import BELOW_2, Osv
from tests.advisories.server import serving


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
        known = OsvApi(url, clock=lambda: 1_800_000_000).known(packages, TRIXIE)
    assert known.findings == found(packages, *records)
    assert known.lacking == {}
    assert len(known.findings) == 2
    assert osv.fetched == {"PYSEC-2026-1": 1, "DEBIAN-CVE-2026-1": 1}
    assert known.source.source == "osv.dev api"
    assert known.source.date == "2027-01-15T08:00:00Z"


def test_only_questions_with_more_to_tell_are_asked_again() -> None:
    records = [record(f"PYSEC-2026-{i}") for i in range(7)] + [
        record("PYSEC-2026-99", affected(BELOW_2, name="b"))
    ]
    osv = Osv(*records, page=3)
    with serving(osv) as url:
        findings = OsvApi(url).known([pypi(), pypi("b"), pypi("c")], TRIXIE).findings
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
        OsvApi(url).known([pypi(f"p{i}") for i in range(2500)] + [pypi()], TRIXIE)
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
        OsvApi(url).known(packages, JAMMY)
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
        (finding,) = OsvApi(url).known([pypi()], TRIXIE).findings[pypi().purl]
    assert "OSV.dev lists it" in finding.undecided


def test_records_are_kept_until_they_change() -> None:
    osv = Osv(record())
    with serving(osv) as url:
        api = OsvApi(url)
        first = api.known([pypi()], TRIXIE).source.digest
        assert api.known([pypi()], TRIXIE).source.digest == first
        assert osv.fetched["PYSEC-2026-1"] == 1
        osv.records["PYSEC-2026-1"] = record(modified="2026-11-21T00:00:00Z", severity=[])
        assert api.known([pypi()], TRIXIE).source.digest != first
        assert osv.fetched["PYSEC-2026-1"] == 2
