"""The outer VM lies in every way it can, and whatever it says: the repositories hold nothing but what was to be had.

How each run ends, and with which sentence, stands in test_hostile, test_hostile_claims and test_release_lies. Here
every file of every repository is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.bom.names import is_document
from shared.creation import vm_name
from shared.guest.config import Config
from shared.model.manifest import DirectUrl, PythonPackage
from shared.model.policy import PythonOverride, WorkloadRules
from shared.model.value import sha256
from tests.stages import guests
from tests.stages.failing import silent
from tests.stages.hostile import with_python
from tests.stages.test_hostile_claims import ATTACKER, EVIL, evil, fetched
from tests.stages.world import OWN, URL, WORKLOAD, World
from tests.support import built
from tests.support.claims import python

REFUSED = ("lib-1.0", "openssl_3.0-1", "libssl3_3.0-1")
"""Of what is offered, as the world's advisories have it."""


def stored(world: World) -> dict[str, str]:
    """Name to sha256 of every file in the private repositories, but for the system's own papers."""
    return {
        file.name: file.sha256
        for repository in ("dmz-python", "dmz-generic", "trixie")
        for file in world.registry.stored(repository)
        if not file.name.startswith("lock:") and not is_document(file.name, file.sha256)
    }


def honest(world: World) -> set[str]:
    """sha256 of everything that may come in: what is offered under its own name and not refused."""
    offered = {
        sha256(content)
        for url, content in world.market.contents.items()
        if not any(name in url for name in REFUSED)
    }
    return offered | {OWN.sha256}


def another_version(world: World) -> None:
    """The bytes of the refused lib 1.0, said to be the admitted 1.1."""
    lib = next(each for each in world.environments[0].packages if each.name == "lib")
    with_python(world, lib.model_copy(update={"version": "1.1"}))


def another_version_of_debian(world: World) -> None:
    world.debians = (
        *world.debians[:3],
        world.debians[3].model_copy(update={"version": "1.8-1"}),
        world.debians[4],
    )


def another_hash(world: World) -> None:
    tool = next(each for each in world.environments[0].packages if each.name == "tool")
    with_python(world, tool.model_copy(update={"record": built.wheel("tool", "1.0", text="evil").record}))


def another_hash_of_debian(world: World) -> None:
    jq = world.debians[3].model_copy(update={"archive": sha256(EVIL)})
    world.debians = (*world.debians[:3], jq, world.debians[4])


def another_hash_of_a_file(world: World) -> None:
    lie = world.generic.model_copy(update={"sha256": sha256(EVIL), "size": len(EVIL)})
    world.outer = lambda config: guests.outer(config, world.claim(generic=(lie,)))


def never_had(world: World) -> None:
    """Nor has the index."""
    with_python(world, python("evil", "1.0", built.wheel("evil", "1.0")))


def never_had_and_refused(world: World) -> None:
    """The index has it, and everybody knows what it is."""
    spare = world.market.wheel("spare", "1.0")
    world.market.flaw("spare", "1.0")
    with_python(world, python("spare", "1.0", spare))


def hidden_and_refused(world: World) -> None:
    world.market.flaw("tool", "1.0")
    kept = [each for each in world.environments[0].packages if each.name != "tool"]
    with_python(world, *kept, keep=False)


def hidden_and_inside(world: World) -> None:
    """The script brings it in the inner VM, which has no place to have it from but one of its own."""
    stray = python("stray", "1.0", world.market.wheel("stray", "1.0"))

    def inside(config: Config) -> guests.Payload:
        found = world.inside(config)
        first, *others = found.environments
        more = first.model_copy(update={"packages": (*first.packages, stray)})
        return guests.inner(config, found.model_copy(update={"environments": (more, *others)}))

    world.inner = inside


def resolves_to_a_stranger(world: World) -> None:
    """The name of the workload's own wheel, which the public index has as well."""
    with_python(world, python("mine", "2.0", world.market.wheel("mine", "2.0")))


def resolves_to_a_direct_url(world: World) -> None:
    """The name is the index's, the bytes are from elsewhere, and the policy would even let such pass."""
    world.market.contents["https://evil.test/tool-1.0-py3-none-any.whl"] = EVIL
    own = WorkloadRules(pypi=PythonOverride(direct_url="allow"))
    world.policy = world.policy.model_copy(update={"workloads": {WORKLOAD.name: own}})
    made = built.wheel("tool", "1.0", text="evil")
    where = DirectUrl(url="https://evil.test/tool-1.0-py3-none-any.whl")
    with_python(world, python("tool", "1.0", made, direct_url=where))


def resolves_to_another_url(world: World) -> None:
    evil(world)
    world.outer = lambda config: guests.outer(
        config, world.claim(generic=(world.generic, fetched(ATTACKER, EVIL, "/opt/w/x")))
    )


def resolves_to_anothers_content(world: World) -> None:
    """At the author's URL the VM says to have got the attacker's bytes, and the attacker's server has them."""
    evil(world)
    world.outer = lambda config: guests.outer(config, world.claim(generic=(fetched(URL, EVIL),)))


def _tool(world: World) -> PythonPackage:
    return next(each for each in world.environments[0].packages if each.name == "tool")


def _by_hash(world: World, name: str, version: str, of: str) -> None:
    """`name` from a URL, whose bytes are those of another file that the index has."""
    (digest,) = [
        file.sha256
        for files in world.market.projects.values()
        for file in files
        if file.filename.startswith(of)
    ]
    where = DirectUrl(url="https://evil.test/x.whl", sha256=digest)
    own = WorkloadRules(pypi=PythonOverride(direct_url="allow"))
    world.policy = world.policy.model_copy(update={"workloads": {WORKLOAD.name: own}})
    with_python(world, python(name, version, direct_url=where))


def another_epoch(world: World) -> None:
    with_python(world, _tool(world).model_copy(update={"version": "1!1.0"}))


def another_local_version(world: World) -> None:
    with_python(world, _tool(world).model_copy(update={"version": "1.0+cpu"}))


def another_build(world: World) -> None:
    with_python(world, _tool(world).model_copy(update={"build": "1"}))


def of_no_tags(world: World) -> None:
    with_python(world, _tool(world).model_copy(update={"tags": ()}))


def the_hash_of_another_version(world: World) -> None:
    """The refused lib 1.0, by its true hash, under the name of the admitted 1.1."""
    _by_hash(world, "lib", "1.1", "lib-1.0")


def the_hash_of_another_project(world: World) -> None:
    _by_hash(world, "tool", "1.0", "lib-1.0")


def another_name_for_the_same_bytes(world: World) -> None:
    """The index has tool's wheel under a name behind it as well: it would be fetched once, and proved to be tool."""
    (file,) = world.market.projects["tool"]
    world.market.projects["zool"] = [replace(file, filename="zool-1.0-py3-none-any.whl")]
    world.market.requires["zool", "1.0"] = ()
    with_python(world, _tool(world).model_copy(update={"name": "zool"}))


def from_a_version_control_system(world: World) -> None:
    where = DirectUrl(url="git+https://git.test/tool@0123456789abcdef0123456789abcdef01234567")
    with_python(world, _tool(world).model_copy(update={"direct_url": where}))


def from_a_folder_that_may_change(world: World) -> None:
    """An editable install."""
    where = DirectUrl(url="file:///root/tool")
    with_python(world, _tool(world).model_copy(update={"direct_url": where, "record": None}))


def another_epoch_of_debian(world: World) -> None:
    """To dpkg 0:1.7-1 is 1.7-1; to a list of verdicts it is another."""
    _jq(world, version="0:1.7-1")


def another_build_of_debian(world: World) -> None:
    _jq(world, version="1.7-1+b1")


def another_architecture(world: World) -> None:
    _jq(world, architecture="i386")


def another_source(world: World) -> None:
    _jq(world, source_name="harmless")


def never_had_of_debian(world: World) -> None:
    world.debians = (*world.debians, world.debians[3].model_copy(update={"name": "evil"}))


def seems_to_be_in_the_base_image(world: World) -> None:
    _truly(world)
    _jq(world, in_base=True, archive=None)


def hidden_in_the_base_image(world: World) -> None:
    """openssl 3.0-1, which is refused: the inner VM starts from the same image."""
    _truly(world)
    world.debians = tuple(each for each in world.debians if each.name not in ("openssl", "libssl3"))


def _jq(world: World, **lie: object) -> None:
    world.debians = (*world.debians[:3], world.debians[3].model_copy(update=lie), world.debians[4])


def _truly(world: World) -> None:
    """The base image of the inner VM is what it is, whatever the outer one says of its own."""
    base = world.base

    def inside(config: Config) -> guests.Payload:
        return guests.inner(config, guests.install(config, world.registry, base, world.market))

    world.inner = inside


def of_another_workload(world: World) -> None:
    world.outer = lambda config: guests.outer(config, world.claim(workload="other"))


LIES: tuple[Callable[[World], None], ...] = (
    another_version,
    another_version_of_debian,
    another_hash,
    another_hash_of_debian,
    another_hash_of_a_file,
    never_had,
    never_had_and_refused,
    hidden_and_refused,
    hidden_and_inside,
    resolves_to_a_stranger,
    resolves_to_a_direct_url,
    resolves_to_another_url,
    resolves_to_anothers_content,
    another_epoch,
    another_local_version,
    another_build,
    of_no_tags,
    the_hash_of_another_version,
    the_hash_of_another_project,
    another_name_for_the_same_bytes,
    from_a_version_control_system,
    from_a_folder_that_may_change,
    another_epoch_of_debian,
    another_build_of_debian,
    another_architecture,
    another_source,
    never_had_of_debian,
    seems_to_be_in_the_base_image,
    hidden_in_the_base_image,
    of_another_workload,
)


@pytest.mark.parametrize("lie", LIES, ids=[lie.__name__ for lie in LIES])
def test_no_lie_gets_a_byte_in(world: World, lie: Callable[[World], None]) -> None:
    may = honest(world)
    lie(world)
    run = world.run(world.request())
    assert run["state"] == "failed", run
    assert {name: digest for name, digest in stored(world).items() if digest not in may} == {}


def test_one_content_is_one_package(world: World) -> None:
    another_name_for_the_same_bytes(world)
    run = world.run(world.request())
    assert (run["state"], run["stage"]) == ("failed", "sync"), run
    assert "tool-1.0-py3-none-any.whl and zool-1.0-py3-none-any.whl" in run["reason"]
    assert stored(world) == {}


def test_a_manifest_for_another_run_gets_no_byte_in(world: World) -> None:
    """Both runs wait for their VMs; one of these tells what the other one is to have."""
    world.outer = silent
    mine, other = world.request(), world.request()
    config = world.configs[vm_name("outer", mine)]
    world.report(config, world.install(config) | {"run_id": other})
    world.quiet()
    assert (world.run(other)["state"], world.events("manifest-published")) == ("running", [])
    assert stored(world) == {}


def test_the_truth_gets_in(world: World) -> None:
    """Else the tests above would pass over an empty repository."""
    may = honest(world)
    assert world.run(world.request())["state"] == "completed"
    assert len(stored(world)) > 8
    assert set(stored(world).values()) <= may


# --- source distributions ---


def test_a_source_distribution_travels_with_what_builds_it(world: World) -> None:
    """`old` is built by `builder`, which no environment has: both are judged, mirrored, and locked by their hash."""
    run_id = world.request()
    (old,) = [each for each in world.lock(run_id).environments[0].packages if each.name == "old"]
    assert not old.is_wheel
    (builder,) = old.build
    assert {builder.filename: builder.sha256, old.filename: old.sha256}.items() <= stored(world).items()
    run = world.run(run_id)
    judged = b"".join(
        world.blobs.get(each) for each in (run["verdicts"], *run["replacement_verdicts"])
    ).decode()
    for each in (old, builder):
        assert f'"name":"{each.name}"' in judged


def test_a_policy_may_refuse_source_distributions(world: World) -> None:
    rules = world.policy.pypi.model_copy(update={"source_distribution": "block"})
    world.policy = world.policy.model_copy(update={"pypi": rules})
    run = world.run(world.request())
    assert (run["state"], run["stage"]) == ("failed", "sync")
    assert "old 1.0" in run["reason"] or "pkg:pypi/old@1.0" in run["reason"]
    assert "source distribution" in run["reason"]
    assert stored(world) == {}


def test_what_builds_it_and_is_refused_keeps_it_out(world: World) -> None:
    world.market.flaw("builder", "1.0")
    run = world.run(world.request())
    assert (run["state"], run["stage"]) == ("failed", "sync")
    assert "builder" in run["reason"]
    assert stored(world) == {}
