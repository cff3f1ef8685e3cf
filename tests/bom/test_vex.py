"""What is said of each flaw: the table of docs/sbom.md, and the quickstart on the project's own advisories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.advisories.zips import ZipAdvisories
from shared.bom.approved import ApprovedSet
from shared.data import __file__ as _data
from shared.judgement import Court
from shared.model.case import Subject
from shared.model.lock import Change, Lock, LockedEnvironment
from shared.model.package import Package
from shared.model.verdict import Finding, Verdicts
from shared.model.waiver import Waiver
from shared.policy.judge import judge_all
from shared.policy.read import find
from tests.bom.world import SOME, approved, archive, both, finding, pypi, verdict, wheel
from tests.support import claims
from tests.support.market import TRIXIE

LIB = pypi("lib", "1.0")
WAIVER = Waiver(
    advisory="CVE-2026-1",
    package="pkg:pypi/lib@*",
    reason="only in tests",
    approver="ada@example.org",
    granted="2026-11-01T00:00:00Z",
    expires="2026-12-01T00:00:00Z",
)


def one(flaw: Finding, **more: Any) -> dict[str, Any]:
    """The analysis of one flaw of one admitted package."""
    made = approved(
        verdict(LIB, flaw, waivers=(WAIVER.id,) if more.get("waivers") else ()),
        python=(wheel("lib", "1.0"),),
        **more,
    )
    _, meaning = both(made)
    (found,) = meaning["vulnerabilities"]
    return dict(found)


@pytest.mark.parametrize(
    ("flaw", "state", "response"),
    [
        (finding("GHSA-1", undecided="its version cannot be read"), "in_triage", None),
        (finding("GHSA-1", severity="UNKNOWN", score=None), "in_triage", ["update"]),
        (finding("GHSA-1", severity="UNKNOWN", score=None, fixed=()), "in_triage", None),
        (finding("GHSA-1"), "exploitable", ["update"]),
        (finding("GHSA-1", severity="LOW", score=2.0), "exploitable", ["update"]),
        (finding("GHSA-1", fixed=()), "exploitable", ["can_not_fix"]),
    ],
)
def test_the_table(flaw: Finding, state: str, response: list[str] | None) -> None:
    said = one(flaw)["analysis"]
    assert said["state"] == state
    assert said.get("response") == response
    assert said["detail"]


@pytest.mark.parametrize("name", ["id", "alias", "other"])
def test_a_waiver_bears_its_own_flaw_and_no_other(name: str) -> None:
    flaw = {
        "id": finding("CVE-2026-1", fixed=()),
        "alias": finding("GHSA-1", aliases=("cve-2026-1",), fixed=()),
        "other": finding("GHSA-2", fixed=()),
    }[name]
    said = one(flaw, waivers=(WAIVER,))["analysis"]
    assert said["response"] == (["can_not_fix"] if name == "other" else ["will_not_fix"])
    if name != "other":
        assert said["detail"] == (
            f"{WAIVER.id}, approved by ada@example.org until 2026-12-01T00:00:00Z: only in tests"
        )


def test_what_is_known_of_a_flaw_is_written_down() -> None:
    flaw = finding(
        "GHSA-1",
        aliases=("CVE-2026-1", "PYSEC-1"),
        severity="HIGH",
        score=8.1,
        exploited=True,
        exploit_probability=0.25,
        fixed=("1.2", "2.0"),
    )
    said = one(flaw)
    assert said["source"] == {"name": "GitHub", "url": "https://github.com/advisories/GHSA-1"}
    assert [each["source"]["name"] for each in said["references"]] == ["NVD", "OSV"]
    assert said["ratings"][0] == {"severity": "high", "score": 8.1}
    assert said["ratings"][1]["score"] == 0.25
    assert said["recommendation"] == "Update to 1.2 or 2.0."
    assert {"name": "package-dmz:exploited-in-the-wild", "value": "true"} in said["properties"]


def test_what_was_replaced_is_resolved_unless_the_replacement_has_it_too() -> None:
    after = pypi("lib", "1.1")
    old, shared = finding("GHSA-old", aliases=("CVE-2",)), finding("GHSA-both", aliases=("CVE-1",))
    change = Change(before=LIB, after=after, advisories=("GHSA-old",), required_by=(), reason="severity HIGH")
    made = approved(
        verdict(LIB, old, shared, decision="block"),
        verdict(after, finding("PYSEC-both", aliases=("CVE-1",))),
        python=(wheel("lib", "1.1"),),
        changes=(change,),
    )
    _, meaning = both(made)
    said = {each["id"]: each["analysis"] for each in meaning["vulnerabilities"]}
    assert {id: each["state"] for id, each in said.items()} == {
        "GHSA-old": "resolved",
        "PYSEC-both": "exploitable",
    }
    assert said["GHSA-old"]["detail"] == "pkg:pypi/lib@1.0 was replaced by pkg:pypi/lib@1.1: severity HIGH"


def test_a_replacement_without_a_verdict_resolves_nothing() -> None:
    change = Change(before=LIB, after=pypi("lib", "1.1"), advisories=(), required_by=(), reason="moved along")
    made = approved(
        verdict(LIB, finding("GHSA-1"), decision="block"), python=(wheel("lib", "1.1"),), changes=(change,)
    )
    assert both(made)[1]["vulnerabilities"] == []


def test_binaries_of_one_source_are_one_statement() -> None:
    flaw = finding("DEBIAN-CVE-2026-1", fixed=())
    binaries = [
        Package(ecosystem="debian", name=name, version="3", architecture="amd64", distro="debian-13")
        for name in ("libssl3", "openssl")
    ]
    made = approved(
        *(verdict(each, flaw) for each in binaries),
        debian=(archive("libssl3", "3", "openssl", "3"), archive("openssl", "3", "openssl", "3")),
    )
    (said,) = both(made)[1]["vulnerabilities"]
    assert len(said["affects"]) == 2
    assert said["analysis"]["response"] == ["can_not_fix"]


def quickstart(tmp_path: Path) -> ApprovedSet:
    """The shape of the quickstart: jinja2 3.1.4 refused and replaced, Debian packages beside it, really judged."""
    distro = "debian-13"
    debian = (
        archive("jq", "1.7.1-6+deb13u1", "jq", "1.7.1-6+deb13u1"),
        archive("libjq1", "1.7.1-6+deb13u1", "jq", "1.7.1-6+deb13u1"),
        archive("tree", "2.2.1-1", "tree", "2.2.1-1"),
        archive("python3.13-venv", "3.13.5-2", "python3.13", "3.13.5-2"),
    )
    packages = [
        pypi("humanize", "4.9.0"),
        pypi("jinja2", "3.1.4"),
        pypi("markupsafe", "2.1.5"),
        pypi("pygments", "2.17.2"),
    ]
    packages += [
        Package(
            ecosystem="debian",
            name=each.name,
            version=each.version,
            architecture="amd64",
            distro=distro,
            source_name=each.source_name,
            source_version=each.source_version,
        )
        for each in debian
    ]
    policy = find("offline")
    snapshot = ZipAdvisories(Path(_data).parent / "advisories", indexes=tmp_path)
    court = Court(snapshot, policy, TRIXIE, 1_795_291_202.0, "quickstart")
    judged = []
    for asked in (packages, [pypi("jinja2", "3.1.5")]):
        case = court.case([Subject(package=each) for each in asked])
        judged.append((case, Verdicts(manifest=SOME, case=case.digest, verdicts=judge_all(case))))
    wheels = (
        wheel("humanize", "4.9.0"),
        wheel("jinja2", "3.1.5"),
        wheel("markupsafe", "2.1.5"),
        wheel("pygments", "2.17.2"),
    )
    manifest = claims.manifest(
        (),
        claims.environment(
            claims.python(
                "jinja2", "3.1.4", requires=("MarkupSafe>=2.0", 'Babel>=2.7; extra == "i18n"'), requested=True
            ),
            *(
                claims.python(each.name, each.version, requested=each.name != "markupsafe")
                for each in packages[:4]
                if each.name != "jinja2"
            ),
        ),
        workload="quickstart",
    )
    lock = Lock(
        workload="quickstart",
        manifest=manifest.digest,
        release=TRIXIE,
        environments=(LockedEnvironment(path="/opt/w", python="3.13.5", virtual=True, packages=wheels),),
        debian=debian,
        generic=(),
        changes=(
            Change(
                before=pypi("jinja2", "3.1.4"),
                after=pypi("jinja2", "3.1.5"),
                advisories=("GHSA-gmj6-6f8f-6699", "GHSA-q2x7-8rv6-6q7h"),
                required_by=(),
                reason="two flaws of severity HIGH",
            ),
        ),
    )
    return ApprovedSet(lock, manifest, tuple(judged))


def test_the_quickstart_on_real_advisories(tmp_path: Path) -> None:
    made = quickstart(tmp_path)
    assert made.verdicts["pkg:pypi/jinja2@3.1.4"].decision == "block"
    bill, meaning = both(made)
    assert len(bill["components"]) == 8
    said = {each["id"]: each for each in meaning["vulnerabilities"]}
    for resolved in ("GHSA-gmj6-6f8f-6699", "GHSA-q2x7-8rv6-6q7h"):
        assert said[resolved]["analysis"]["state"] == "resolved"
        assert any(each["id"].startswith("CVE-2024-") for each in said[resolved]["references"])
    # 3.1.5 has a flaw of its own, which is mended in 3.1.6.
    left = said["GHSA-cpwx-vrp4-4pq7"]["analysis"]
    assert (left["state"], left["response"]) == ("exploitable", ["update"])
    assert meaning["metadata"]["timestamp"] == made.case.source.date
