"""Names and versions that are none in a manifest: those packages are held with a sentence, all others are judged."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.advisories.zips import ZipAdvisories
from shared.guest import report
from shared.model.package import Package, Release
from shared.model.unreadable import MOST
from shared.model.verdict import Known, Verdict
from shared.ports.judgement import Advisories
from tests.advisories.build import affected, events, record
from tests.stages import guests
from tests.stages.broken_advisories import LONG, Make, advisories, judged, under
from tests.stages.hostile import raw, told
from tests.stages.world import World

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
