"""A waiver that can change nothing about what is held, or waited for, does not have all of it judged again."""

from __future__ import annotations

from typing import Any

import pytest

from shared.model.waiver import Waiver
from shared.ports.store import Put
from tests.stages.refreshing import refresh
from tests.stages.waiving import DAY, grant, refreshed, revoke, waiver
from tests.stages.world import World

APP = "pkg:pypi/app@*"


@pytest.fixture
def listed(world: World) -> World:
    """A world in which one workload has been installed, and what is held was listed."""
    assert world.run(world.request())["state"] == "completed"
    refresh(world, "first")
    return world


def asked(world: World) -> int:
    """How often everything was to be judged again because of a waiver."""
    return sum(count for reason, count in refreshed(world).items() if reason.startswith("waiver-"))


def given(world: World, id: str = "grant-1", **changes: Any) -> Waiver:
    return grant(world, waiver(world, **changes), id)


@pytest.mark.parametrize(
    ("changes", "times"),
    [
        ({"package": "pkg:pypi/elsewhere@*"}, 0),
        ({"package": "pkg:pypi/app@2.*"}, 0),
        ({"package": APP, "workload": "elsewhere"}, 0),
        ({"package": "", "workload": "elsewhere"}, 0),
        ({"package": APP}, 1),
        ({"package": APP, "workload": ""}, 1),
        ({"package": ""}, 1),
        ({"package": "pkg:deb/debian/jq"}, 1),
    ],
)
def test_all_is_judged_again_for_what_may_touch_any_of_it(
    listed: World, changes: dict[str, Any], times: int
) -> None:
    made = given(listed, **changes)
    assert asked(listed) == times
    revoke(listed, made.id)
    assert asked(listed) == 2 * times


def test_the_end_by_time_of_what_touches_nothing_is_recorded_and_no_more(listed: World) -> None:
    made = given(listed, package="pkg:pypi/elsewhere@*", days=0.5)
    listed.ahead = DAY * 0.6
    listed.sweep()
    assert asked(listed) == 0
    assert (listed.store.get("waivers", made.id) or {})["state"] == "expired"
    made = given(listed, "grant-2", package=APP, days=0.2)
    listed.ahead = DAY * 0.9
    listed.sweep()
    assert asked(listed) == 2


def test_what_a_run_waits_for_is_touched(waiting: World) -> None:
    run_id = waiting.request()
    refresh(waiting, "first")
    assert waiting.run(run_id)["held"]["packages"]
    given(waiting, advisory="", package="pkg:pypi/tool@1.0")
    assert asked(waiting) == 1
    assert waiting.run(run_id)["again"]["may"]


@pytest.mark.parametrize("many", [False, True])
def test_what_came_in_by_a_waiver_since_the_last_listing_is_touched_by_its_end(
    world: World, many: bool
) -> None:
    refresh(world, "first")
    made = given(world)
    assert asked(world) == 0
    run_id = world.request()
    assert [each["id"] for each in world.run(run_id)["waivers"]] == [made.id]
    if many:  # the run's document names the first of them alone
        names = [{"id": f"waiver-{number}"} for number in range(100)]
        world.store.put([Put("runs", run_id, {"waivers": names}, merge=True)])
    revoke(world, made.id)
    assert asked(world) == 1
    assert "lib-1.0-py3-none-any.whl" not in world.repositories()["dmz-python"]


@pytest.mark.parametrize("how", ["old", "unreadable"])
def test_where_it_cannot_be_told_all_is_judged_again(listed: World, how: str) -> None:
    broken: dict[str, Any] = {"holdings": "sha256:" + "0" * 64} if how == "unreadable" else {"at": 0.0}
    listed.store.put([Put("reevaluations", "latest", broken, merge=True)])
    given(listed, package="pkg:pypi/elsewhere@*")
    assert asked(listed) == 1
