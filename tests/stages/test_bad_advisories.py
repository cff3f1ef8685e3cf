"""Broken zips of advisories and monstrous records: what is concerned is held with a sentence, the rest is judged."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.advisories.zips import ZipAdvisories
from tests.advisories.build import HIGH, affected, events, record, zipped
from tests.stages.broken_advisories import LONG, MEBIBYTE, Make, advisories, held, judged, under

PYTHON = {"app", "lib", "mine", "old", "tool"}


# --- zips ---


def empty(path: Path) -> None:
    path.write_bytes(b"")


def missing(path: Path) -> None:
    path.unlink()


def garbage(path: Path) -> None:
    path.write_bytes(b"<html>not today</html>" * 1000)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def without_records(path: Path) -> None:
    zipfile.ZipFile(path, "w").close()


def a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def flipped(path: Path) -> None:
    """One byte of the last record's content."""
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[-1]
    content = bytearray(path.read_bytes())
    content[info.header_offset + 30 + len(info.filename) + 5] ^= 0xFF
    path.write_bytes(bytes(content))


def rewritten(text: bytes) -> Callable[[Path], None]:
    """One more member, which is no record."""

    def add(path: Path) -> None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("GHSA-odd.json", text)

    return add


def odd(**fields: Any) -> Callable[[Path], None]:
    """A record about `tool` that breaks the schema (https://ossf.github.io/osv-schema/)."""
    made = record("GHSA-odd", affected(events(("introduced", "0")), name="tool")) | fields
    return rewritten(json.dumps(made).encode())


BROKEN: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "empty file": (empty, PYTHON),
    "no file": (missing, PYTHON),
    "no zip": (garbage, PYTHON),
    "cut off": (truncated, PYTHON),
    "no records": (without_records, PYTHON),
    "a directory": (a_directory, PYTHON),
    "a flipped byte": (flipped, PYTHON),  # nobody can tell whom the record is about
    "not JSON": (rewritten(b"{"), PYTHON),
    "not UTF-8": (rewritten(b'{"id": "\xff"}'), PYTHON),
    "half a surrogate pair": (rewritten(rb'{"id": "\ud800"}'), PYTHON),
    "a list": (rewritten(b"[]"), PYTHON),
    "nested without end": (rewritten(b"[" * 100_000), PYTHON),
    "ranges are text": (
        odd(affected=[{"package": {"ecosystem": "PyPI", "name": "tool"}, "ranges": "all"}]),
        {"tool"},
    ),
    "an event is a number": (
        odd(affected=[affected({"type": "ECOSYSTEM", "events": [1]}, name="tool")]),
        {"tool"},
    ),
    "versions are numbers": (odd(affected=[affected(name="tool", versions=[1.0])]), {"tool"}),
    "aliases are text": (odd(aliases="CVE-1"), {"tool"}),
    "a severity that is none": (odd(severity=["HIGH"]), {"tool"}),
}


@pytest.mark.parametrize(("harm", "concerned"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_zips_hold_what_they_are_about(
    make: Make, tmp_path: Path, harm: Callable[[Path], None], concerned: set[str]
) -> None:
    directory = advisories(tmp_path / "osv", record("GHSA-x", affected(name="nobody-has-it", versions=["1"])))
    harm(directory / "PyPI" / "all.zip")
    world = under(make, ZipAdvisories(directory))
    run_id = world.request()
    verdicts = judged(world, run_id)
    refused = {name: each.reason for name, each in verdicts.items() if each.decision != "allow"}
    assert refused.keys() == concerned | {"lib"}
    for name in concerned - {"lib"}:
        assert "PyPI/all.zip" in refused[name] or "GHSA-odd" in refused[name]
        assert refused[name].isprintable()
        assert len(refused[name]) < 500
    # Nothing else can take the place of a package of which nothing is known.
    reason = world.run(run_id)["reason"]
    assert reason.isprintable()
    assert len(reason) < 2500


def test_whole_zips_hold_nothing(make: Make, tmp_path: Path) -> None:
    """What the tests above would say of sound data."""
    world = under(make, ZipAdvisories(advisories(tmp_path / "osv")))
    run_id = world.request()
    verdicts = judged(world, run_id)
    assert held(verdicts) == {}
    assert {name for name, each in verdicts.items() if each.decision != "allow"} == {"lib"}
    assert world.run(run_id)["state"] == "completed"


# --- too much ---


def test_twenty_thousand_findings_about_one_package(make: Make, tmp_path: Path) -> None:
    """Each is stored; what people and documents are shown stays small; the run ends and says why.

    Their ids alone are more than a document holds.
    """
    directory = tmp_path / "osv"
    advisories(directory)
    ids = [f"PYSEC-{n:060}" for n in range(20_000)]
    assert sum(map(len, ids)) > MEBIBYTE
    about_tool = json.dumps([affected(events(("introduced", "0")), name="tool")])
    with zipfile.ZipFile(directory / "PyPI" / "all.zip", "a") as archive:
        for id in ids:
            archive.writestr(
                zipfile.ZipInfo(f"{id}.json"),
                f'{{"id":"{id}","modified":"2026-11-20T00:00:00Z","summary":"bad","affected":{about_tool}}}',
            )
    world = under(make, ZipAdvisories(directory))
    run_id = world.request()
    verdicts = judged(world, run_id)
    assert len(verdicts["tool"].findings) == len(ids)
    assert verdicts["tool"].decision == "block"
    assert {name for name, each in verdicts.items() if each.decision != "allow"} == {"lib", "tool"}
    shown = [each for _, each in world.store.find("verdicts", "run_id", run_id)]
    assert {each["findings"] for each in shown if each["purl"] == "pkg:pypi/tool@1.0"} == {len(ids)}
    assert max(len(json.dumps(each)) for each in shown) < MEBIBYTE
    assert len(json.dumps(world.run(run_id))) < MEBIBYTE
    assert all(len(event.body()) < MEBIBYTE for event in world.bus.published)
    reason = world.run(run_id)["reason"]
    assert "pkg:pypi/tool@1.0" in reason
    assert len(reason) < 2500


LONG_EVENTS: dict[str, tuple[dict[str, Any], bool]] = {
    "fixed, digits": (affected(events(("introduced", "0"), ("fixed", LONG)), name="tool"), True),
    "fixed, dots": (affected(events(("introduced", "0"), ("fixed", "1." * 5000 + "1")), name="tool"), True),
    "introduced, digits": (affected(events(("introduced", LONG)), name="tool"), False),
    "introduced, letters": (affected(events(("introduced", "a" * 10_000)), name="tool"), True),
    "listed": (affected(name="tool", versions=[LONG, "9." * 5000]), False),
    "listed beside ours": (affected(name="tool", versions=[LONG, "1.0"]), True),
}


@pytest.mark.parametrize(("entry", "touched"), LONG_EVENTS.values(), ids=LONG_EVENTS.keys())
def test_versions_of_ten_thousand_characters_in_advisories(
    make: Make, tmp_path: Path, entry: dict[str, Any], touched: bool
) -> None:
    """Decided where that can be, else undecided, which is never clean; and nobody else is touched."""
    directory = advisories(tmp_path / "osv", record("GHSA-long", entry, severity=[HIGH]))
    world = under(make, ZipAdvisories(directory))
    verdicts = judged(world, world.request())
    refused = {name for name, each in verdicts.items() if each.decision != "allow"}
    # Where a number is too long to be compared it may be held as undecided as well: only clean would be wrong.
    assert refused in ([{"lib", "tool"}] if touched else [{"lib"}, {"lib", "tool"}])
    assert all(len(rule.reason) < 3000 for each in verdicts.values() for rule in each.rules)


def test_debian_versions_of_ten_thousand_characters(make: Make, tmp_path: Path) -> None:
    directory = advisories(tmp_path / "osv")
    jq = affected(
        events(("introduced", "0"), ("fixed", f"{LONG}:1.8-{LONG}")), name="jq", ecosystem="Debian:13"
    )
    zipped(directory, "Debian", record("DEBIAN-CVE-2", jq))
    world = under(make, ZipAdvisories(directory))
    verdicts = judged(world, world.request())
    refused = {name for name, each in verdicts.items() if each.decision != "allow"}
    assert refused == {"lib", "jq", "libjq1"}


# --- an API ---


WORDY: dict[str, dict[str, Any]] = {
    "summaries": {"summary": "bad " * 5000},
    "aliases": {"aliases": [f"CVE-2026-{n}" + "0" * 1000 for n in range(20)]},
    "fixes": {"affected": [affected(events(("introduced", "0"), ("fixed", "9." * 5000 + "9")), name="tool")]},
    "many fixes": {
        "affected": [
            affected(events(("introduced", "0"), ("fixed", f"2.{n}." + "9." * 40 + "9")), name="tool")
            for n in range(200)
        ]
    },
    "ids": {"id": "GHSA-" + "x" * 10_000},
}


@pytest.mark.parametrize("fields", WORDY.values(), ids=WORDY.keys())
def test_wordy_records_do_not_burst_a_document(make: Make, tmp_path: Path, fields: dict[str, Any]) -> None:
    directory = advisories(tmp_path / "osv")
    about_tool = affected(events(("introduced", "0")), name="tool")
    with zipfile.ZipFile(directory / "PyPI" / "all.zip", "a") as archive:
        for n in range(120):
            made = record(f"GHSA-{n}", about_tool) | fields
            made |= {"id": f"{made['id']}-{n}"}
            archive.writestr(f"GHSA-{n}.json", json.dumps(made))
    world = under(make, ZipAdvisories(directory))
    run_id = world.request()
    verdicts = judged(world, run_id)
    assert {name for name, each in verdicts.items() if each.decision != "allow"} == {"lib", "tool"}
    assert "pkg:pypi/tool@1.0" in world.run(run_id)["reason"]
    shown = [each for _, each in world.store.find("verdicts", "run_id", run_id)]
    assert max(len(json.dumps(each)) for each in shown) < MEBIBYTE
    assert len(json.dumps(world.run(run_id))) < MEBIBYTE


def test_thousands_of_findings_about_what_can_be_replaced(make: Make, tmp_path: Path) -> None:
    """All of them speak against the one version; the run goes on with the next, and its document stays small."""
    directory = advisories(tmp_path / "osv")
    about_lib = affected(events(("introduced", "0"), ("fixed", "1.1")), name="lib")
    with zipfile.ZipFile(directory / "PyPI" / "all.zip", "a") as archive:
        for n in range(12_000):
            id = f"PYSEC-{n:089}"
            archive.writestr(zipfile.ZipInfo(f"{n}.json"), json.dumps(record(id, about_lib)))
    world = under(make, ZipAdvisories(directory))
    run_id = world.request()
    verdicts = judged(world, run_id)
    assert len(verdicts["lib"].findings) == 12_001
    assert (world.run(run_id)["state"], world.run(run_id).get("reason", "")) == ("completed", "")
    assert {change.after.name: change.after.version for change in world.lock(run_id).changes}["lib"] == "1.1"
    assert all(len(json.dumps(fields)) < MEBIBYTE for fields in world.store._documents.values())
    assert all(len(event.body()) < MEBIBYTE for event in world.bus.published)
