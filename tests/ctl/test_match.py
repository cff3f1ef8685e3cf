"""`./dmz match`: a line for each line, and what cannot be asked is undecided."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from functions.ctl.match import match
from shared.errors import Permanent
from tests.advisories.build import affected, events, record, zipped


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    zipped(
        tmp_path,
        "PyPI",
        record("GHSA-1", aliases=["CVE-1"]),
        record("PYSEC-1", affected(), aliases=["CVE-1"]),  # names no versions: its twin does
        record("PYSEC-2", affected(name="silent")),
        record("PYSEC-3", affected(events(("introduced", "0"), ("fixed", "odd one")), name="odd")),
        record("PYSEC-4", withdrawn="2026-01-01T00:00:00Z"),
    )
    zipped(
        tmp_path,
        "Debian",
        record(
            "DEBIAN-CVE-2",
            affected(events(("introduced", "0"), ("fixed", "3.5-2")), name="openssl", ecosystem="Debian:13"),
        ),
    )
    return tmp_path


def asked(directory: Path, *lines: dict[str, Any] | bytes, code: int = 0) -> list[dict[str, Any]]:
    out = io.BytesIO()
    text = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    assert match(directory, text, out, directory / "indexes") == code
    return [json.loads(line) for line in out.getvalue().splitlines()]


def line(id: object, name: str, version: str, ecosystem: str = "PyPI", **more: str) -> dict[str, Any]:
    return {"id": id, "ecosystem": ecosystem, "name": name, "version": version, **more}


def test_each_line_is_answered_in_its_place(directory: Path) -> None:
    answers = asked(
        directory,
        line("a", "Thing", "1.0"),
        line(2, "thing", "2.0"),
        line(None, "silent", "1"),
        line("odd", "odd", "1"),
        line("d", "libssl3t64", "3.5-1+b1", "Debian:13", source_name="openssl", source_version="3.5-1"),
        line("e", "openssl", "3.5-2", "Debian:13"),
        line("f", "openssl", "3.5-1", "Debian:12"),
        line("g", "nobody-knows", "1"),
    )
    assert answers == [
        {"id": "a", "advisories": ["GHSA-1"], "undecided": []},
        {"id": 2, "advisories": [], "undecided": []},
        {"id": None, "advisories": [], "undecided": ["PYSEC-2"]},
        {"id": "odd", "advisories": [], "undecided": ["PYSEC-3"]},
        {"id": "d", "advisories": ["DEBIAN-CVE-2"], "undecided": []},
        {"id": "e", "advisories": [], "undecided": []},
        {"id": "f", "advisories": [], "undecided": []},
        {"id": "g", "advisories": [], "undecided": []},
    ]


BAD: dict[str, tuple[dict[str, Any] | bytes, object, str]] = {
    "no JSON": (b"{", None, "Line 2 is not JSON"),
    "no object": (b"[1]", None, "Line 2 is not a JSON object"),
    "too long": (b'{"id": "' + b"x" * 100_000 + b'"}', None, "Line 2 is not a JSON object of at most"),
    "no version": ({"id": 7, "ecosystem": "PyPI", "name": "thing"}, 7, "Line 2 lacks the text 'version'"),
    "version is a number": (line(7, "thing", 1.0), 7, "Line 2 lacks the text 'version'"),  # type: ignore[arg-type]
    "empty name": (line(7, "", "1"), 7, "Line 2 lacks the text 'name'"),
    "unknown field": (line(7, "thing", "1", source="x"), 7, "Line 2 has a field source"),
    "source is none": (line(7, "thing", "1", source_name=["x"]), 7, "Line 2: source_name"),  # type: ignore[arg-type]
    "mixed scripts": (line(7, "\N{KELVIN SIGN}eras", "1"), 7, "is no name that PyPI would have"),
    "no Debian name": (line(7, "Open SSL", "1", "Debian:13"), 7, "is no name that a Debian package would"),
    "npm": (line(7, "thing", "1", "npm"), 7, "nothing is known of the ecosystem npm"),
    "no release": (line(7, "thing", "1", "Debian"), 7, "nothing is known of the ecosystem Debian"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_asked_is_undecided_and_the_others_are_answered(
    case: str, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, id, sentence = BAD[case]
    first, second, third = asked(directory, line(1, "thing", "1.0"), bad, line(3, "thing", "1.0"), code=1)
    assert first["advisories"] == third["advisories"] == ["GHSA-1"]
    assert (second["id"], second["advisories"]) == (id, [])
    assert sentence in second["undecided"][0]
    assert second["undecided"][0] in capsys.readouterr().err


def test_data_that_is_missing_leaves_its_own_packages_undecided(directory: Path) -> None:
    ubuntu, python = asked(directory, line(1, "openssl", "1", "Ubuntu:22.04"), line(2, "thing", "1.0"))
    assert python["advisories"] == ["GHSA-1"]
    assert "There is no advisory data at" in ubuntu["undecided"][0]


def test_a_broken_zip_leaves_its_own_packages_undecided(directory: Path) -> None:
    asked(directory, line(1, "openssl", "1", "Debian:13"))
    path = directory / "Debian" / "all.zip"
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    python, debian = asked(directory, line(1, "thing", "1.0"), line(2, "openssl", "1", "Debian:13"))
    assert python["advisories"] == ["GHSA-1"]
    assert "all.zip" in debian["undecided"][0]


def test_a_broken_record_leaves_those_undecided_that_it_may_be_about(directory: Path) -> None:
    with zipfile.ZipFile(directory / "PyPI" / "all.zip", "a") as archive:
        archive.writestr("bad.json", json.dumps({"affected": [affected(name="odd")]}))
    thing, odd = asked(directory, line(1, "thing", "1.0"), line(2, "odd", "1"))
    assert thing == {"id": 1, "advisories": ["GHSA-1"], "undecided": []}
    assert odd["undecided"][0] == "PYSEC-3"
    assert "the record bad.json is not one of OSV" in odd["undecided"][1]


def test_versions_by_the_thousand_get_the_answers_that_one_gets(directory: Path) -> None:
    lines = [line(number, "thing", f"{number % 30}.{number}{'+x' * (number % 2)}") for number in range(900)]
    assert asked(directory, *lines) == [
        {
            "id": each["id"],
            "advisories": ["GHSA-1"] * (int(each["version"].split(".")[0]) < 2),
            "undecided": [],
        }
        for each in lines
    ]


def test_no_data_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="There is no advisory data in"):
        asked(tmp_path, line(1, "thing", "1.0"))


def test_long_input_is_answered_in_parts(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.ctl.match._AT_ONCE", 3)
    answers = asked(directory, *(line(number, "thing", f"{number}.0") for number in range(8)))
    assert [(each["id"], len(each["advisories"])) for each in answers] == [(n, int(n < 2)) for n in range(8)]
