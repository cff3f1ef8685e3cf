"""Debian packages that the archive lacks: a vendor's own, under the policy's key; and those that left the pool."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.ports.upstream import Archive
from tests.stages.hostile import failed
from tests.stages.refreshing import changes, evictions, refresh
from tests.stages.world import WORKLOAD, World
from tests.support.apt_key import SOURCE
from tests.support.claims import debian

MINE = WORKLOAD.model_copy(update={"apt_sources": (SOURCE,)})
JQ = ("jq", "amd64")


def stocked(world: World) -> Archive:
    """The vendor has the tool, and the outer VM installed it."""
    tool = replace(world.market.deb("fuse-tool", "3.0"), source=SOURCE.pin, suite=SOURCE.suite)
    world.market.pool["fuse-tool", "amd64"] = [tool]
    world.debians = (*world.debians, debian(tool, in_base=False))
    return tool


def listed(world: World) -> None:
    world.policy = world.policy.model_copy(update={"apt_sources": (SOURCE.pin,)})


def test_a_vendors_package_that_the_policy_admits_is_mirrored_like_the_distributions(world: World) -> None:
    tool = stocked(world)
    listed(world)
    run_id = world.request(MINE)
    assert world.run(run_id)["state"] == "completed", world.run(run_id)
    locked = {each.name: each.source for each in world.lock(run_id).debian}
    assert locked == {"fuse-tool": SOURCE.pin, "jq": None, "libjq1": None, "libssl3": None, "openssl": None}
    assert tool.url.rpartition("/")[2] in world.repositories()["trixie"]
    assert world.market.by_workload == {"https://files.test/data.bin", tool.url}


def test_one_that_it_does_not_list_ends_the_run(world: World) -> None:
    """Nor does another version from the same place take its place."""
    stocked(world)
    newer = replace(world.market.deb("fuse-tool", "4.0"), source=SOURCE.pin)
    world.market.pool["fuse-tool", "amd64"].insert(0, newer)
    assert "which the policy does not list under apt_sources" in failed(world, world.request(MINE))
    assert not any(name.startswith("fuse-tool") for name in world.repositories()["trixie"])


def test_a_workload_that_names_no_repository_gets_nothing_from_one(world: World) -> None:
    stocked(world)
    world.market.pool["fuse-tool", "amd64"].clear()
    listed(world)
    assert "signed indexes list no such version" in failed(world, world.request())


@pytest.mark.parametrize("remembered", [True, False], ids=["of a run", "on record alone"])
def test_a_leave_that_the_policy_takes_back_is_over_for_what_is_held(world: World, remembered: bool) -> None:
    stocked(world)
    listed(world)
    run_id = world.request(MINE)
    assert world.run(run_id)["state"] == "completed"
    if not remembered:
        del world.store._documents["runs", run_id]
    refresh(world, "one")
    assert changes(world) == []
    world.policy = world.policy.model_copy(update={"apt_sources": ()})
    refresh(world, "two")
    (changed,) = changes(world)
    assert changed[0].startswith("pkg:deb/debian/fuse-tool@3.0")
    assert changed[1:] == ("allow", "block")
    assert len(evictions(world)) == 1
    assert not any(name.startswith("fuse-tool") for name in world.repositories()["trixie"])


# --- what has left the pool ---


def test_a_version_that_left_between_install_and_lock_comes_from_the_snapshot(world: World) -> None:
    (jq,) = world.market.pool[JQ]
    kept = replace(jq, url=jq.url.replace("deb.test", "snapshot.test"))
    world.market.contents[kept.url] = world.market.contents.pop(jq.url)
    world.market.pool[JQ] = []
    world.market.earlier[JQ] = [kept]
    run_id = world.request()
    run = world.run(run_id)
    assert run["state"] == "completed", run
    assert kept.url in {each.url for each in world.lock(run_id).debian}
    assert world.market.moments == [float(int(run["stages"]["outer"]["ended"]))]


def test_a_snapshot_vouches_for_nothing_but_what_it_lists(world: World) -> None:
    (jq,) = world.market.pool[JQ]
    world.market.pool[JQ] = []
    world.market.earlier[JQ] = [replace(jq, sha256="sha256:" + "0" * 64)]
    assert "installed an archive with" in failed(world, world.request())


@pytest.mark.parametrize("there", ["same", "other bytes", "nothing"])
def test_a_file_that_left_between_lock_and_shard(world: World, there: str) -> None:
    (jq,) = world.market.pool[JQ]
    content = world.market.contents.pop(jq.url)
    kept = jq.url.replace("deb.test", "snapshot.test")
    if there != "nothing":
        world.market.contents[kept] = content if there == "same" else content + b"more"
    run_id = world.request()
    if there == "same":
        assert world.run(run_id)["state"] == "completed", world.run(run_id)
        assert jq.url in {each.url for each in world.lock(run_id).debian}
        return
    words = "has the content" if there == "other bytes" else "jq 1.7-1 has left its repository"
    assert words in failed(world, run_id)
    assert not any(name.startswith("jq_") for name in world.repositories()["trixie"])


def test_a_vendors_file_that_left_has_no_snapshot(world: World) -> None:
    tool = stocked(world)
    listed(world)
    content = world.market.contents.pop(tool.url)
    world.market.contents[tool.url.replace("deb.test", "snapshot.test")] = content
    assert "fuse-tool 3.0 has left its repository" in failed(world, world.request(MINE))
