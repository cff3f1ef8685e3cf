"""The worked examples beside the default policy: what each does differently."""

from __future__ import annotations

from typing import Any

import pytest

from shared.events import timestamp
from shared.model.case import Subject
from shared.model.package import Package
from shared.policy.read import built_in, find
from shared.policy.wants import asks_for
from tests.advisories.build import deb
from tests.policy.build import NOW, finding, judged, package

DAY = 86400.0
OLD = {"uploaded": "2026-01-01T00:00:00Z", "licences": ("MIT",)}
DEB = Subject(package=deb("thing", "1.0"))
TOOL = Subject(package=Package(ecosystem="generic", name="tool", version="sha256:" + "0" * 64))

DIFFERENT: list[tuple[str, Subject, list[dict[str, Any]], str, dict[str, str]]] = [
    (
        "a severity of MEDIUM",
        package(**OLD),
        [{"severity": "MEDIUM", "score": 5.0}],
        "allow",
        {"strict": "hold"},
    ),
    ("a severity of HIGH", package(**OLD), [{}], "block", {"research": "allow"}),
    (
        "no severity",
        package(**OLD),
        [{"severity": "UNKNOWN", "score": None}],
        "block",
        {"research": "allow"},
    ),
    (
        "likely to be exploited",
        package(**OLD),
        [{"severity": "LOW", "exploit_probability": 0.6}],
        "allow",
        {"strict": "hold", "research": "block"},
    ),
    (
        "uploaded two days ago",
        package(uploaded=timestamp(NOW - 2 * DAY), licences=("MIT",)),
        [],
        "allow",
        {"strict": "hold", "research": "hold"},
    ),
    (
        "uploaded five days ago",
        package(uploaded=timestamp(NOW - 5 * DAY), licences=("MIT",)),
        [],
        "allow",
        {"strict": "hold"},
    ),
    ("yanked", package(yanked="", **OLD), [], "allow", {"strict": "hold"}),
    ("a source distribution", package(is_sdist=True, **OLD), [], "allow", {"strict": "hold"}),
    ("from git", package(direct_url="git+https://x/y", **OLD), [], "block", {"research": "hold"}),
    (
        "a name that imitates",
        package("requestss", **OLD),
        [],
        "allow",
        {"strict": "hold", "research": "hold"},
    ),
    ("a name of our own", package("acme-tools", **OLD), [], "allow", {"research": "block"}),
    ("our own, published", package("acme-open", **OLD), [], "allow", {}),
    ("abandoned", package("pycrypto", **OLD), [], "allow", {"research": "block"}),
    (
        "GPL",
        package(uploaded=OLD["uploaded"], licences=("GPL-3.0-only",)),
        [],
        "allow",
        {"licences": "block"},
    ),
    (
        "MIT or GPL",
        package(uploaded=OLD["uploaded"], licences=("MIT OR GPL-3.0-only",)),
        [],
        "allow",
        {},
    ),
    ("no licence", package(uploaded=OLD["uploaded"]), [], "allow", {"licences": "hold"}),
    (
        "NVIDIA's own licence",
        package("nvidia-cublas-cu12", uploaded=OLD["uploaded"], licences=("NVIDIA Proprietary Software",)),
        [],
        "allow",
        {},
    ),
    ("a fix that is not installed", DEB, [{}], "block", {"research": "hold"}),
    ("unfixed and CRITICAL", DEB, [{"severity": "CRITICAL", "fixed": ()}], "allow", {"strict": "hold"}),
    ("a file by URL", TOOL, [], "allow", {"strict": "hold"}),
]


@pytest.mark.parametrize(
    ("subject", "found", "default", "others"),
    [each[1:] for each in DIFFERENT],
    ids=[each[0] for each in DIFFERENT],
)
def test_what_each_example_does_differently(
    subject: Subject, found: list[dict[str, Any]], default: str, others: dict[str, str]
) -> None:
    findings = [finding(**each) for each in found]
    for name in ("default", "strict", "research", "licences"):
        decision = judged(subject, *findings, policy=find(name)).decision
        assert (name, decision) == (name, others.get(name, default))


def test_every_example_differs_somewhere_here() -> None:
    assert {name for each in DIFFERENT for name in each[4]} == set(built_in()) - {"default", "offline"}


def test_what_is_exploited_is_blocked_by_the_two_that_ask() -> None:
    exploited = finding(severity="LOW", fixed=(), exploited=True)
    for subject in (package(**OLD), DEB):
        for name in ("strict", "research"):
            assert judged(subject, exploited, policy=find(name)).decision == "block"


def test_the_workloads_of_the_examples() -> None:
    medium = finding(severity="MEDIUM", score=5.0)
    research, licences = find("research"), find("licences")
    assert judged(package(**OLD), medium, policy=research).decision == "allow"
    assert judged(package(**OLD), medium, policy=research, workload="serving").decision == "hold"
    assert judged(DEB, finding(), policy=research, workload="serving").decision == "block"
    gpl = package(licences=("GPL-3.0-only",))
    assert judged(gpl, policy=licences, workload="in-house").decision == "allow"
    agpl = package(licences=("AGPL-3.0-or-later",))
    assert judged(agpl, policy=licences, workload="in-house").decision == "block"


def test_which_facts_the_policies_ask_for() -> None:
    assert asks_for(find("offline"), "") == set()
    assert asks_for(find("strict"), "") == {"uploaded", "yanked"}
    assert asks_for(find("research"), "") == {"uploaded"}
    assert asks_for(find("licences"), "") == {"licences"}
