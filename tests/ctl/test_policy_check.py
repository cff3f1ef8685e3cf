"""`./dmz policy`: what another policy would change is shown before anybody deploys it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.ctl import policy as command
from functions.ctl.cli import main
from functions.ctl.stored import Records
from shared.model.case import Case, FactKind, Facts, Subject
from shared.model.package import Package
from shared.model.policy import KEV, Policy
from shared.model.verdict import DataSource, Finding
from shared.policy.compare import Comparison, compare, lacks
from shared.policy.judge import judge_all
from shared.policy.read import BUILT_IN, find
from tests.ctl.samples import SOURCE
from tests.stages.world import World

AT = "2026-11-21T20:00:00Z"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.bus.close()


def stored(world: World) -> Records:
    return Records(world.store, world.blobs)


def with_pypi(policy: Policy, **rules: Any) -> Policy:
    """The policy with other rules for Python packages, checked as a file would be."""
    return with_rules(policy, "pypi", **rules)


def with_rules(policy: Policy, ecosystem: str, **rules: Any) -> Policy:
    fields = policy.model_dump(mode="json")
    fields[ecosystem] |= rules
    return Policy.check({**fields, "name": "other"}, "The policy")


def written(policy: Policy, path: Path) -> Path:
    path.write_text(json.dumps(policy.model_dump(mode="json")))
    return path


# --- pure ---


def subject(name: str, facts: Facts | None = None, **more: Any) -> Subject:
    package = Package(ecosystem="pypi", name=name, version="1.0")
    return Subject(package=package, facts=facts or Facts(), **more)


def case(*subjects: Subject, asked: tuple[FactKind, ...] = (), **flaws: str) -> Case:
    """`flaws`: name of a package to the severity of its flaw."""
    findings = {
        f"pkg:pypi/{name}@1.0": (
            Finding.check(
                {
                    "id": f"GHSA-{name}",
                    "aliases": [],
                    "severity": severity,
                    "score": None,
                    "fixed": [],
                    "malicious": False,
                    "summary": "",
                },
                "The finding",
            ),
        )
        for name, severity in flaws.items()
    }
    return Case(
        at=AT,
        workload="small",
        policy=find("default"),
        source=SOURCE,
        subjects=subjects,
        findings=findings,
        asked=asked,
    )


def compared(one: Case, policy: Policy, *wanted: FactKind) -> Comparison:
    return compare(judge_all(one), one, policy, wanted)


def test_the_worst_comes_first_with_the_rule_that_decides() -> None:
    one = case(
        subject("calm"), subject("held"), subject("low", needed_by=("app", "mid")), subject("high"),
        held="UNKNOWN", low="LOW", high="HIGH",
    )  # fmt: skip
    stricter = with_pypi(find("default"), severity={"hold": "never", "block": "LOW"}, unknown_severity="hold")
    found = compared(one, stricter)
    assert [(c.purl, c.before, c.after, c.rule) for c in found.changes] == [
        ("pkg:pypi/low@1.0", "allow", "block", "severity"),
        ("pkg:pypi/held@1.0", "block", "hold", "unknown_severity"),
    ]
    assert found.changes[0].needed_by == ("app", "mid")
    assert "GHSA-low" in found.changes[0].reason
    assert (found.same, found.unknown, found.clean) == (2, (), False)


def test_what_would_be_admitted_names_the_rule_that_refused() -> None:
    one = case(subject("high"), high="HIGH")
    laxer = with_pypi(find("default"), severity={"hold": "never", "block": "CRITICAL"})
    (change,) = compared(one, laxer).changes
    assert (change.before, change.after, change.rule) == ("block", "allow", "severity")
    assert "would not refuse it any more (GHSA-high" in change.reason


def test_the_same_policy_changes_nothing() -> None:
    one = case(subject("low"), subject("high"), low="LOW", high="HIGH")
    found = compared(one, with_pypi(find("default")))
    assert (found.changes, found.unknown, found.same, found.clean) == ((), (), 2, True)


def licensed(policy: Policy) -> Policy:
    """Only MIT may enter; what says nothing passes: the kindest answer that facts which nobody has could get."""
    licences = {"allow": ["MIT"], "deny": [], "refused": "block", "unknown": "allow"}
    return with_pypi(policy, licences=licences)


def test_what_nobody_asked_for_is_not_known_and_not_clean() -> None:
    one = case(subject("silent"), subject("bad"), bad="HIGH")
    found = compared(one, licensed(find("default")), "licences")
    assert [(each.purl, each.before, each.lacking) for each in found.unknown] == [
        ("pkg:pypi/silent@1.0", "allow", ("the licence",))
    ]
    assert (found.changes, found.same, found.clean) == ((), 1, False)  # blocked already, whatever its licence
    assert lacks(found.unknown) == (
        "This case does not know the licence of 1 package, which the policy asks for: run again to learn."
    )


def test_what_was_asked_for_is_an_answer_even_if_it_is_empty() -> None:
    facts = {"mit": Facts(licences=("MIT",)), "gpl": Facts(licences=("GPL-3.0-only",)), "silent": Facts()}
    one = case(*(subject(name, said) for name, said in facts.items()), asked=("licences",))
    found = compared(one, licensed(find("default")), "licences")
    assert [(c.purl, c.after, c.rule) for c in found.changes] == [("pkg:pypi/gpl@1.0", "block", "licences")]
    assert (found.unknown, found.same) == ((), 2)


def test_facts_of_one_kind_do_not_stand_for_another() -> None:
    one = case(subject("young", Facts(uploaded=AT)), asked=("uploaded",))
    found = compared(one, licensed(find("default")), "licences", "uploaded")
    assert [each.lacking for each in found.unknown] == [("the licence",)]


def exploited(policy: Policy) -> Policy:
    return with_pypi(policy, known_exploited="block")


def test_a_catalogue_that_was_not_at_hand_is_not_known_and_not_clean() -> None:
    one = case(subject("low"), subject("clean"), subject("bad"), low="LOW", bad="HIGH")
    found = compared(one, exploited(find("default")))
    assert [(each.purl, each.lacking) for each in found.unknown] == [
        ("pkg:pypi/low@1.0", ("what CISA KEV says",))
    ]
    assert (found.changes, found.same) == ((), 2)
    also = (DataSource(name=KEV, date=AT, digest=SOURCE.digest),)
    there = one.model_copy(update={"source": SOURCE.model_copy(update={"also": also})})
    assert compared(there, exploited(find("default"))).clean
    # Judged without it by the very policy: held then, and held again.
    asking = one.model_copy(update={"policy": exploited(find("default"))})
    assert compared(asking, exploited(find("default"))).clean


def test_of_what_no_index_speaks_a_new_run_would_learn_nothing() -> None:
    one = case(subject("mine", own_wheel=True), asked=())
    assert compared(one, licensed(find("default")), "licences").clean


# --- against runs ---


def checked(
    world: World, policy: Policy, against: str, capsys: pytest.CaptureFixture[str], as_json: bool = False
) -> tuple[int, str]:
    code = command.check(policy, against, stored(world), as_json)
    return code, capsys.readouterr().out


def test_a_run_under_its_own_policy(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    code, said = checked(world, world.policy, run_id, capsys)
    assert code == 0
    # Everything that the outer VM had, and what takes the place of lib, openssl and libssl3.
    assert "nothing would change, 15 packages keep their decision." in said
    assert f"{run_id} (workload small, judged at " in said


def test_a_run_under_another_policy(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.market.flaw("tool", "1.0", severity="LOW")
    world.market.flaw("lib", "1.1", severity="MEDIUM")
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    stricter = with_pypi(world.policy, severity={"hold": "never", "block": "LOW"})
    code, said = checked(world, stricter, run_id, capsys)
    assert code == 1
    lines = [line.strip() for line in said.splitlines()]
    assert any(
        line.startswith("allow -> block  pkg:pypi/tool@1.0  severity: GHSA-tool-1.0") for line in lines
    )
    # lib 1.1 was not on the outer VM: it is what the lock put in the place of lib 1.0.
    assert any(line.startswith("allow -> block  pkg:pypi/lib@1.1  severity: GHSA-lib-1.1") for line in lines)
    assert lines[-1] == "2 allow -> block; 13 packages keep their decision."


def test_all_runs_and_one_that_cannot_be_compared(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = world.request(), world.request()
    assert checked(world, world.policy, "all", capsys)[0] == 0
    del world.blobs._content[world.run(second)["verdicts"]]
    code, said = checked(world, world.policy, "all", capsys, as_json=True)
    runs = {each["run_id"]: each for each in json.loads(said)["runs"]}
    # Equal runs have equal verdicts but for their moment.
    assert runs.keys() == {first, second}
    assert "There is no stored content" in runs[second]["trouble"]
    assert code == 1


def test_facts_that_a_run_lacks_are_said(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    code, said = checked(world, licensed(world.policy), run_id, capsys)
    assert code == 1
    assert "This case does not know the licence of " in said
    assert "not known  pkg:pypi/tool@1.0 (was allow)" in said
    document = json.loads(checked(world, licensed(world.policy), run_id, capsys, as_json=True)[1])
    assert document["clean"] is False
    assert {each["purl"] for each in document["runs"][0]["unknown"]} >= {"pkg:pypi/tool@1.0"}


def test_facts_that_a_run_asked_for_are_answers(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The same question as above, to a run whose own policy had the licences fetched: all are MIT."""
    world.policy = licensed(world.policy)
    world.market.said["tool", "1.0"] = Facts(licences=("GPL-3.0-only",))
    run_id = world.request()
    assert checked(world, world.policy, run_id, capsys)[0] == 0
    laxer = with_pypi(
        world.policy, licences={"allow": ["*"], "deny": [], "refused": "block", "unknown": "allow"}
    )
    code, said = checked(world, laxer, run_id, capsys)
    assert (code, said.count(" -> "), "not known" in said) == (1, 2, False)  # the line, and the total
    assert "block -> allow  pkg:pypi/tool@1.0  licences: it would not refuse it any more" in said


def test_nothing_is_written(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    before = (dict(world.store._documents), dict(world.blobs._content), len(world.bus.published))
    checked(world, licensed(world.policy), run_id, capsys)
    assert (dict(world.store._documents), dict(world.blobs._content), len(world.bus.published)) == before


# --- the command ---


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DMZ_HOME", str(tmp_path / "home"))


def test_a_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(find("default"), tmp_path / "mine.yaml")
    assert main(["policy", "check", str(path)]) == 0
    assert capsys.readouterr().out == f"The policy default is valid ({find('default').digest}).\n"
    assert main(["policy", "check", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policy"]["digest"] == find("default").digest


def test_every_mistake_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (BUILT_IN / "default.yaml").read_text().splitlines()
    at = {
        start: lines.index(next(x for x in lines if x.strip().startswith(start)))
        for start in ("undecided", "generic")
    }
    lines[at["undecided"]] = "  undecided: maybe"
    lines.insert(at["generic"] + 1, "  frobnicate: allow")
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(lines))
    assert main(["policy", "check", str(path), "--against", "all"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"line {at['undecided'] + 1}" in said.err
    assert f"line {at['generic'] + 2}" in said.err


def test_no_platform_is_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(find("default"), tmp_path / "mine.yaml")
    assert main(["policy", "check", str(path), "--against", "all"]) == 3
    assert "The platform is not up" in capsys.readouterr().err


def test_an_unknown_run_is_bad_input(world: World) -> None:
    from functions.ctl.inputs import BadInput

    with pytest.raises(BadInput, match="There is no run 'run-x' here"):
        command.check(world.policy, "run-x", stored(world), False)


def test_built_in_policies_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "list"]) == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} >= {"default", "offline"}
    assert main(["policy", "list", "--json"]) == 0
    assert {each["name"] for each in json.loads(capsys.readouterr().out)} >= {"default", "offline"}
    assert main(["policy", "show", "default"]) == 0
    assert capsys.readouterr().out == (BUILT_IN / "default.yaml").read_text()
    assert main(["policy", "show", "../default"]) == 2
