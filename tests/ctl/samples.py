"""Documents of one run, as the stages write them, for tests of what is shown and reported."""

from __future__ import annotations

import copy
from typing import Any

from shared.model.lock import Change, Lock
from shared.model.package import Package, Release
from shared.model.value import sha256
from shared.model.verdict import AdvisorySource, Decision, Finding, RuleAnswer, Verdict, Verdicts

RUN_ID = "run-0123456789ab"
SOME = sha256(b"some content")
SOURCE = AdvisorySource(source="osv.dev zips", date="2026-11-21T19:00:00Z", digest=SOME)

_RUN: dict[str, Any] = {
    "state": "completed",
    "stage": "inner",
    "workload": "quickstart",
    "requested": 100.0,
    "ended": 140.0,
    "stages": {
        "outer": {"started": 100.0, "ended": 110.0},
        "scanner": {"started": 110.0, "ended": 111.5},
        "sync": {"started": 111.5, "ended": 120.0},
        "inner": {"started": 120.0, "ended": 140.0},
    },
    "manifest": SOME,
    "packages": {"pypi": 4, "debian": 129, "generic": 1},
    "verdicts": SOME,
    "lock": SOME,
    "advisories": SOURCE.model_dump(mode="json"),
    "mirrored": {"artifacts": 9, "bytes": 2_237_988},
    "inner": {
        "installed": 134,
        "missing": [],
        "unexpected": [],
        "egress": "denied",
        "smoke": {"exit_code": 0, "seconds": 0.4712, "tail": "rendered\nwith jinja2 3.1.5"},
        "vm": "dmz-inner-0123456789ab",
    },
}


def run(**changed: Any) -> dict[str, Any]:
    """The document of a run that has completed."""
    return copy.deepcopy(_RUN) | changed


def package(name: str, version: str) -> Package:
    return Package(ecosystem="pypi", name=name, version=version)


def verdict(name: str, version: str, decision: Decision, *advisories: str) -> Verdict:
    findings = tuple(
        Finding(
            id=id,
            aliases=(),
            severity="HIGH",
            score=8.1,
            fixed=("3.1.5",),
            malicious=False,
            summary="escapes its sandbox",
        )
        for id in advisories
    )
    answer = RuleAnswer(rule="severity", answer=decision, reason=f"{name} has {len(advisories)} flaws")
    return Verdict(
        package=package(name, version),
        decision=decision,
        rules=(answer,),
        findings=findings,
        policy=SOME,
        advisories=SOURCE,
    )


def verdicts(*given: Verdict) -> Verdicts:
    return Verdicts(manifest=SOME, case=SOME, verdicts=given)


def lock(*changes: Change) -> Lock:
    release = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")
    return Lock(
        workload="quickstart",
        manifest=SOME,
        release=release,
        environments=(),
        debian=(),
        generic=(),
        changes=changes,
    )


def change(name: str, before: str, after: str, *advisories: str) -> Change:
    return Change(
        before=package(name, before),
        after=package(name, after),
        advisories=advisories,
        required_by=(),
        reason="the nearest version that the policy admits",
    )
