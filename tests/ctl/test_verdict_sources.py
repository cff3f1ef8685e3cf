"""`./dmz verdict` finds the advisories of then again, shows every rule, and says what it was not given."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from functions.ctl import verdict as command
from functions.ctl.cli import main
from functions.ctl.inputs import BadInput
from functions.ctl.stored import Records
from shared.advisories.zips import ZipAdvisories
from shared.judgement import Court
from shared.model.case import Case, Subject
from shared.model.holdings import Held, Holdings
from shared.model.package import Package
from shared.model.value import canonical
from shared.model.verdict import Verdicts
from shared.policy.docket import Docket
from shared.policy.judge import judge_all
from tests.advisories.build import HIGH, TRIXIE, affected, events, record, zipped
from tests.ctl.replaying import differs, edited, replayed
from tests.stages.conftest import make as make
from tests.stages.conftest import world as world
from tests.stages.world import World

# --- the advisories of then ---


def flaws(directory: Path, *names: str) -> Path:
    zipped(
        directory,
        "PyPI",
        *(
            record(
                f"GHSA-{name}",
                affected(events(("introduced", "0"), ("fixed", "1.1")), name=name),
                severity=[HIGH],
            )
            for name in names
        ),
    )
    other = affected(events(("introduced", "0"), ("fixed", "1")), name="zlib", ecosystem="Debian:13")
    return zipped(directory, "Debian", record("DEBIAN-CVE-1", other))


def test_the_findings_are_found_again(
    make: Callable[..., World], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = flaws(tmp_path / "osv", "lib")
    zips = ZipAdvisories(directory)
    world = make(through=lambda name, port: zips if name == "advisories" else port)
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    code, said = replayed(world, run_id, capsys, directory)
    assert (code, said["difference"]) == (0, "")
    assert said["sentence"].endswith("and the advisories give the same findings.")
    # Other advisories prove nothing, and are no difference either.
    others = flaws(tmp_path / "others", "lib", "tool")
    with pytest.raises(BadInput, match="give the directory with those"):
        replayed(world, run_id, capsys, others)
    # A case that keeps a finding back, with everything changed along: only the advisories themselves know it.
    run = world.run(run_id)
    digest = edited(world, run["case"], lambda case: case["findings"].clear())
    case = Case.read(world.blobs.get(digest), "The case")
    verdicts = Verdicts(manifest=run["manifest"], case=digest, verdicts=judge_all(case))
    stored = world.blobs.put(verdicts.canonical())
    assert replayed(world, stored, capsys)[0] == 0
    assert differs(world, stored, capsys, directory) == (
        "matched again, pkg:pypi/lib@1.0: GHSA-lib is found now, and was not found then"
    )


def test_what_repositories_hold_is_matched_again_as_well(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verdicts of a re-evaluation are about a list of holdings, which says for which release each package is."""
    directory = flaws(tmp_path / "osv", "lib")
    subject = Subject(package=Package(ecosystem="pypi", name="lib", version="1.0"))
    held = Held(subject=subject, release=TRIXIE, files=(), workloads=())
    manifest = world.blobs.put(Holdings(held=(held,), nameless=()).canonical())
    case = Court(ZipAdvisories(directory), world.policy, TRIXIE, 0.0).case([subject])
    stored = world.blobs.put(case.canonical())
    verdicts = Verdicts(manifest=manifest, case=stored, verdicts=judge_all(case))
    digest = world.blobs.put(verdicts.canonical())
    code, said = replayed(world, digest, capsys, directory)
    assert (code, said["difference"]) == (0, "")


# --- show ---


def test_every_rule_of_a_package_is_shown(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = world.request()
    records = Records(world.store, world.blobs)
    for name in ("lib", "pkg:pypi/lib@1.0"):
        assert command.show(records, run_id, name, False) == 0
        said = capsys.readouterr().out
        assert "pkg:pypi/lib@1.0: block\n" in said
        assert "  block  severity: GHSA-lib-1.0" in said
        assert "  allow  malicious: no report of malice\n" in said
    assert command.show(records, run_id, "pkg:pypi/lib@1.1", True) == 0  # its replacement
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["decision"], found["package"]["version"]) == ("allow", "1.1")
    assert command.show(records, run_id, "", True) == 0
    assert len(json.loads(capsys.readouterr().out)) == 15
    with pytest.raises(BadInput, match="has no verdict about 'nobody'"):
        command.show(records, run_id, "nobody", False)


# --- the docket ---


def test_a_docket_joins_what_says_the_same_and_nothing_else(world: World) -> None:
    case = Case.read(world.blobs.get(world.run(world.request())["case"]), "The case")
    lib = next(each for each in case.subjects if each.package.name == "lib")
    half = case.model_copy(update={"subjects": case.subjects[:4]})
    rest = case.model_copy(update={"subjects": case.subjects[2:]})
    contrary = case.model_copy(update={"subjects": (lib.model_copy(update={"is_sdist": True}),)})
    later = case.model_copy(update={"at": "2030-01-01T00:00:00Z"})
    for order in itertools.permutations((half, rest, contrary, later)):
        docket = Docket()
        for each in order:
            docket.add(each)
        given = {canonical(v.model_dump(mode="json")) for each in order for v in judge_all(each)}
        cases = docket.cases()
        assert len(cases) == 3
        assert {canonical(v.model_dump(mode="json")) for each in cases for v in judge_all(each)} == given


# --- the command ---


def test_no_platform_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DMZ_HOME", str(tmp_path / "home"))
    assert main(["verdict", "replay", "run-0123456789ab"]) == 3
    assert main(["verdict", "show", "run-0123456789ab"]) == 3
    assert "The platform is not up" in capsys.readouterr().err


def test_an_unknown_run_is_bad_input(world: World) -> None:
    with pytest.raises(BadInput, match="There is no run 'run-x' here"):
        command.again(Records(world.store, world.blobs), "run-x", None, False)
