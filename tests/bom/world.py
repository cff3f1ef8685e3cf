"""Approved sets for tests, and the official schema that what is made of them must fit."""

from __future__ import annotations

import json
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from shared.bom.approved import ApprovedSet
from shared.bom.sbom import sbom
from shared.bom.vex import vex
from shared.model.case import Case, Facts, Subject
from shared.model.lock import Change, Lock, LockedArchive, LockedEnvironment, LockedGeneric, LockedPython
from shared.model.manifest import ClaimedManifest
from shared.model.package import Package
from shared.model.value import sha256
from shared.model.verdict import AdvisorySource, Decision, Finding, RuleAnswer, Verdict, Verdicts
from shared.model.waiver import Waiver
from shared.policy.read import find
from tests.support import claims
from tests.support.market import TRIXIE

SOME = sha256(b"some content")
AT = "2026-11-22T06:00:00.000Z"
SOURCE = AdvisorySource(source="osv.dev zips", date="2026-11-21T19:00:00Z", digest=SOME)


def check(document: bytes) -> dict[str, Any]:
    """Parsed, after the official schema of CycloneDX 1.7, in its strict form, was satisfied."""
    wrong = JsonStrictValidator(SchemaVersion.V1_7).validate_str(document.decode())
    assert wrong is None, str(wrong)[:2000]
    found: dict[str, Any] = json.loads(document)
    assert found["specVersion"] == "1.7"
    return found


def both(approved: ApprovedSet) -> tuple[dict[str, Any], dict[str, Any]]:
    """SBOM and VEX, checked, and that every reference of either leads to something."""
    bill = check(sbom(approved))
    meaning = check(vex(approved, bill["serialNumber"]))
    refs = {each["bom-ref"] for each in (*bill["components"], bill["metadata"]["component"])}
    assert len(refs) == len(bill["components"]) + 1
    for node in bill["dependencies"]:
        assert {node["ref"], *node["dependsOn"]} <= refs
    return bill, meaning


def pypi(name: str, version: str) -> Package:
    return Package(ecosystem="pypi", name=name, version=version)


def wheel(name: str, version: str, **more: Any) -> LockedPython:
    filename = f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    fields: dict[str, Any] = {
        "name": name,
        "version": version,
        "filename": filename,
        "sha256": sha256(filename.encode()),
        "url": f"https://files.test/{filename}",
        "record": SOME,
    }
    return LockedPython(**fields | more)


def archive(name: str, version: str, source: str, source_version: str) -> LockedArchive:
    filename = f"{name}_{version.replace(':', '%3a')}_amd64.deb"
    return LockedArchive(
        name=name,
        version=version,
        architecture="amd64",
        source_name=source,
        source_version=source_version,
        filename=filename,
        url=f"https://deb.test/pool/{filename}",
        sha256=sha256(filename.encode()),
        size=1,
        suite="trixie",
    )


def finding(id: str, **more: Any) -> Finding:
    fields: dict[str, Any] = {
        "id": id,
        "aliases": (),
        "severity": "MEDIUM",
        "score": 5.0,
        "fixed": ("9.9",),
        "malicious": False,
        "summary": "a flaw",
    }
    return Finding(**fields | more)


def verdict(package: Package, *findings: Finding, decision: Decision = "allow", **more: Any) -> Verdict:
    answer = RuleAnswer(rule="severity", answer=decision, reason="because of the rule")
    fields: dict[str, Any] = {
        "package": package,
        "decision": decision,
        "rules": (answer,),
        "findings": findings,
        "policy": SOME,
        "advisories": SOURCE,
    }
    return Verdict(**fields | more)


def approved(
    *verdicts: Verdict,
    python: tuple[LockedPython, ...] = (),
    debian: tuple[LockedArchive, ...] = (),
    generic: tuple[LockedGeneric, ...] = (),
    changes: tuple[Change, ...] = (),
    manifest: ClaimedManifest | None = None,
    facts: dict[str, Facts] | None = None,
    waivers: tuple[Waiver, ...] = (),
) -> ApprovedSet:
    manifest = manifest or claims.manifest()
    environment = LockedEnvironment(path="/opt/w", python="3.13.5", virtual=True, packages=python)
    lock = Lock(
        workload="small",
        manifest=manifest.digest,
        release=TRIXIE,
        environments=(environment,),
        debian=debian,
        generic=generic,
        changes=changes,
    )
    case = Case(
        at=AT,
        workload="small",
        policy=find("default"),
        source=SOURCE,
        subjects=tuple(
            Subject(package=each.package, facts=(facts or {}).get(each.package.purl, Facts()))
            for each in verdicts
        ),
        findings={each.package.purl: each.findings for each in verdicts},
        waivers=waivers,
    )
    return ApprovedSet(lock, manifest, ((case, Verdicts(manifest=SOME, case=SOME, verdicts=verdicts)),))
