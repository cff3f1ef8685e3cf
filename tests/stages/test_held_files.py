"""What is held is judged as the very files that it is: by their own age, as one's own or the index's, as a repair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from shared.model.case import Facts
from shared.model.policy import Cooldown
from shared.model.value import sha256
from shared.upstream import http
from shared.upstream.facts import PypiFacts
from tests.stages import guests
from tests.stages.refreshing import TOOL, alarms, changes, cooling, evictions, offer, refresh, standing
from tests.stages.world import OWN, WORKLOAD, World
from tests.support.claims import environment, python


@pytest.mark.parametrize("sha256_of", ["held", "added"])
def test_the_very_files_that_are_held_are_judged(make: Callable[..., World], sha256_of: str) -> None:
    """Whoever steals an account adds a wheel to a version of years ago; ours is not as young as that, nor as yanked."""
    world = make(
        through=lambda name, port: PypiFacts(port, http.client()) if name == "facts" else port,
    )
    for name in world.market.projects:
        offer(world, name, uploaded="2020-01-01T00:00:00Z")
    pypi = world.policy.pypi
    rules = pypi.model_copy(update={"yanked": "block", "cooldown": Cooldown(days=7, unknown_upload="hold")})
    world.policy = world.policy.model_copy(update={"pypi": rules})
    assert world.run(world.request())["state"] == "completed"
    (ours,) = world.market.projects["tool"]
    late = datetime.fromtimestamp(world.clock() - 3600, UTC).isoformat()
    added = replace(
        ours,
        filename="tool-1.0-1-py3-none-any.whl",
        sha256=sha256(b"added") if sha256_of == "added" else ours.sha256,
        uploaded=late,
        yanked=True,
    )
    world.market.projects["tool"] = [added, ours] if sha256_of == "added" else [added]
    refresh(world, "one")
    assert changes(world) == ([] if sha256_of == "added" else [(TOOL, "allow", "block")])


@pytest.mark.parametrize("name", ["other", "small"], ids=["of two workloads", "of one"])
def test_ones_own_wheel_stays_where_the_indexs_of_the_same_name_goes(held: World, name: str) -> None:
    """Artifact Registry deletes the version, which is of both; one's own comes back from where it was staged."""
    made = held.market.wheel("mine", "1.0", tag="cp313-cp313-linux_x86_64")
    claimed = python("mine", "1.0", made, requested=True, tags=("cp313-cp313-linux_x86_64",))
    held.environments = (environment(claimed), held.environments[1])
    held.outer = lambda config: guests.outer(config, held.claim(workload=name))
    run = held.run(held.request(WORKLOAD.model_copy(update={"name": name, "wheels": ()})))
    assert run["state"] == "completed", run["reason"]
    assert {OWN.filename, made.filename} <= set(held.repositories()["dmz-python"])
    pypi = held.policy.pypi.model_copy(update={"yanked": "block"})
    held.policy = held.policy.model_copy(update={"pypi": pypi})
    refresh(held, "one")
    assert (changes(held), alarms(held, "drift")) == ([], [])
    stolen = Facts(uploaded="2020-01-01T00:00:00Z", yanked="stolen", licences=("MIT",))
    held.market.said["mine", "1.0"] = stolen
    refresh(held, "two")
    (told,) = held.events("verdict-changed")
    assert (told.purl, told.own_wheel, told.after) == ("pkg:pypi/mine@1.0", False, "block")
    assert evictions(held) == [("pkg:pypi/mine@1.0", 1, "")]
    names = held.repositories()["dmz-python"]
    assert (OWN.filename in names, made.filename in names) == (True, False)
    refresh(held, "three")
    assert (len(changes(held)), alarms(held, "stray"), held.bus.dead) == (1, [], [])


def test_ones_own_wheel_goes_by_an_advisory_and_has_a_standing_of_its_own(held: World) -> None:
    held.market.flaw("mine", "1.0")
    refresh(held, "one")
    (told,) = held.events("verdict-changed")
    assert (told.purl, told.own_wheel) == ("pkg:pypi/mine@1.0", True)
    assert standing(held, told.key)["decision"] == "block"
    assert standing(held, told.purl) == {}
    assert OWN.filename not in held.repositories()["dmz-python"]
    (gone,) = held.events("package-evicted")
    assert (gone.purl, gone.own_wheel, gone.reason) == ("pkg:pypi/mine@1.0", True, "")
    refresh(held, "two")
    assert len(changes(held)) == 1


def test_ones_own_wheel_and_the_indexs_of_one_name_are_told_of_apart(held: World) -> None:
    """Both go by one advisory, and whoever hears of it can tell which is which."""
    made = held.market.wheel("mine", "1.0", tag="cp313-cp313-linux_x86_64")
    claimed = python("mine", "1.0", made, requested=True, tags=("cp313-cp313-linux_x86_64",))
    held.environments = (environment(claimed), held.environments[1])
    held.outer = lambda config: guests.outer(config, held.claim(workload="other"))
    run = held.run(held.request(WORKLOAD.model_copy(update={"name": "other", "wheels": ()})))
    assert run["state"] == "completed", run["reason"]
    held.market.flaw("mine", "1.0")
    refresh(held, "one")
    gone = held.events("package-evicted")
    assert {(each.purl, each.own_wheel) for each in gone} == {
        ("pkg:pypi/mine@1.0", False),
        ("pkg:pypi/mine@1.0", True),
    }
    assert not any("mine" in name for name in held.repositories()["dmz-python"])


@pytest.mark.parametrize(("fix", "stays"), [("1.1", True), ("1.0.5", False)])
@pytest.mark.parametrize("forgotten", [False, True], ids=["by its run", "by its record"])
def test_only_the_named_fix_stays_in_while_it_cools_down(
    world: World, fix: str, stays: bool, forgotten: bool
) -> None:
    """lib 1.0 was refused and 1.1 took its place; then the policy wants days to pass."""
    world.market.flaw("lib", "1.0", fixed=fix)
    assert world.run(world.request())["state"] == "completed"
    yesterday = datetime.fromtimestamp(world.clock() - 86_400, UTC).isoformat().replace("+00:00", "Z")
    world.market.said["lib", "1.1"] = Facts(uploaded=yesterday, licences=("MIT",))
    if forgotten:
        world.store.expire(world.clock() + 500 * 86_400)
    cooling(world, 3)
    refresh(world, "one")
    assert changes(world) == ([] if stays else [("pkg:pypi/lib@1.1", "allow", "hold")])
    assert ("lib-1.1-py3-none-any.whl" in world.repositories()["dmz-python"]) is stays
