"""A hostile outer machine lies about packages: nothing that it says gets a byte in that is not proved."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest

from shared.guest.config import Config
from shared.machines import vm_name
from shared.model.manifest import ClaimedManifest
from shared.model.value import sha256
from tests.stages import guests
from tests.stages.hostile import failed, with_python
from tests.stages.world import OWN, World
from tests.support import built
from tests.support.claims import environment, python


def test_a_package_that_was_hidden_is_found_inside(world: World) -> None:
    """The outer VM conceals a package; the workload's own script brings it in the inner VM all the same."""
    stray = python("stray", "1.0", world.market.wheel("stray", "1.0"))
    world.inner = lambda config: guests.inner(config, _plus(world.inside(config), stray))
    assert re.search(
        r"holds pip /opt/w stray 1\.0 \S+, which nobody admitted", failed(world, world.request())
    )


def test_a_hidden_dependency_is_judged_like_every_other(world: World) -> None:
    with_python(world)
    kept = [each for each in world.environments[0].packages if each.name != "tool"]
    world.environments = (environment(*kept),)
    world.market.flaw("tool", "1.0")
    assert "tool 1.0, which would be needed, is refused" in failed(world, world.request())


@pytest.mark.parametrize("how", ["in the base image", "managed by dpkg"])
def test_a_refused_package_hidden_from_judgement(world: World, how: str) -> None:
    lib = next(each for each in world.environments[0].packages if each.name == "lib")
    others = [each for each in world.environments[0].packages if each.name not in ("lib", "app")]
    if how == "in the base image":
        world.environments = (environment(*others, lib.model_copy(update={"in_base": True})),)
        assert "pkg:pypi/lib@1.0 is refused" in failed(world, world.request())
    else:
        world.environments = (environment(*others), environment(lib, managed=True))
        world.inner = lambda config: guests.inner(config, _plus(world.inside(config), lib))
        assert "which nobody admitted" in failed(world, world.request())


def test_an_admitted_package_that_only_seems_to_be_in_the_base_image(world: World) -> None:
    # With nothing to replace no resolver adds it to the lock.
    del world.market.flaws["pypi", "lib", "1.0"]
    tool = next(each for each in world.environments[0].packages if each.name == "tool")
    with_python(world, tool.model_copy(update={"in_base": True}))
    assert "The inner VM lacks pip /opt/w tool 1.0" in failed(world, world.request())


def test_another_version_than_the_one_that_is_there(world: World) -> None:
    """The bytes of the refused lib 1.0 under the name of the admitted lib 1.1."""
    refused = next(each for each in world.environments[0].packages if each.name == "lib")
    with_python(world, refused.model_copy(update={"version": "1.1"}))
    assert "lib-1.1-py3-none-any.whl is not what the outer VM installed" in failed(world, world.request())
    assert "lib-1.1-py3-none-any.whl" not in world.registry.uploads


@pytest.mark.parametrize("spelled", ["0!1.0", "v1.0", "01.0", "1.00"])
def test_another_spelling_of_a_refused_version_is_refused_too(world: World, spelled: str) -> None:
    refused = next(each for each in world.environments[0].packages if each.name == "lib")
    with_python(world, python("lib", spelled, record=refused.record))
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    locked = {each.name: each.version for each in world.lock(run_id).environments[0].packages}
    assert locked["lib"] == "1.1"


def test_a_version_that_only_compares_as_equal_to_a_refused_one(world: World) -> None:
    """To PEP 440 1.0.0 is 1.0: the index would give lib-1.0, the verdict would be about something else."""
    refused = next(each for each in world.environments[0].packages if each.name == "lib")
    with_python(world, refused.model_copy(update={"version": "1.0.0"}))
    assert "lib 1.0.0 on the outer VM would be lib-1.0-py3-none-any.whl, which says 1.0" in failed(
        world, world.request()
    )
    assert "lib-1.0-py3-none-any.whl" not in world.registry.uploads


def test_a_replacement_that_is_not_the_wheels_files(world: World) -> None:
    """No VM had the replacement before: its RECORD is proved while the lock is made, and the inner VM is held to it."""

    def changed(config: Config) -> guests.Payload:
        found = world.inside(config).model_dump(mode="json")
        for each in found["environments"][0]["packages"]:
            if each["name"] == "lib":
                each["record"] = sha256(b"other files")
        return guests.inner(config, ClaimedManifest.check(found, "The inventory"))

    world.inner = changed
    assert "The inner VM lacks pip /opt/w lib 1.1 sha256:" in failed(world, world.request())


def test_a_version_that_the_index_does_not_have(world: World) -> None:
    with_python(world, python("tool", "6.6.6", built.wheel("tool", "6.6.6")))
    assert "none of that version" in failed(world, world.request())


def test_a_package_that_no_index_has(world: World) -> None:
    with_python(world, python("evil", "1.0", built.wheel("evil", "1.0")))
    assert "the index has no project of that name" in failed(world, world.request())


def test_a_package_that_it_never_had_gets_in_only_as_what_the_index_has(world: World) -> None:
    spare = world.market.wheel("spare", "1.0")
    with_python(world, python("spare", "1.0", spare))
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    assert "spare" in [each.name for each in world.lock(run_id).environments[0].packages]


@pytest.mark.parametrize("name", ["tool", "mine"])
def test_a_record_that_is_not_the_wheels(world: World, name: str) -> None:
    true = next(each for each in world.environments[0].packages if each.name == name)
    with_python(world, true.model_copy(update={"record": sha256(b"a lie")}))
    reason = failed(world, world.request())
    assert f"{name}-1.0-py3-none-any.whl is not what the outer VM installed" in reason
    assert f"{name}-1.0-py3-none-any.whl" not in world.registry.uploads


def test_a_package_that_was_changed_after_its_install(world: World) -> None:
    true = next(each for each in world.environments[0].packages if each.name == "tool")
    with_python(world, true.model_copy(update={"record": None}))
    assert "its files were changed" in failed(world, world.request())


def test_a_source_in_the_base_image_that_no_advisory_knows(world: World) -> None:
    """openssl is refused by its source; the VM names another one, and the inner VM's own dpkg says the truth."""
    world.market.flaw("glibc", "2.41-12", "debian")
    base, truth = list(world.debians), world.base
    base[0] = base[0].model_copy(update={"source_name": "harmless"})
    world.debians = tuple(base)
    config_seen: list[Config] = []

    def inside(config: Config) -> guests.Payload:
        config_seen.append(config)
        return guests.inner(config, guests.install(config, world.registry, truth, world.market))

    world.inner = inside
    reason = failed(world, world.request())
    assert "The inner VM lacks deb libc6 2.41-12 amd64 from harmless 2.41-12" in reason
    assert config_seen


def test_a_file_by_url_with_other_bytes_than_the_urls(world: World) -> None:
    lie = world.generic.model_copy(update={"sha256": sha256(b"other bytes")})
    world.outer = lambda config: guests.outer(config, world.claim(generic=(lie,)))
    assert "has the content" in failed(world, world.request())
    assert not any(name.startswith("generic:") for name in world.registry.uploads)


def test_an_archive_that_is_not_the_distributions(world: World) -> None:
    jq = world.debians[3]
    world.debians = (*world.debians[:3], jq.model_copy(update={"archive": sha256(b"evil")}), world.debians[4])
    assert "did not come from the distribution" in failed(world, world.request())


def test_bytes_that_the_index_changes_under_way_do_not_get_in(world: World) -> None:
    url = next(url for url in world.market.contents if "tool-1.0" in url)
    world.market.contents[url] = built.wheel("tool", "1.0", text="evil").content
    assert "has the content" in failed(world, world.request())
    assert "tool-1.0-py3-none-any.whl" not in world.registry.uploads


def test_a_repository_that_holds_other_bytes_under_the_name(world: World) -> None:
    path = world.tmp / "other"
    path.write_bytes(b"planted")
    archive = world.market.pool["jq", "amd64"][0]
    world.registry._upload("trixie", archive.url.rsplit("/", 1)[-1], path)
    assert "already holds jq_1.7-1_amd64.deb with other bytes" in failed(world, world.request())


def test_an_own_wheel_that_was_changed_in_the_staging_repository(world: World) -> None:
    place = (world.settings.staging_repository, f"wheels:{OWN.sha256[7:]}:{OWN.filename}")
    world.registry._files[place] = built.wheel("mine", "1.0", ("lib",), text="evil").content
    reason = failed(world, world.request())
    assert "The staged wheel mine-1.0-py3-none-any.whl has" in reason
    assert "as the workload says" in reason


def test_verdicts_about_another_manifest(world: World) -> None:
    world.bus.subscribe("sync", lambda _: True)
    run_id = world.request()
    (written,) = world.events("verdicts-written")
    other = world.blobs.put(world.claim(generic=()).canonical())
    world.bus.subscribe("sync", functools.partial(world._receive, world.desks["sync"]))
    world.bus.send("verdicts-written", written.model_copy(update={"manifest": other}).canonical(), {})
    world.quiet()
    assert "The verdicts are about the manifest" in failed(world, run_id)


def test_unmet_dependencies_stop_the_run_before_a_vm_is_paid_for(world: World) -> None:
    world.debians = tuple(each for each in world.debians if each.name != "libjq1")
    run_id = world.request()
    assert "do not fit together: jq" in failed(world, run_id)
    assert vm_name("inner", run_id) not in world.vms.created


def _plus(found: ClaimedManifest, package: Any) -> ClaimedManifest:
    """The inner inventory with one more package in the workload's environment."""
    there = found.environments[0]
    more = there.model_copy(
        update={"packages": (*there.packages, package.model_copy(update={"in_base": False}))}
    )
    return found.model_copy(update={"environments": (more,)})
