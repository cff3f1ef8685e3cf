"""What the index says of packages, from the policy that wants it to the stored case that proves the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.judgement import Court
from shared.model.case import Case, FactKind, Facts, Subject
from shared.model.package import Package
from shared.model.policy import Cooldown, Licences, Policy
from shared.model.verdict import Verdict, Verdicts
from shared.policy.judge import judge_all
from shared.policy.read import find
from shared.upstream import http
from shared.upstream.facts import PypiFacts
from shared.upstream.pypi import PythonIndexClient
from tests.chain.goods import Shelf
from tests.stages.hostile import raw, told
from tests.stages.world import WORKLOAD, World
from tests.support import built
from tests.support.market import TRIXIE, UPLOADED, Market
from tests.upstream.support import Web

Make = Callable[..., World]
ALL = frozenset[FactKind]({"licences", "uploaded", "yanked"})


def asking(**changes: Any) -> Policy:
    """The default policy, and what it is to ask the index."""
    policy = find("default")
    rules = policy.pypi.model_copy(update=changes)
    return policy.model_copy(update={"pypi": rules, "max_advisory_age_hours": 10**6})


def strict() -> Policy:
    free = Licences(allow=("MIT",), deny=(), refused="block", unknown="hold")
    return asking(cooldown=Cooldown(days=7, unknown_upload="hold"), yanked="block", licences=free)


def judged(world: World, run_id: str) -> tuple[Case, dict[str, Verdict]]:
    verdicts = Verdicts.read(world.blobs.get(world.run(run_id)["verdicts"]), "The verdicts")
    case = Case.read(world.blobs.get(verdicts.case), "The case")
    assert judge_all(case) == verdicts.verdicts  # from the case alone: no network, no index
    return case, {verdict.package.name: verdict for verdict in verdicts.verdicts}


def subjects(case: Case) -> dict[str, Subject]:
    return {subject.package.name: subject for subject in case.subjects}


def test_a_run_under_a_policy_that_asks(make: Make) -> None:
    world = make(policy=strict())
    run_id = world.request()
    assert (world.run(run_id)["state"], world.bus.dead, world.raised) == ("completed", [], [])
    case, _ = judged(world, run_id)
    assert case.asked == ("licences", "uploaded", "yanked")
    found = subjects(case)
    assert found["app"].facts == Facts(uploaded=UPLOADED, licences=("MIT",))
    assert found["mine"].own_wheel
    assert found["mine"].facts == found["openssl"].facts == found["data.bin"].facts == Facts()


def test_the_index_is_not_asked_for_what_nobody_can_read(make: Make) -> None:
    world = make(policy=strict())
    manifest = raw(world)
    packages = manifest["environments"][0]["packages"]
    packages.append(packages[0] | {"name": "\u0430pp"})
    assert "is held" in told(world, json.dumps(manifest).encode())
    asked = {name for names, _ in world.market.questions for name in names}
    assert asked == {"app", "lib", "old", "tool"}


def test_the_index_never_hears_the_name_of_ones_own_wheel(make: Make) -> None:
    world = make(policy=strict())
    world.request()
    asked = {name for names, _ in world.market.questions for name in names}
    assert asked == {"app", "lib", "old", "tool", "extra", "builder"}


def test_only_the_kinds_that_the_policy_wants_are_asked_for(make: Make) -> None:
    world = make(policy=asking(yanked="hold"))
    run_id = world.request()
    assert {kinds for _, kinds in world.market.questions} == {frozenset({"yanked"})}
    case, _ = judged(world, run_id)
    assert case.asked == ("yanked",)
    assert subjects(case)["app"].facts == Facts()


def test_a_policy_that_asks_nothing_asks_nobody(world: World) -> None:
    run_id = world.request()
    assert world.market.questions == []
    assert judged(world, run_id)[0].asked == ()


def test_what_replaces_a_package_is_asked_for_too_and_has_its_way(make: Make) -> None:
    world = make(policy=strict())
    world.market.said["lib", "1.1"] = Facts(uploaded="2021-05-06T07:08:09Z", licences=("MIT",))
    run_id = world.request()
    stored = world.run(run_id)["replacement_cases"]
    cases = [Case.read(world.blobs.get(digest), "The case") for digest in stored]
    replacing = {s.package.purl: s for case in cases for s in case.subjects}
    assert replacing["pkg:pypi/lib@1.1"].facts.uploaded == "2021-05-06T07:08:09Z"
    assert replacing["pkg:pypi/lib@1.1"].needed_by == ("app",)


def test_a_replacement_that_the_index_withdrew_is_not_taken(make: Make) -> None:
    world = make(policy=strict())
    for version in ("1.1", "2.0"):
        world.market.said["lib", version] = Facts(uploaded=UPLOADED, yanked="broken", licences=("MIT",))
    run_id = world.request()
    assert world.run(run_id)["state"] == "failed"
    assert "lib" in world.run(run_id)["reason"]


@pytest.mark.parametrize(
    ("facts", "decision", "why"),
    [
        (Facts(uploaded="2999-01-01T00:00:00Z", licences=("MIT",)), "hold", "2999-01-01T00:00:00Z"),
        (Facts(uploaded=UPLOADED, yanked="leaks keys", licences=("MIT",)), "block", "leaks keys"),
        (Facts(uploaded=UPLOADED, licences=("GPL-3.0-only",)), "block", "GPL-3.0-only"),
        (Facts(lacking="the index is down"), "hold", "the index is down"),
    ],
)
def test_what_the_index_says_decides(make: Make, facts: Facts, decision: str, why: str) -> None:
    world = make(policy=strict())
    world.market.said["tool", "1.0"] = facts
    _, verdicts = judged(world, world.request())
    assert verdicts["tool"].decision == decision
    assert why in verdicts["tool"].reason
    assert verdicts["app"].decision == "allow"


def test_an_index_out_of_reach_holds_every_package_of_it_and_no_other(make: Make) -> None:
    class Down:
        def of(
            self, packages: Sequence[Package], wanted: Collection[FactKind], files: Any = None
        ) -> Mapping[str, Facts]:
            return {package.purl: Facts(lacking="the index cannot be reached") for package in packages}

    world = make(policy=strict(), through=lambda name, port: Down() if name == "facts" else port)
    _, verdicts = judged(world, world.request())
    held = {name for name, verdict in verdicts.items() if verdict.decision == "hold"}
    assert {"app", "tool", "old"} <= held
    assert not held & {"mine", "jq", "libc6", "data.bin"}


def test_every_verdict_says_by_which_way_the_workload_needs_it(world: World) -> None:
    _, verdicts = judged(world, world.request())
    assert {name: verdict.needed_by for name, verdict in verdicts.items()} == {
        "app": ("the workload itself",),
        "data.bin": ("the workload itself",),
        "jq": ("the workload's apt list",),
        "lib": ("app",),
        "libc6": ("the base image",),
        "libjq1": ("the workload's apt list",),
        "libssl3": ("the base image",),
        "mine": ("the workload itself",),
        "old": ("the workload itself",),
        "openssl": ("the base image",),
        "tool": ("app",),
    }


# --- the court alone ---

LIB, OTHER = (
    Package(ecosystem="pypi", name="lib", version="1.0"),
    Package(ecosystem="pypi", name="x", version="1"),
)


def court(market: Market, **more: Any) -> Court:
    return Court(market, strict(), TRIXIE, 1.8e9, WORKLOAD.name, **more)


def test_nobody_there_to_ask_is_lacking() -> None:
    (subject,) = court(Market()).case([Subject(package=LIB)]).subjects
    assert subject.facts.lacking == "nobody asked the index about it"


def test_a_port_that_leaves_a_package_out_leaves_it_lacking() -> None:
    class Silent:
        def of(
            self, packages: Sequence[Package], wanted: Collection[FactKind], files: Any = None
        ) -> Mapping[str, Facts]:
            return {}

    (subject,) = court(Market(), facts=Silent()).case([Subject(package=LIB)]).subjects
    assert subject.facts.lacking == "nobody asked the index about it"


def test_the_index_is_not_believed_about_what_came_from_elsewhere() -> None:
    market = Market()
    market.wheel("lib", "1.0")
    given = [
        Subject(package=LIB, direct_url="git+https://git.test/lib"),
        Subject(package=OTHER, direct_url="file:///x.whl", own_wheel=True),
    ]
    far, own = court(market, facts=market).case(given).subjects
    assert far.facts == Facts(lacking="it did not come from the index")
    assert own.facts.uploaded == ""
    assert market.questions == []


def test_facts_of_an_earlier_case_do_not_stay() -> None:
    market = Market()
    market.wheel("lib", "1.0")
    earlier = Subject(package=LIB, facts=Facts(yanked="once", lacking="then"))
    (asked,) = court(market, facts=market).case([earlier]).subjects
    assert asked.facts == Facts(uploaded=UPLOADED, licences=("MIT",))
    (unasked,) = Court(market, find("default"), TRIXIE, 1.8e9).case([earlier]).subjects
    assert unasked.facts == Facts()


def test_the_real_port_over_the_chains_own_index(tmp_path: Path) -> None:
    web = Web()
    try:
        shelf = Shelf(web)
        shelf.add("lib", built.wheel("lib", "1.0"), uploaded="2026-03-04T05:06:07Z", yanked='bad "build"')
        client = http.client()
        facts = PypiFacts(PythonIndexClient(f"{web.url}/simple/", client), client)
        (subject,) = court(Market(), facts=facts).case([Subject(package=LIB)]).subjects
    finally:
        web.close()
    assert subject.facts == Facts(uploaded="2026-03-04T05:06:07Z", yanked='bad "build"')
