"""The index of a zip: the same answers as without it, and never believed when it is damaged or another zip's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.advisories import archive, index, osv, reduced
from shared.advisories.archive import prepare
from shared.advisories.match import Query
from shared.advisories.zips import ZipAdvisories
from tests.advisories.build import HIGH, LOW, TRIXIE, affected, events, pypi, record, zipped
from tests.advisories.test_snapshot import SNAPSHOT

OTHER = record("PYSEC-2026-2", affected(events(("introduced", "0")), name="other"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    zipped(tmp_path, "PyPI", record(), OTHER)
    prepare(tmp_path / "PyPI" / "all.zip", "PyPI")
    return tmp_path


def found(directory: Path, indexes: Path | None = None) -> dict[str, list[str]]:
    known = ZipAdvisories(directory, indexes=indexes).known([pypi(), pypi("other"), pypi("third")], TRIXIE)
    assert known.lacking == {}
    return {purl: [finding.id for finding in findings] for purl, findings in known.findings.items()}


BOTH = {pypi().purl: ["PYSEC-2026-1"], pypi("other").purl: ["PYSEC-2026-2"]}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every pass over a whole zip."""
    made: list[Path] = []
    original = archive.make

    def counted(path: Path, *rest: object) -> index.Index:
        made.append(path)
        return original(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(archive, "make", counted)
    return made


def test_with_an_index_no_pass_is_made(directory: Path, passes: list[Path]) -> None:
    assert found(directory) == BOTH
    assert passes == []
    (directory / "PyPI" / "all.zip.index").unlink()
    assert found(directory) == BOTH
    assert len(passes) == 1


def test_an_index_is_kept_where_it_may_be(tmp_path: Path, passes: list[Path]) -> None:
    zipped(tmp_path / "osv", "PyPI", record(), OTHER)
    for _ in range(2):
        assert found(tmp_path / "osv", tmp_path / "kept") == BOTH
    assert len(passes) == 1
    assert not (tmp_path / "osv" / "PyPI" / "all.zip.index").exists()
    (tmp_path / "file").write_text("")
    assert found(tmp_path / "osv", tmp_path / "file") == BOTH


def test_every_damaged_byte_is_seen(directory: Path, passes: list[Path]) -> None:
    path = directory / "PyPI" / "all.zip.index"
    whole = path.read_bytes()
    step = max(1, len(whole) // 60)
    for place in range(0, len(whole), step):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert found(directory) == BOTH, place
    assert len(passes) == len(range(0, len(whole), step))


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"x" * 32, b"x" * 5000])
def test_what_is_no_index_is_none(directory: Path, passes: list[Path], content: bytes) -> None:
    (directory / "PyPI" / "all.zip.index").write_bytes(content)
    assert found(directory) == BOTH
    assert len(passes) == 1


def test_the_index_of_another_zip_is_none(directory: Path, passes: list[Path], tmp_path: Path) -> None:
    zipped(tmp_path / "new", "PyPI", record("PYSEC-2026-9"))
    (tmp_path / "new" / "PyPI" / "all.zip").replace(directory / "PyPI" / "all.zip")
    assert found(directory) == {pypi().purl: ["PYSEC-2026-9"]}
    assert len(passes) == 1


def test_the_index_of_another_ecosystem_is_none(tmp_path: Path, passes: list[Path]) -> None:
    path = zipped(tmp_path, "PyPI", record(), OTHER) / "PyPI" / "all.zip"
    prepare(path, "Debian")
    assert len(passes) == 1
    assert found(tmp_path) == BOTH


def test_a_record_that_changed_in_an_open_index_leaves_its_packages_undecided(directory: Path) -> None:
    path = directory / "PyPI" / "all.zip"
    zipped = archive.opened(path, "PyPI", 1_795_300_000.0, None)
    with (directory / "PyPI" / "all.zip.index").open("r+b") as file:
        content = file.read()
        file.seek(content.rindex(b"is bad", 0, content.rindex(b"PYSEC-2026-2")))
        file.write(b"IS")
    reading = archive.Reading(zipped, [Query("PyPI", name, "1.0") for name in ("thing", "other", "third")])
    assert [record.id for record in reading] == ["PYSEC-2026-2"]
    assert list(reading.lacking) == ["thing"]
    assert "PYSEC-2026-1.json" in reading.lacking["thing"]
    assert "all.zip is broken" in reading.lacking["thing"]


@pytest.mark.parametrize("part", ["the zip", "its index"])
def test_what_is_replaced_while_it_is_open_changes_nothing(directory: Path, part: str) -> None:
    path = directory / "PyPI" / "all.zip"
    zipped = archive.opened(path, "PyPI", 1_795_300_000.0, None)
    changed = path if part == "the zip" else path.with_name("all.zip.index")
    changed.with_name("new").write_bytes(b"nothing")
    changed.with_name("new").replace(changed)
    reading = archive.Reading(zipped, [Query("PyPI", name, "1.0") for name in ("thing", "other")])
    assert [record.id for record in reading] == ["PYSEC-2026-1", "PYSEC-2026-2"]
    assert reading.lacking == {}


def test_the_index_of_another_state_of_the_reader_is_none(
    directory: Path, passes: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reduced, "reader", lambda: "0" * 64)
    assert found(directory) == BOTH
    assert len(passes) == 1


@pytest.mark.parametrize("ecosystem", ["PyPI", "Debian"])
def test_what_an_index_keeps_of_a_record_is_what_is_read_of_it(ecosystem: str) -> None:
    seen = 0
    for member, raw in archive.records(SNAPSHOT / ecosystem / "all.zip"):
        read = osv.read(raw, member, lambda *_: True)
        packed = reduced.pack(read)
        assert reduced.unpack(packed, lambda *_: True) == read
        assert reduced.unpack(packed, lambda *_: False) == replace(read, affected=())
        seen += bool(read.affected)
    assert seen > 1000


ODD = [
    record(schema_version="2.0"),
    record(withdrawn=7),
    record(withdrawn="2026-01-01T00:00:00Z"),
    record(severity={}, aliases=["CVE-2026-1", "A-1"], database_specific={"severity": "MODERATE"}),
    record("X-1", affected({"type": "NEW"}, {"type": "ECOSYSTEM"}, severity=[HIGH, 7, LOW])),
    record("X-1", affected(versions=[7]), affected(name="\N{SNOWMAN}", versions=["1", "x" * 300])),
    record("X-1", affected(events(("introduced", "1"), ("limit", "*"), ("last_affected", "\0")))),
]


@pytest.mark.parametrize("raw", ODD, ids=range(len(ODD)))
def test_what_is_odd_in_a_record_is_kept(raw: dict[str, Any]) -> None:
    read = osv.read(raw, "it", lambda *_: True)
    assert reduced.unpack(reduced.pack(read), lambda *_: True) == read


def test_the_newest_date_depends_on_the_clock_and_not_on_the_index(tmp_path: Path) -> None:
    path = (
        zipped(tmp_path, "PyPI", record(), record("PYSEC-2026-2", modified="2027-07-09T15:45:00Z"))
        / "PyPI"
        / "all.zip"
    )
    prepare(path, "PyPI")
    assert (
        ZipAdvisories(tmp_path, clock=lambda: 1_795_300_000.0).known((), TRIXIE).source.date
        == "2026-11-20T00:00:00Z"
    )
    assert (
        ZipAdvisories(tmp_path, clock=lambda: 1_830_000_000.0).known((), TRIXIE).source.date
        == "2027-07-09T15:45:00Z"
    )
