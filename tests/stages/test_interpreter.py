"""A workload's own interpreter through all stages: judged, mirrored, locked for, and held to what was said of it."""

from __future__ import annotations

from typing import Any

import pytest

from shared import machines
from shared.model.manifest import ClaimedManifest, Environment, GenericFile
from shared.model.value import sha256
from shared.model.verdict import Verdicts
from shared.model.workload import Interpreter, Workload
from shared.ports.store import Document
from tests.stages import guests
from tests.stages.hostile import failed
from tests.stages.world import WORKLOAD, World
from tests.support.claims import environment, python

ARCHIVE, URL = (
    b"an archive with python/bin/python3",
    "https://python.test/cpython-3.12.11%2B2-install_only.tar.gz",
)
SITE = "/opt/dmz/python/lib/python3.12/site-packages"
PYTHON = GenericFile(
    url=URL, sha256=sha256(ARCHIVE), size=len(ARCHIVE), path="/opt/dmz/python.archive", interpreter="3.12.11"
)
BRINGS = WORKLOAD.model_copy(
    update={"interpreter": Interpreter(version="3.12", url=URL, sha256=sha256(ARCHIVE))}
)


def site(*packages: Any) -> Environment:
    """The interpreter's own environment: its pip came along."""
    pip = python("pip", "25.0", in_base=True, record=sha256(b"pip"))
    return Environment(
        path=SITE, python="3.12.11", virtual=False, managed_by_dpkg=False, packages=(pip, *packages)
    )


def prepared(world: World, *said: GenericFile, **inside: Any) -> World:
    """VMs that were given the interpreter; `inside` changes what the inner one says of it."""
    said = said or (world.generic, PYTHON)
    world.market.contents[URL] = ARCHIVE
    world.environments = (*world.environments, site())
    world.outer = lambda config: guests.outer(config, world.claim(generic=said))

    def inner(config: Any) -> guests.Payload:
        found = world.inside(config)
        files = tuple(
            file.model_copy(update={"interpreter": "3.12.11"} | inside) if file.url == URL else file
            for file in found.generic
        )
        environments = [each for each in found.environments if each.path != SITE]
        installed = [each for each in found.environments if each.path == SITE]
        extra = [package for each in installed for package in each.packages]
        update = {"generic": files, "environments": (*environments, site(*extra))}
        return guests.inner(config, found.model_copy(update=update))

    world.inner = inner
    return world


def verdict(world: World, run_id: str, purl: str) -> Document:
    found = dict(world.store.find("verdicts", "run_id", run_id))
    (document,) = [each for each in found.values() if each["purl"] == purl]
    return document


def test_it_is_judged_mirrored_and_told(world: World) -> None:
    run_id = prepared(world).request(BRINGS)
    run = world.run(run_id)
    assert run["state"] == "completed", run
    assert URL in {file.url for file in world.lock(run_id).generic}
    assert f"generic:{sha256(ARCHIVE)[7:]}:file" in world.repositories()["dmz-generic"]
    document = verdict(world, run_id, PYTHON.package().purl)
    assert document["decision"] == "allow"
    for words in ("every rule allows it; it is Python 3.12.11", "known flaws is undecided", "CPython itself"):
        assert words in document["reason"]
    rules = {rule["rule"]: rule["reason"] for rule in document["verdict"]["rules"]}
    assert rules["fetched_by_url"].endswith("; the workload pins its sha256")
    assert [c.workload.interpreter for c in world.configs.values() if c.workload.interpreter is None] == []
    # pip came with its bytes: judged, and no file of an index that would be locked.
    assert verdict(world, run_id, "pkg:pypi/pip@25.0")["decision"] == "allow"
    assert [each.path for each in world.lock(run_id).environments] == ["/opt/w"]


def test_nothing_of_it_is_asked_for_twice(world: World) -> None:
    prepared(world).request(BRINGS)
    run_id = world.request(BRINGS)
    assert world.run(run_id)["mirrored"] == {"artifacts": 0, "bytes": 0}


def test_the_same_file_fetched_by_the_script_as_well(world: World) -> None:
    copy = PYTHON.model_copy(update={"path": "/opt/copy", "interpreter": ""})
    run_id = prepared(world, copy, world.generic, PYTHON).request(BRINGS)
    assert world.run(run_id)["state"] == "completed", world.run(run_id)
    assert "Python 3.12.11" in verdict(world, run_id, PYTHON.package().purl)["reason"]


@pytest.mark.parametrize("rule", ["fetched_by_url", "interpreter"])
@pytest.mark.parametrize("answer", ["hold", "block"])
def test_the_policy_decides(world: World, rule: str, answer: str) -> None:
    generic = world.policy.generic.model_copy(update={rule: answer})
    world.policy = world.policy.model_copy(update={"generic": generic})
    prepared(world, PYTHON)
    reason = failed(world, world.request(BRINGS))
    assert reason.startswith(f"{URL} is refused (it ")
    assert ("undecided" in reason) == (rule == "interpreter")
    assert world.registry.uploads == []


def test_what_came_along_and_is_refused_is_nobodys_to_replace(world: World) -> None:
    world.market.flaw("pip", "25.0")
    reason = failed(world, prepared(world).request(BRINGS))
    assert "pkg:pypi/pip@25.0 is refused (GHSA-pip-25.0" in reason
    assert "it came with the workload's own interpreter" in reason
    assert f"it came with the interpreter, lying in {SITE}" in reason
    assert "take another interpreter" in reason


OTHER = GenericFile(
    url="https://files.test/other", sha256=sha256(b"x"), size=1, path="/x", interpreter="3.12.1"
)
LIES: dict[str, tuple[Workload, tuple[GenericFile, ...], str]] = {
    "other bytes": (
        BRINGS,
        (PYTHON.model_copy(update={"sha256": sha256(b"evil")}),),
        f"the workload pins {URL} with {sha256(ARCHIVE)}: refused",
    ),
    "another place": (BRINGS, (OTHER,), "took https://files.test/other with"),
    "another version": (
        BRINGS,
        (PYTHON.model_copy(update={"interpreter": "3.13.1"}),),
        "is Python 3.13.1; the workload declares 3.12: refused",
    ),
    "a version that begins alike": (
        BRINGS.model_copy(update={"interpreter": Interpreter(version="3.1", url=URL, sha256=PYTHON.sha256)}),
        (PYTHON,),
        "the workload declares 3.1: refused",
    ),
    "none at all": (BRINGS, (), "and the outer VM names 0 interpreters"),
    "a file like any other": (
        BRINGS,
        (PYTHON.model_copy(update={"interpreter": ""}),),
        "and the outer VM names 0 interpreters",
    ),
    "two": (BRINGS, (PYTHON, OTHER), "took https://files.test/other with"),
    "two versions of one": (
        BRINGS,
        (PYTHON, PYTHON.model_copy(update={"interpreter": "3.12.12", "path": "/x"})),
        "names 2 interpreters",
    ),
    "one that nobody declared": (WORKLOAD, (PYTHON,), "and the workload declares none; refused"),
}


@pytest.mark.parametrize("name", LIES)
def test_what_the_outer_vm_says_of_it_is_held_to_the_workload(world: World, name: str) -> None:
    workload, said, words = LIES[name]
    prepared(world, world.generic, *said)
    world.market.contents[OTHER.url] = b"x"
    assert words in failed(world, world.request(workload))
    assert [each for each in world.registry.uploads if not each.startswith("generic:lock")] == []


@pytest.mark.parametrize("version", ["3.12.9", ""])
def test_another_version_inside_than_the_one_that_was_judged(world: World, version: str) -> None:
    reason = failed(world, prepared(world, interpreter=version).request(BRINGS))
    assert f"lacks url {URL} {PYTHON.sha256} is Python 3.12.11 of its lock" in reason


def test_bytes_that_the_url_does_not_give(world: World) -> None:
    prepared(world)
    world.market.contents[URL] = b"other bytes"
    assert f"{URL} has the content" in failed(world, world.request(BRINGS))


def test_what_is_said_to_have_come_along_and_did_not(world: World) -> None:
    """A package that the outer VM passes off as the archive's is not in the inner VM's archive."""
    prepared(world)
    world.environments = (world.environments[0], site(python("evil", "1.0", in_base=True)))
    assert f"lacks pip {SITE} evil 1.0" in failed(world, world.request(BRINGS))


def test_what_is_installed_on_top_is_locked(world: World) -> None:
    tool = world.market.wheel("spanner", "1.0")
    prepared(world)
    world.environments = (world.environments[0], site(python("spanner", "1.0", tool)))
    run_id = world.request(BRINGS)
    assert world.run(run_id)["state"] == "completed", world.run(run_id)
    (locked,) = [each for each in world.lock(run_id).environments if each.path == SITE]
    assert ([each.name for each in locked.packages], locked.virtual) == (["spanner"], False)


def test_a_stray_in_it_is_noticed(world: World) -> None:
    prepared(world)
    play = world.inner
    assert play is not None

    def strayed(config: Any) -> guests.Payload:
        payload = play(config)
        assert payload is not None
        found = machines.unpack(payload["installed"], "The inventory")
        environments = tuple(
            each.model_copy(update={"strays": (f"{SITE}/evil.pth",)}) if each.path == SITE else each
            for each in found.environments
        )
        return payload | {"installed": guests.pack(found.model_copy(update={"environments": environments}))}

    world.inner = strayed
    assert f"holds file {SITE}/evil.pth, which nobody admitted" in failed(world, world.request(BRINGS))


@pytest.mark.parametrize(("version", "tag"), [("3.12.11", "cp312-cp312"), ("3.10.12", "cp310-cp310")])
def test_wheels_are_chosen_for_the_interpreter_of_each_environment(
    world: World, version: str, tag: str
) -> None:
    """lib 1.0 is refused: what takes its place is the wheel that this Python can load."""
    tags = [f"{each}-manylinux_2_17_x86_64" for each in ("cp310-cp310", "cp312-cp312", "cp313-cp313")]
    for each in tags:
        world.market.wheel("native", "1.1", tag=each)
    world.market.flaw("native", "1.0")
    old = world.market.wheel("native", "1.0")
    prepared(world)
    mine = environment(python("native", "1.0", old, requested=True), path="/opt/m")
    world.environments = (*world.environments, mine.model_copy(update={"python": version}))
    run_id = world.request(BRINGS)
    assert world.run(run_id)["state"] == "completed", world.run(run_id)
    (locked,) = [each for each in world.lock(run_id).environments if each.path == "/opt/m"]
    assert [file.filename for file in locked.packages] == [f"native-1.1-{tag}-manylinux_2_17_x86_64.whl"]


def test_a_virtual_environment_in_its_place_is_refused(world: World) -> None:
    """Only its site directories may be written to: what else lies there is the archive's."""
    there = raw(world.claim())
    there["environments"][0]["path"] = "/opt/dmz/python/venv"
    with pytest.raises(Exception, match="no Python environment is kept in /opt/dmz/python/venv"):
        ClaimedManifest.check(there, "The manifest")


def raw(manifest: ClaimedManifest) -> dict[str, Any]:
    return dict(manifest.model_dump(mode="json"))


def test_the_verdicts_that_are_kept_name_it(world: World) -> None:
    run_id = prepared(world).request(BRINGS)
    kept = Verdicts.read(world.blobs.get(world.run(run_id)["verdicts"]), "The verdicts")
    (one,) = [each for each in kept.verdicts if each.package.purl == PYTHON.package().purl]
    assert [rule.rule for rule in one.rules] == [
        "advisory_age",
        "advisory_data",
        "malicious",
        "findings",
        "fetched_by_url",
        "interpreter",
        "packages",
    ]
