"""Where the inner project is another one: what belongs there goes there, and what does not stays."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from shared.settings import Settings
from tests.stages import world as worlds
from tests.stages.world import World

TWO = Settings("dmz-outer", inner_project="dmz-inner")


def test_private_repositories_are_inside_and_staging_is_not() -> None:
    inside = (TWO.python_repository, TWO.generic_repository, TWO.image_repository, "bookworm")
    assert {TWO.holder(name) for name in inside} == {"dmz-inner"}
    assert TWO.holder(TWO.staging_repository) == "dmz-outer"
    assert Settings("one").holder("bookworm") == "one"


def test_each_kind_of_vm_has_its_project_and_its_account() -> None:
    assert (TWO.machines("outer").project, TWO.machines("inner").project) == ("dmz-outer", "dmz-inner")
    assert TWO.account("outer") == "outer-vm@dmz-outer.iam.gserviceaccount.com"
    assert TWO.account("inner") == "inner-vm@dmz-inner.iam.gserviceaccount.com"
    assert TWO.machines("inner").account("inner") == TWO.account("inner")


def test_a_run_over_two_projects(make: Callable[..., World], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worlds, "Settings", functools.partial(Settings, inner_project="sealed"))
    world = make()
    run_id = world.request()
    assert world.run(run_id)["state"] == "completed"
    told = {config.role: config for config in world.configs.values()}
    assert (told["outer"].project, told["outer"].events_project) == ("test", "")
    assert (told["inner"].project, told["inner"].events_project) == ("sealed", "test")
