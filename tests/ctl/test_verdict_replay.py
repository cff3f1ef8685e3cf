"""`./dmz verdict`: the same case gives the same bytes, anywhere; and whatever was changed is told in words."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.ctl import verdict as command
from shared.model.case import Case
from shared.model.value import sha256
from shared.model.verdict import Verdicts
from shared.policy.judge import judge_all
from shared.ports.store import Put
from tests.ctl.replaying import differs, edited, renamed, replayed
from tests.stages.conftest import make as make
from tests.stages.conftest import world as world
from tests.stages.world import World

ROOT = Path(__file__).parents[2]


# --- the same ---


def test_a_run_is_the_same_again(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    run = world.run(run_id)
    code, said = replayed(world, run_id, capsys)
    assert (code, said["same"], said["difference"]) == (0, True, "")
    assert [each["verdicts"] for each in said["judgements"]] == [
        run["verdicts"],
        *run["replacement_verdicts"],
    ]
    assert all(each["verdicts"] == each["again"] for each in said["judgements"])
    assert f"the case {run['case']}" in said["sentence"]
    assert f"gives the verdicts {run['verdicts']} byte for byte" in said["sentence"]


def test_every_verdict_of_a_run_follows_from_a_stored_case(world: World) -> None:
    """Those of the replacements as well: the documents hold nothing that could not be judged again."""
    run_id = world.request()
    run = world.run(run_id)
    again = {
        verdict.package.purl: verdict.decision
        for digest in (run["case"], *run["replacement_cases"])
        for verdict in judge_all(Case.read(world.blobs.get(digest), "The case"))
    }
    shown = {each["purl"]: each["decision"] for _, each in world.store.find("verdicts", "run_id", run_id)}
    assert {purl for purl in shown if "@1.1" in purl or "@3.0-2" in purl}  # replacements
    assert shown.items() <= again.items()


def test_verdicts_by_their_digest(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (digest,) = world.run(world.request())["replacement_verdicts"]
    code, said = replayed(world, digest, capsys)
    assert (code, [each["verdicts"] for each in said["judgements"]]) == (0, [digest])


def test_a_run_without_refusals_has_one_case(
    make: Callable[..., World], capsys: pytest.CaptureFixture[str]
) -> None:
    world = make()
    world.market.flaws.clear()
    run_id = world.request()
    code, said = replayed(world, run_id, capsys)
    assert (code, world.run(run_id)["state"]) == (0, "completed")
    # What a source distribution is built with was not on the outer VM.
    assert [each["verdicts"] for each in said["judgements"][1:]] == world.run(run_id)["replacement_verdicts"]


_JUDGE = """
import sys
from pathlib import Path
from shared.judgement import Court
from shared.model.case import Case, Subject
from shared.model.holdings import Held, Holdings
from shared.model.package import Package
from shared.model.verdict import Verdicts
from shared.policy.judge import judge_all
case = Case.read(Path(sys.argv[1]).read_bytes(), "The case")
made = Verdicts(manifest=case.digest, case=case.digest, verdicts=judge_all(case))
sys.stdout.buffer.write(made.canonical())
"""


def test_the_same_bytes_whatever_the_process(world: World, tmp_path: Path) -> None:
    for number in range(30):
        world.market.flaw(f"p{number}", "1.0", severity=("LOW", "UNKNOWN", "HIGH")[number % 3])
    case = Case.read(world.blobs.get(world.run(world.request())["case"]), "The case")
    path = tmp_path / "case.json"
    path.write_bytes(case.canonical())
    made = set()
    surroundings = [
        ("0", "C", "UTC"),
        ("1", "C.UTF-8", "Asia/Kathmandu"),
        ("4242", "tr_TR.UTF-8", "America/St_Johns"),
    ]
    for seed, locale, zone in surroundings:
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "LC_ALL": locale,
            "LANG": locale,
            "TZ": zone,
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            [sys.executable, "-c", _JUDGE, str(path)], env=environment, capture_output=True, check=True
        )
        made.add(done.stdout)
    (content,) = made
    here = Verdicts(manifest=case.digest, case=case.digest, verdicts=judge_all(case))
    assert content == here.canonical()


def test_the_order_of_what_is_known_changes_nothing(world: World) -> None:
    case = Case.read(world.blobs.get(world.run(world.request())["case"]), "The case")
    turned = case.model_copy(
        update={
            "subjects": case.subjects[::-1],
            "findings": dict(reversed(case.findings.items())),
            "waivers": case.waivers[::-1],
        }
    )
    assert judge_all(turned) == judge_all(case)


# --- what was changed ---


def altered(world: World, digest: str) -> None:
    """The store gives other bytes for it, without a look at the digest, as one that does not check."""
    content = world.blobs.get(digest).replace(b'"pkg:pypi/lib@1.0"', b'"pkg:pypi/lib@1.9"')
    content = content.replace(b'"decision":"block"', b'"decision":"allow"')
    world.blobs._content[digest] = content
    world.blobs.get = world.blobs._content.__getitem__


@pytest.mark.parametrize("what", ["case", "verdicts"])
def test_changed_content_is_told_by_its_digest(
    world: World, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = world.request()
    digest = world.run(run_id)[what]
    altered(world, digest)
    assert differs(world, run_id, capsys).startswith(
        f"The stored {what} {digest} has been changed: its content has "
    )


def admit(content: Any) -> None:
    """The verdicts now say that lib 1.0 may enter."""
    (verdict,) = (each for each in content["verdicts"] if each["package"]["name"] == "lib")
    verdict["decision"] = "allow"
    for rule in verdict["rules"]:
        if rule["rule"] == "severity":
            rule.update(answer="allow", reason="all is well")


def test_verdicts_that_do_not_follow(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    renamed(world, run_id, verdicts=edited(world, world.run(run_id)["verdicts"], admit))
    said = differs(world, run_id, capsys)
    assert said.startswith(
        "pkg:pypi/lib@1.0: stored is allow, judged again it is block; the rule severity says block"
    )
    assert said.endswith("where it is stored that it said allow (all is well)")


def test_a_verdict_that_was_taken_out(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    digest = edited(world, world.run(run_id)["verdicts"], lambda content: content["verdicts"].pop())
    renamed(world, run_id, verdicts=digest)
    assert "the case names pkg:pypi/tool@1.0, and there is no stored verdict about it" in differs(
        world, run_id, capsys
    )


def test_another_case_than_the_run_names(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Verdicts and case fit each other, and were both put in the place of the run's."""
    run_id = world.request()
    run = world.run(run_id)
    case = Case.read(world.blobs.get(run["case"]), "The case")
    other = case.model_copy(update={"findings": {}})
    stored = world.blobs.put(other.canonical())
    verdicts = Verdicts(manifest=run["manifest"], case=stored, verdicts=judge_all(other))
    renamed(world, run_id, verdicts=world.blobs.put(verdicts.canonical()))
    said = differs(world, run_id, capsys)
    assert f"The run names the case {run['case']}, its verdicts" in said
    # Who changes the run as well is given away by what people were shown.
    renamed(world, run_id, case=stored)
    assert "no stored verdict says so" in differs(world, run_id, capsys)


def test_verdicts_about_another_manifest(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    other = sha256(b"another")
    renamed(
        world,
        run_id,
        verdicts=edited(world, world.run(run_id)["verdicts"], lambda c: c.update(manifest=other)),
    )
    assert f"are about the manifest {other}; the run's is" in differs(world, run_id, capsys)


def test_a_case_that_is_gone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    del world.blobs._content[world.run(run_id)["case"]]
    assert "There is no stored content" in differs(world, run_id, capsys)


def test_other_rules_than_those_of_then(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = world.request()
    blind = lambda case: judge_all(case.model_copy(update={"findings": {}}))  # noqa: E731 - a rule that sees nothing
    monkeypatch.setattr(command, "judge_all", blind)
    said = differs(world, run_id, capsys)
    assert "stored is block, judged again it is allow; the rule " in said
    monkeypatch.setattr(command, "judge_all", lambda case: judge_all(case)[1:])
    assert "has a stored verdict, and the case does not name it" in differs(world, run_id, capsys)


def test_a_document_that_was_changed(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    name, fields = next(
        (name, each)
        for name, each in world.store.find("verdicts", "run_id", run_id)
        if each["purl"] == "pkg:pypi/lib@1.0"
    )
    world.store.put([Put("verdicts", name, {"decision": "allow"}, merge=True)])
    said = differs(world, run_id, capsys)
    assert said.startswith(f"the document verdicts/{name} says that pkg:pypi/lib@1.0 is allow (")
    world.store.put([Put("verdicts", name, fields)])
    assert replayed(world, run_id, capsys)[0] == 0
    world.store._documents.pop(("verdicts", name))
    assert differs(world, run_id, capsys) == (
        "there is no document about pkg:pypi/lib@1.0, and there is a stored verdict"
    )
