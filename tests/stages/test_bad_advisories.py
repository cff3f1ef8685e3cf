"""Broken advisories, silent servers, monstrous input: what is concerned is held with a sentence, the rest is judged."""

from __future__ import annotations

import json
import socket
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.advisories.api import OsvApi
from shared.advisories.calls import Waiting
from shared.advisories.zips import ZipAdvisories
from shared.errors import DmzError
from shared.guest import report
from shared.model.package import Package, Release
from shared.model.unreadable import MOST
from shared.model.verdict import Known, Verdict, Verdicts
from shared.ports.judgement import Advisories
from tests.advisories.build import HIGH, affected, events, record, zipped
from tests.advisories.server import Answer, serving
from tests.stages import guests
from tests.stages.test_hostile import raw, told
from tests.stages.world import World

Make = Callable[..., World]
PYTHON = {"app", "lib", "mine", "old", "tool"}
MEBIBYTE = 1 << 20
LONG = "1" * 10_000
"""Of digits: more than Python makes an integer of."""


def advisories(directory: Path, *records: dict[str, Any]) -> Path:
    """Sound zips: one flaw of lib 1.0, one of a Debian package that nobody has, and the `records`, PyPI's."""
    lib = affected(events(("introduced", "0"), ("fixed", "1.1")), name="lib")
    zipped(directory, "PyPI", record("GHSA-lib", lib, severity=[HIGH]), *records)
    other = affected(events(("introduced", "0"), ("fixed", "1")), name="zlib", ecosystem="Debian:13")
    return zipped(directory, "Debian", record("DEBIAN-CVE-1", other))


def under(make: Make, source: Advisories) -> World:
    return make(through=lambda name, port: source if name == "advisories" else port)


def judged(world: World, run_id: str) -> dict[str, Verdict]:
    """By name: what the scanner said. No stage died, or tried what cannot succeed until it gave up."""
    strange = [error for error in world.raised if not isinstance(error, DmzError)]
    assert strange == []
    run = world.run(run_id)
    assert run["state"] in ("completed", "failed")
    assert "defect" not in run.get("reason", "")
    verdicts = Verdicts.read(world.blobs.get(run["verdicts"]), "The verdicts").verdicts
    return {verdict.package.name: verdict for verdict in verdicts}


def held(verdicts: dict[str, Verdict]) -> dict[str, str]:
    """By name: the sentence by which the advisories' state holds a package."""
    return {
        name: rule.reason
        for name, verdict in verdicts.items()
        for rule in verdict.rules
        if rule.rule == "advisory_data" and rule.answer != "allow"
    }


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


def test_a_hundred_thousand_findings_about_one_package(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is stored; what people and documents are shown stays small; the run ends and says why."""
    directory = tmp_path / "osv"
    advisories(directory)
    number = 100_000
    about_tool = json.dumps([affected(events(("introduced", "0")), name="tool")])
    with zipfile.ZipFile(directory / "PyPI" / "all.zip", "a") as archive:
        for n in range(number):
            archive.writestr(
                zipfile.ZipInfo(f"PYSEC-{n}.json"),
                f'{{"id":"PYSEC-{n}","modified":"2026-11-20T00:00:00Z","summary":"bad","affected":{about_tool}}}',
            )
    world = under(make, ZipAdvisories(directory))
    monkeypatch.setattr(world, "quiet", lambda: world.bus.drain(480))
    run_id = world.request()
    verdicts = judged(world, run_id)
    assert len(verdicts["tool"].findings) == number
    assert verdicts["tool"].decision == "block"
    assert {name for name, each in verdicts.items() if each.decision != "allow"} == {"lib", "tool"}
    shown = [each for _, each in world.store.find("verdicts", "run_id", run_id)]
    assert {each["findings"] for each in shown if each["purl"] == "pkg:pypi/tool@1.0"} == {number}
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


# --- names and versions in a manifest ---

STRANGE: dict[str, dict[str, str]] = {
    "Cyrillic among Latin letters": {"name": "t\u043e\u043el"},
    "full-width letters": {"name": "\uff54ool"},
    "right to left": {"name": "tool\u202egro"},
    "an invisible letter": {"name": "to\u200bol"},
    "a name of 10,000 letters": {"name": "t" * 10_000},
    "a version of 10,000 digits": {"version": LONG},
    "a version with Arabic digits": {"version": "\u0661.\u0660"},
    "a version with a line break": {"version": "1.0\n"},
}


@pytest.fixture
def asked(make: Make) -> tuple[World, list[str]]:
    """A world, and the names of which the advisories were asked in it."""
    names: list[str] = []

    @dataclass
    class Listening:
        source: Advisories

        def known(self, packages: Iterable[Package], release: Release) -> Known:
            packages = list(packages)
            names.extend(each.name for each in packages)
            return self.source.known(packages, release)

    return make(through=lambda name, port: Listening(port) if name == "advisories" else port), names


def set_aside(asked: tuple[World, list[str]], manifest: dict[str, Any]) -> tuple[list[Verdict], str]:
    """The verdicts about what nobody can read, and the reason for which the run ends.

    Everything else is judged as ever; nobody was asked about them, and nothing was fetched or uploaded.
    """
    world, names = asked
    reason = told(world, json.dumps(manifest).encode())
    ((run_id, _),) = world.store.find("runs", "state", "failed")
    verdicts = judged(world, run_id)
    strange = [each for name, each in verdicts.items() if name.startswith("unreadable-")]
    assert [(each.decision, [rule.rule for rule in each.rules]) for each in strange] == [
        ("hold", ["readable"])
    ] * len(strange)
    refused = {name for name, each in verdicts.items() if each.decision != "allow"}
    assert refused == {"lib", "libssl3", "openssl", *(each.package.name for each in strange)}
    asked_for = {*names, *(name for some, _ in world.market.questions for name in some)}
    assert asked_for == verdicts.keys() - {each.package.name for each in strange}
    assert world.registry.uploads == []
    assert world.market.asked == []
    return strange, reason


@pytest.mark.parametrize("fields", STRANGE.values(), ids=STRANGE.keys())
def test_a_strange_name_or_version_is_held_and_all_others_are_judged(
    asked: tuple[World, list[str]], fields: dict[str, str]
) -> None:
    """No index has such a package: it is not looked for, and the run that needs it ends with a sentence."""
    manifest = raw(asked[0])
    manifest["environments"][0]["packages"].append(manifest["environments"][0]["packages"][-1] | fields)
    (verdict,), reason = set_aside(asked, manifest)
    assert f"its {next(iter(fields))}: a Python" in verdict.reason
    assert "in /opt/w, and nobody can tell what that is" in verdict.reason
    assert f"{verdict.package.purl} is held: {verdict.reason}. Nothing can replace it" in reason
    assert verdict.reason.isascii()
    assert len(verdict.reason) < 600


@pytest.mark.parametrize(
    "fields", [{"source_name": "j\u0434"}, {"source_version": LONG}, {"name": "j\u0434"}]
)
def test_a_strange_debian_package_is_held_and_all_others_are_judged(
    asked: tuple[World, list[str]], fields: dict[str, str]
) -> None:
    manifest = raw(asked[0])
    manifest["debian"].append(manifest["debian"][0] | fields)
    (verdict,), reason = set_aside(asked, manifest)
    assert verdict.package.purl.startswith("pkg:deb/debian/unreadable-")
    assert f"its {next(iter(fields))}: a Debian" in verdict.reason
    assert ("take another runtime_version" in reason) == manifest["debian"][0]["in_base"]


def test_strange_packages_are_told_apart(asked: tuple[World, list[str]]) -> None:
    """Also where the same letters are left of them; one that stands in two environments is one."""
    manifest = raw(asked[0])
    packages = manifest["environments"][0]["packages"]
    first, second = packages[0] | {"name": "t" * 9_999 + "1"}, packages[0] | {"name": "t" * 9_999 + "2"}
    manifest["environments"].append(
        manifest["environments"][0] | {"path": "/opt/x", "strays": [], "packages": [first]}
    )
    packages += [first, second]
    strange, reason = set_aside(asked, manifest)
    assert len({each.package.purl for each in strange}) == 2
    assert "is held, as 2 others are:" in reason


def test_what_dpkg_manages_is_judged_as_dpkgs_whatever_its_metadata_say(world: World) -> None:
    manifest = raw(world)
    own = manifest["environments"][0]
    strange = own["packages"][0] | {"name": "t\u043e\u043el"}
    site = {"path": "/usr/lib/python3/dist-packages", "virtual": False, "managed_by_dpkg": True}
    manifest["environments"].append(own | site | {"strays": [], "packages": [strange]})
    world.outer = lambda config: guests.common(config) | {"claim": report.pack(manifest)}
    assert world.run(world.request())["state"] == "completed"


def test_a_machine_of_which_too_much_is_strange_is_refused_whole(world: World) -> None:
    manifest = raw(world)
    packages = manifest["environments"][0]["packages"]
    packages += [packages[0] | {"name": f"\u043e{n}"} for n in range(MOST + 1)]
    assert "it has 1001 mistakes" in told(world, json.dumps(manifest).encode())


def test_a_version_of_a_hundred_digits_is_judged_like_any_other(make: Make, tmp_path: Path) -> None:
    """The longest that a manifest may hold: it can be compared."""
    directory = advisories(
        tmp_path / "osv", record("GHSA-t", affected(events(("introduced", "2")), name="tool"))
    )
    world = under(make, ZipAdvisories(directory))
    world.outer = lambda config: guests.common(config) | {"claim": report.pack(long_version(world))}
    verdicts = judged(world, world.request())
    assert [finding.id for finding in verdicts["tool"].findings] == ["GHSA-t"]
    assert verdicts["app"].decision == "allow"


def long_version(world: World) -> dict[str, Any]:
    manifest = raw(world)
    manifest["environments"][0]["packages"][-1]["version"] = "9" * 128
    return manifest


# --- an API ---

AT_ONCE = Waiting(sleep=lambda _seconds: None)
"""It is asked as often as otherwise; only the pauses are left out."""

LIB = {"id": "GHSA-lib", "modified": "2026-11-20T00:00:00Z"}
TOOL = {"id": "GHSA-tool", "modified": "2026-11-20T00:00:00Z"}
RECORDS = {
    name: record(
        f"GHSA-{name}", affected(events(("introduced", "0"), ("fixed", "1.1")), name=name), severity=[HIGH]
    )
    for name in ("lib", "tool")
}


def answering(path: str, body: bytes) -> Answer:
    """A server that does as it should: it knows a flaw of lib and one of tool."""
    if path == "/v1/querybatch":
        known = {"lib": [LIB], "tool": [TOOL]}
        asked = [(each["package"]["name"], each.get("version")) for each in json.loads(body)["queries"]]
        results = [{"vulns": known.get(name, []) if version == "1.0" else []} for name, version in asked]
        return 200, json.dumps({"results": results}).encode()
    found = RECORDS.get(path.removeprefix("/v1/vulns/GHSA-"))
    return (200, json.dumps(found).encode()) if found else (404, b"{}")


WRONG: dict[str, Answer] = {
    "429": (429, b"too many"),
    "500": (500, b"oh"),
    "503 of a proxy": (503, b"<html>" + b"x" * 100_000),
    "garbage": (200, b"\x00\xff garbage"),
    "an empty body": (200, b""),
    "a number": (200, b"1"),
    "an empty object": (200, b"{}"),
    "nested without end": (200, b"[" * 100_000),
    "another record": (200, json.dumps(RECORDS["lib"] | {"id": "GHSA-other"}).encode()),
    "a record that breaks the schema": (200, b'{"id": "GHSA-tool", "affected": "all"}'),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_a_record_that_the_api_does_not_give_holds_whom_it_is_listed_for(make: Make, answer: Answer) -> None:
    def handle(_method: str, path: str, body: bytes) -> Answer:
        return answer if path == "/v1/vulns/GHSA-tool" else answering(path, body)

    with serving(handle) as url:
        world = under(make, OsvApi(url, waiting=AT_ONCE))
        verdicts = judged(world, world.request())
    said = held(verdicts)
    assert said.keys() == {"tool"}
    assert said["tool"].isprintable()
    assert verdicts["tool"].decision in ("hold", "block")
    assert {name for name, each in verdicts.items() if each.decision != "allow"} == {"lib", "tool"}
    assert "GHSA-lib" in {finding.id for finding in verdicts["lib"].findings}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG.keys())
def test_an_api_that_answers_nothing_useful_lets_nothing_in(make: Make, answer: Answer) -> None:
    with serving(lambda *_: answer) as url:
        world = under(make, OsvApi(url, waiting=AT_ONCE))
        run_id = world.request()
    nobody_entered(world, run_id)


@pytest.mark.parametrize("silent", [False, True], ids=["closed", "hangs up"])
def test_no_answer_at_all_lets_nothing_in(make: Make, silent: bool) -> None:
    with nobody(silent) as url:
        world = under(make, OsvApi(url, waiting=AT_ONCE))
        run_id = world.request()
    nobody_entered(world, run_id)


def nobody_entered(world: World, run_id: str) -> None:
    """The run has ended and says in a sentence why; what no advisory is about was judged or not reached."""
    assert [error for error in world.raised if not isinstance(error, DmzError)] == []
    run = world.run(run_id)
    assert run["state"] == "failed"
    assert "OSV.dev at http://127.0.0.1" in run["reason"]
    assert "defect" not in run["reason"]
    assert run["reason"].isprintable()
    assert len(run["reason"]) < 2500
    assert world.registry.uploads == []


@contextmanager
def nobody(silent: bool) -> Iterator[str]:
    """The URL of a port where nobody listens, or where whoever does hangs up without a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        if not silent:
            server.close()
            yield url
            return
        done = threading.Event()

        def hang_up() -> None:
            server.settimeout(0.1)
            while not done.is_set():
                try:
                    server.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        try:
            yield url
        finally:
            done.set()
            thread.join()


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
