"""Debian under the default policy, on hundreds of real records: fixed, unfixed, other releases, binaries and sources.

The answers are checked against a rule of three lines that knows nothing of OSV: a list of (release, source, fix).
"""

from __future__ import annotations

import calendar
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import pytest

from shared.advisories.archive import records
from shared.advisories.zips import ZipAdvisories
from shared.judgement import Court
from shared.model.case import Subject
from shared.model.debian_version import compare
from shared.model.package import Package, Release
from shared.model.verdict import Verdict
from shared.policy.read import find
from tests.advisories.build import BOOKWORM, TRIXIE, deb, zipped
from tests.advisories.test_snapshot import SNAPSHOT

NOW = float(calendar.timegm((2026, 11, 20, 12, 0, 0)))
FAR = "999:0"

Fact = tuple[str, str, str, str | None]
"""Release ecosystem, source package, CVE, and the version that fixes it, None if there is none."""


def _facts(raws: list[dict[str, Any]]) -> list[Fact]:
    return [
        (entry["package"]["ecosystem"], entry["package"]["name"], raw["id"].removeprefix("DEBIAN-"), fix)
        for raw in raws
        for entry in raw["affected"]
        for fix in [next((e["fixed"] for r in entry["ranges"] for e in r["events"] if "fixed" in e), None)]
    ]


@pytest.fixture(scope="module")
def raws() -> list[dict[str, Any]]:
    """Every fourth real record; of those every fifth has lost its fix, every seventh is about Debian 11 alone."""
    chosen = [raw for _, raw in records(SNAPSHOT / "Debian" / "all.zip")][::4]
    for index, raw in enumerate(chosen):
        for entry in raw["affected"]:
            if index % 5 == 0:
                entry["ranges"] = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}]}]
            if index % 7 == 0:
                entry["package"]["ecosystem"] = "Debian:11"
    return chosen


@pytest.fixture(scope="module")
def advisories(raws: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> ZipAdvisories:
    directory: Path = zipped(tmp_path_factory.mktemp("osv"), "Debian", *raws)
    return ZipAdvisories(directory, clock=lambda: NOW)


def judged(advisories: ZipAdvisories, packages: list[Package], release: Release) -> dict[str, Verdict]:
    subjects = [Subject(package=package) for package in packages]
    court = Court(advisories, find("default"), release, NOW)
    return {verdict.package.name: verdict for verdict in court.judge(subjects)}


def expected(facts: list[Fact], release: Release, source: str, version: str) -> tuple[str, set[str]]:
    touching = {
        cve: fix
        for ecosystem, name, cve, fix in facts
        if (ecosystem, name) == (release.osv_ecosystem, source) and (fix is None or compare(version, fix) < 0)
    }
    return "block" if any(touching.values()) else "allow", set(touching)


@pytest.mark.parametrize("release", [TRIXIE, BOOKWORM], ids=["13", "12"])
@pytest.mark.parametrize("which", ["oldest", "middle", "newest", "far"])
def test_every_source_at_four_versions(
    advisories: ZipAdvisories, raws: list[dict[str, Any]], release: Release, which: str
) -> None:
    facts = _facts(raws)
    assert len(raws) > 700
    sources = sorted({name for ecosystem, name, _, _ in facts if ecosystem != "Debian:11"})
    installed: dict[str, str] = {}
    for source in sources:
        fixes = sorted({fix for _, name, _, fix in facts if name == source and fix}, key=cmp_to_key(compare))
        middle = fixes[len(fixes) // 2] if fixes else "1.0"
        installed[source] = {
            "oldest": "0~",
            "middle": middle,
            "newest": fixes[-1] if fixes else "1.0",
            "far": FAR,
        }[which]
    # The binary has another name and a version that is beyond every fix: only the source counts.
    packages = [deb(f"lib{s}-dev", FAR, s, version, release) for s, version in installed.items()]
    verdicts = judged(advisories, packages, release)
    decisions = set()
    for source, version in installed.items():
        verdict = verdicts[f"lib{source}-dev"]
        decision, cves = expected(facts, release, source, version)
        assert (verdict.decision, {found.id for found in verdict.findings}) == (decision, cves), source
        decisions.add((decision, bool(cves)))
    assert ("allow", False) in decisions
    assert ("allow", True) in decisions  # unfixed: admitted, and shown
    assert (("block", True) in decisions) == (which in ("oldest", "middle"))


def test_a_binary_of_the_name_of_another_source_is_not_mistaken(
    advisories: ZipAdvisories, raws: list[dict[str, Any]]
) -> None:
    source = next(n for e, n, _, fix in _facts(raws) if e == "Debian:13" and fix)
    verdicts = judged(
        advisories,
        [deb(source, "0~", "quite-another-source", "0~"), deb("alias", "0~", source, "0~")],
        TRIXIE,
    )
    assert verdicts[source].decision == "allow"
    assert verdicts["alias"].decision == "block"


def test_the_reason_names_what_would_help(advisories: ZipAdvisories, raws: list[dict[str, Any]]) -> None:
    _, source, cve, fix = next(fact for fact in _facts(raws) if fact[0] == "Debian:13" and fact[3])
    verdict = judged(advisories, [deb("x", "0~", source, "0~")], TRIXIE)["x"]
    assert (cve, (fix,)) in [(found.id, found.fixed) for found in verdict.findings]
    assert "fixed in" in verdict.reason


def test_everything_is_undecided_for_a_version_that_dpkg_would_refuse(advisories: ZipAdvisories) -> None:
    package = deb("x", "1_0", "curl", "1_0")
    verdict = judged(advisories, [package], TRIXIE)["x"]
    assert verdict.decision == "hold"
    assert "is not one that Debian can order" in verdict.reason
