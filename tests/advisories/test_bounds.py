"""Input of a size or a kind that nobody means well with: bounded work, and never clean by accident."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.advisories import osv
from shared.advisories.match import Query, match, records_about
from shared.advisories.zips import ZipAdvisories
from tests.advisories.build import TRIXIE, affected, deb, events, found, one, pypi, record, zipped

ALL = events(("introduced", "0"))
LONG = "1." + "9" * 10_000


def calls(work: Callable[[], object]) -> int:
    """How many calls it takes: a measure of work that a busy machine does not change."""
    profile = cProfile.Profile()
    profile.enable()
    work()
    profile.disable()
    return int(pstats.Stats(profile).total_calls)


def test_a_hundred_thousand_findings_of_one_package() -> None:
    read = osv.read(record("X", affected(ALL)), "x", lambda *_: True)
    records = (replace(read, id=f"X-{n}") for n in range(100_000))
    findings = match([pypi()], TRIXIE, records)[pypi().purl]
    assert len(findings) == 100_000
    assert len({finding.id for finding in findings}) == 100_000


@pytest.mark.parametrize("shape", ["a chain", "a chain from its end", "one alias of all"])
def test_work_grows_as_the_findings_do(shape: str) -> None:
    """Also where the records are aliases of each other: then all are one finding."""

    def alias(n: int) -> str:
        return {"a chain": f"X-{n + 1:06}", "a chain from its end": f"X-{n - 1:06}"}.get(shape, "X-")

    def chain(length: int) -> list[osv.Record]:
        raws = [record(f"X-{n:06}", affected(ALL), aliases=[alias(n)]) for n in range(length)]
        return [osv.read(raw, "x", lambda *_: True) for raw in raws]

    small, large = chain(1_000), chain(8_000)
    few = calls(lambda: match([pypi()], TRIXIE, small))
    assert calls(lambda: match([pypi()], TRIXIE, large)) < 16 * few
    (finding,) = match([pypi()], TRIXIE, large)[pypi().purl]
    assert len(finding.aliases) == 8_000


def test_work_grows_as_the_packages_do_that_one_record_is_about() -> None:
    def asked(count: int) -> int:
        raw = record("X-1", *(affected(ALL, name=f"p{n}") for n in range(count)))
        read = osv.read(raw, "x", lambda *_: True)
        queries = [Query("PyPI", f"p{n}", "1.0") for n in range(count)]
        return calls(lambda: records_about(queries, [read]))

    assert asked(4_000) < 16 * asked(500)


@pytest.mark.parametrize(
    "version", [LONG, "9" * 10_000, "1" + ".0" * 5_000, "1.0+" + "a" * 10_000, "x" * 10_000]
)
def test_a_python_version_of_ten_thousand_characters_is_undecided(version: str) -> None:
    package = pypi().model_copy(update={"version": version})
    finding = one(package, record())
    assert finding is not None
    assert "is not one that PEP 440 can order" in finding.undecided
    assert len(finding.undecided) < 300


@pytest.mark.parametrize("version", [LONG, "1:" + "0~" * 5_000, "-" * 10_000, "1-" + "a" * 10_000])
def test_a_debian_version_of_ten_thousand_characters_is_undecided(version: str) -> None:
    package = deb("thing", "1").model_copy(update={"version": version, "source_version": version})
    finding = one(package, record("DEBIAN-CVE-2026-1", affected(ALL, ecosystem="Debian:13")))
    assert finding is not None
    assert "is not one that Debian can order" in finding.undecided


@pytest.mark.parametrize("kind", ["introduced", "fixed", "last_affected", "limit"])
def test_an_event_of_ten_thousand_characters_is_undecided(kind: str) -> None:
    strange = events(("introduced", "0"), (kind, LONG))
    for package, ecosystem in ((pypi(), "PyPI"), (deb("thing", "1"), "Debian:13")):
        finding = one(package, record("X-1", affected(strange, ecosystem=ecosystem)))
        assert finding is not None
        assert finding.undecided
        assert len(finding.undecided) < 300
        assert all(len(fix) <= 200 for fix in finding.fixed)
        assert bool(finding.fixed) == (kind == "fixed")


def test_listed_versions_of_ten_thousand_characters_are_no_obstacle() -> None:
    entry = affected(versions=["1.0", *("9" * 10_000 + str(n) for n in range(200))])
    assert one(pypi(), record("X-1", entry)) is not None
    assert one(pypi(version="2.0"), record("X-1", entry)) is None


def test_ids_and_aliases_are_texts_of_a_length_that_has_an_end(tmp_path: Path) -> None:
    known = ZipAdvisories(zipped(tmp_path, "PyPI", record(), {**record("X-1"), "id": "X" * 150})).known(
        [pypi()], TRIXIE
    )
    assert known.lacking.keys() == {pypi().purl}
    finding = one(pypi(), record(aliases=["CVE-2026-1", "y" * 10_000, 7]))
    assert finding is not None
    assert (finding.id, finding.aliases) == ("PYSEC-2026-1", ("CVE-2026-1",))


KELVIN, CYRILLIC = "\N{KELVIN SIGN}eras", "ker\N{CYRILLIC SMALL LETTER A}s"


@pytest.mark.parametrize("name", [KELVIN, CYRILLIC, "ker\u200bas", "KERA\N{LATIN SMALL LETTER LONG S}"])
def test_a_name_in_mixed_scripts_is_no_name_of_pypi(name: str, tmp_path: Path) -> None:
    flaw = record("X-1", affected(ALL, name=name))
    assert found([pypi("keras")], flaw) == {}
    zipped(tmp_path, "PyPI", flaw, record())
    known = ZipAdvisories(tmp_path).known([pypi("keras"), pypi()], TRIXIE)
    assert (known.findings.keys(), known.lacking) == ({pypi().purl}, {})


def test_names_that_are_odd_in_every_way_are_only_not_found(tmp_path: Path) -> None:
    names = ["", " ", "\0", "'; DROP TABLE names; --", "a" * 10_000, "\N{SNOWMAN}", "../../x", "%s", KELVIN]
    raws: list[dict[str, Any]] = [record(f"X-{n}", affected(ALL, name=name)) for n, name in enumerate(names)]
    zipped(tmp_path, "PyPI", *raws, record())
    queries = [Query("PyPI", osv.normal_name("PyPI", name), "1.0") for name in (*names, "thing")]
    reading = ZipAdvisories(tmp_path).reading("PyPI", queries)
    said = records_about(queries, reading)
    assert reading.lacking == {}
    assert [said[one].affected for one in queries] == [(f"X-{n}",) for n in range(len(names))] + [
        ("PYSEC-2026-1",)
    ]
