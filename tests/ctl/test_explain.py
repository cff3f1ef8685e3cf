"""`./dmz explain`: one verdict in words, and whom nobody knows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from functions.ctl import explain as command
from functions.ctl.cli import main
from functions.ctl.explanation import Bearing, Explanation, described, lines, next_steps
from functions.ctl.inputs import BadInput
from functions.ctl.sought import Sought, choose, read
from functions.ctl.stored import Records
from shared.events import timestamp
from shared.model.decision import Cause, LoggedDecision
from shared.model.package import Package
from shared.model.verdict import Finding, Verdict
from shared.model.waiver import Waiver
from shared.policy.need import APT, BASE, ITSELF
from shared.policy.read import find
from shared.ports.store import Put
from tests.ctl.samples import change, verdict
from tests.stages.world import World

HOSTILE = "evil\x1b[31m[link=x]<b>\u202e\n\r\x00"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.bus.close()


def explained(world: World, asked: str, run_id: str = "") -> Explanation:
    return command.explanation(Records(world.store, world.blobs), read(asked), run_id, time.time())


def of(found: Verdict, **more: Any) -> Explanation:
    fields: dict[str, Any] = {
        "run_id": "run-0123456789ab",
        "workload": "quickstart",
        "at": "2026-11-22T06:00:00Z",
        "policy": find("default"),
        "replaced_by": (),
        "replaces": (),
        "only_looked_at": False,
        "waivers": (),
        "logged": (),
    }
    return Explanation(verdict=found, **fields | more)


# --- which package is meant ---

JINJA = Package(ecosystem="pypi", name="jinja2", version="3.1.4")
SSL = Package(
    ecosystem="debian",
    name="libssl3",
    version="1:3.0-1",
    architecture="amd64",
    distro="debian-13",
    source_name="openssl",
    source_version="3.0-1",
)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("jinja2", JINJA),
        ("Jinja2", JINJA),
        ("jinja2==3.1.4", JINJA),
        ("jinja2===3.1.4", JINJA),
        ("jinja2@3.1.4", JINJA),
        ("jinja2==3.1.4.0", JINJA),
        ("pkg:pypi/jinja2", JINJA),
        ("pkg:pypi/Jinja2@3.1.4", JINJA),
        ("libssl3", SSL),
        ("libssl3=1:3.0-1", SSL),
        ("pkg:deb/debian/libssl3", SSL),
        (SSL.purl, SSL),
        (" jinja2 ", JINJA),
    ],
)
def test_however_people_write_it(asked: str, meant: Package) -> None:
    assert choose(read(asked), (JINJA, SSL), "run-x") == meant


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("jinja", "no package 'jinja' in run-x; the nearest are jinja2"),
        ("jinja2==3.1.5", "run-x knows 3.1.4, not 3.1.5"),
        ("pkg:pypi/libssl3", "no package"),
        ("pkg:npm/left-pad", "no purl of a kind"),
        ("pkg:pypi/", "no purl of a kind"),
        ("pkg:deb/debian/libssl3?arch=arm64", "no package"),
        ("", "names no package"),
        ("==1.0", "something must stand before the version"),
        ("a" * 2000, "names no package"),
        ("jin\x1bja", "names no package"),
        ("zzz", "There is no package 'zzz' in run-x."),
    ],
)
def test_what_nobody_knows_is_one_sentence(asked: str, said: str) -> None:
    with pytest.raises(BadInput) as refused:
        choose(read(asked), (JINJA, SSL), "run-x")
    assert said in str(refused.value)
    assert str(refused.value).isprintable()


def test_what_several_bear_is_named() -> None:
    """A wheel and a Debian package of one name; the ecosystem tells them apart."""
    jq = (Package(ecosystem="pypi", name="jq", version="1"), SSL.model_copy(update={"name": "jq"}))
    with pytest.raises(
        BadInput, match=r"could be several packages of run-x: pkg:deb/.*, pkg:pypi/jq@1; give"
    ):
        choose(read("jq"), jq, "run-x")
    assert choose(read("pkg:pypi/jq"), jq, "run-x") == jq[0]


def test_a_source_version_that_is_no_pep_440() -> None:
    odd = Package(ecosystem="pypi", name="odd", version="1.0-unreadable")
    assert Sought("odd", "odd", "1.0-unreadable").matches(odd)


# --- over a whole run ---


def test_a_refused_package_says_why_and_what_took_its_place(world: World) -> None:
    run_id = world.request()
    found = explained(world, "lib")
    text = "\n".join(lines(found))
    assert found.run_id == run_id
    assert text.startswith(f"pkg:pypi/lib@1.0 is blocked (small, {run_id}, ")
    assert "because     severity: GHSA-lib-1.0 - severity HIGH; fixed in 9" in text
    assert "policy      default, sha256:" in text
    assert (
        f"data        {found.verdict.advisories.source} of {found.verdict.advisories.date}, sha256:" in text
    )
    assert "advisory    GHSA-lib-1.0: HIGH" in text
    assert "instead     pkg:pypi/lib@1.1: " in text
    assert "next        nothing must be done: the run installs pkg:pypi/lib@1.1 in its place" in text
    kinds = [entry.kind for entry in found.logged]
    assert kinds == ["refusal", "replacement"]
    assert text.isascii()


def test_what_replaces_it_says_so_too(world: World) -> None:
    world.request()
    found = explained(world, "lib==1.1")
    assert found.verdict.decision == "allow"
    assert [each.before.version for each in found.replaces] == ["1.0"]
    assert "replaces    pkg:pypi/lib@1.0: " in "\n".join(lines(found))
    assert explained(world, "extra").replaces[0].kind == "added"
    assert "came in     " in "\n".join(lines(explained(world, "extra")))


def test_a_debian_package_by_its_name(world: World) -> None:
    world.request()
    found = explained(world, "libssl3")
    assert found.verdict.package.source_name == "openssl"
    assert found.replaced_by[0].after.version == "3.0-2"


def test_the_newest_run_is_meant_unless_another_is_named(world: World) -> None:
    first = world.request()
    world.ahead = 60
    second = world.request()
    assert explained(world, "tool").run_id == second
    assert explained(world, "tool", first).run_id == first
    with pytest.raises(BadInput, match="There is no run 'run-unknown'"):
        explained(world, "tool", "run-unknown")


def test_no_run_at_all(world: World) -> None:
    with pytest.raises(BadInput, match="No run has any verdicts"):
        explained(world, "tool")


def test_a_waiver_is_shown_with_its_end(world: World) -> None:
    now = time.time()
    waiver = Waiver(
        advisory="GHSA-lib-1.0",
        package="pkg:pypi/lib@*",
        reason="it is only used in tests",
        approver="ada@example.org",
        granted=timestamp(now - 60),
        expires=timestamp(now + 86_400),
    )
    world.bus.send(
        "waiver-granted", json.dumps({"waiver": waiver.model_dump(mode="json")}).encode(), {"ce-id": "w"}
    )
    world.quiet()
    world.request()
    found = explained(world, "lib")
    text = "\n".join(lines(found))
    assert found.verdict.decision == "allow"
    assert f"waiver      {waiver.id}: " in text
    assert f"approved by ada@example.org until {waiver.expires}: it is only used in tests" in text
    assert (
        f"next        replace it, or waive it anew, before {waiver.expires}: fixed are GHSA-lib-1.0 in 9"
        in text
    )
    world.store.put([Put("waivers", waiver.id, {"state": "revoked", "ended": {"by": "bob"}}, merge=True)])
    text = "\n".join(lines(explained(world, "lib")))
    assert "it was revoked by bob" in text
    assert "its waiver does not count any more" in text


# --- in words ---


def test_a_hold_says_when_it_ends() -> None:
    held = verdict("lib", "1.0", "hold").model_copy(update={"until": "2026-12-01T00:00:00Z"})
    text = "\n".join(lines(of(held)))
    assert "until       2026-12-01T00:00:00Z, if nothing else changes" in text
    assert "next        wait until 2026-12-01T00:00:00Z" in text


def test_a_block_without_a_replacement_says_both_ways() -> None:
    steps = list(next_steps(of(verdict("lib", "1.0", "block", "GHSA-1"))))
    assert steps == [
        "ask for a version without the flaws: fixed are GHSA-1 in 3.1.5",
        "or let somebody who answers for it waive it, as with ./dmz waive GHSA-1 pkg:pypi/lib@1.0",
    ]


def test_nobody_is_told_to_waive_malware() -> None:
    bad = verdict("lib", "1.0", "block", "MAL-1")
    evil = bad.findings[0].model_copy(update={"malicious": True, "fixed": ()})
    steps = list(next_steps(of(bad.model_copy(update={"findings": (evil,)}))))
    assert not any("waive" in step for step in steps)


def test_the_way_by_which_it_is_needed() -> None:
    deep = verdict("lib", "1.0", "allow").model_copy(update={"needed_by": ("app", "tool")})
    assert "  needed by   quickstart -> app -> tool -> lib" in list(lines(of(deep)))
    for way in (ITSELF, APT, BASE):
        known = verdict("lib", "1.0", "allow").model_copy(update={"needed_by": way})
        assert f"  needed by   {way[0]}" in list(lines(of(known)))


def test_what_is_known_of_a_flaw() -> None:
    flaw = Finding(
        id="GHSA-1",
        aliases=("CVE-2024-1",),
        severity="HIGH",
        score=8.1,
        fixed=("2.0", "1.5"),
        malicious=False,
        summary="escapes",
        exploited=True,
        exploit_probability=0.123,
    )
    assert described(flaw) == (
        "GHSA-1 (CVE-2024-1): HIGH 8.1; exploited in the wild; exploited within 30 days with a probability of 12.3%; "
        "fixed in 2.0 or 1.5. escapes"
    )


def test_hostile_words_are_shown_harmless() -> None:
    """Names, reasons, summaries, waivers and the log: nothing that a terminal would obey."""
    odd = Package(ecosystem="generic", name=HOSTILE, version=HOSTILE)
    flaw = Finding(
        id=HOSTILE,
        aliases=(HOSTILE, f"CVE-{HOSTILE}"),
        severity="HIGH",
        score=None,
        fixed=(HOSTILE,),
        malicious=False,
        summary=HOSTILE,
        undecided=HOSTILE,
    )
    bad = verdict("lib", "1.0", "block")
    rule = bad.rules[0].model_copy(update={"reason": HOSTILE, "rule": HOSTILE})
    held = bad.model_copy(
        update={
            "package": odd,
            "findings": (flaw,),
            "rules": (rule,),
            "needed_by": (HOSTILE,),
            "until": HOSTILE,
        }
    )
    swap = change("lib", "1.0", "1.1").model_copy(update={"reason": HOSTILE, "before": odd})
    logged = LoggedDecision(
        kind="refusal",
        subject=HOSTILE,
        reason=HOSTILE,
        at="2026-11-22T06:00:00Z",
        actor=HOSTILE,
        run_id="run-0123456789ab",
        about="",
        cause=Cause(type="x", id=HOSTILE, source=HOSTILE),
        details={},
    )
    found = of(
        held,
        workload=HOSTILE,
        replaces=(swap,),
        waivers=(Bearing(*[HOSTILE] * 6),),
        logged=(logged,),
    )
    for line in lines(found):
        assert line.isprintable(), line
    assert json.loads(json.dumps(found.document()))["reason"] == HOSTILE


def test_thousands_of_findings_are_not_all_shown() -> None:
    many = verdict("lib", "1.0", "block", *[f"GHSA-{number}" for number in range(5000)])
    assert len(list(lines(of(many)))) < 60
    assert len(of(many).document()["findings"]) == 5000


def test_a_version_that_was_only_looked_at(world: World) -> None:
    looked = of(verdict("lib", "2.0", "allow"), only_looked_at=True)
    text = "\n".join(lines(looked))
    assert "it was looked at as a replacement, and another one was taken" in text
    assert "this version is not what the run installs" in text


# --- the command ---


def test_without_a_platform_it_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("DMZ_HOME", str(tmp_path))
    assert main(["explain", "jinja2"]) == 3
    assert "The platform is not up" in capsys.readouterr().err
    assert main(["explain", "pkg:npm/x"]) == 2


def test_as_json(world: World, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
    world.request()
    monkeypatch.setattr(command, "records", lambda *_: Records(world.store, world.blobs))
    assert main(["explain", "lib", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["decision"] == "block"
    assert shown["replaced_by"][0]["after"] == "pkg:pypi/lib@1.1"
    assert shown["rules"]
    assert main(["explain", "nothing-like-it"]) == 2
    assert "There is no package 'nothing-like-it'" in capsys.readouterr().err
