"""A machine that says it runs another release than it does, so that its packages are judged by another's advisories."""

from __future__ import annotations

import pytest

from shared.guest.config import Config
from shared.model.package import Release
from tests.stages import guests
from tests.stages.hostile import failed
from tests.stages.world import World
from tests.support.market import TRIXIE

LIES = [
    Release(id="debian", version_id="12", codename="bookworm", architecture="amd64"),
    Release(id="ubuntu", version_id="22.04", codename="jammy", architecture="amd64"),
    Release(id="ubuntu", version_id="24.04", codename="noble", architecture="amd64"),
    TRIXIE.model_copy(update={"architecture": "arm64"}),
]


def lying(world: World, lie: Release) -> None:
    """Both VMs run Debian 13; the outer one says something else. The lie's archive has the very same packages."""
    world.outer = lambda config: guests.outer(config, world.claim(release=lie))

    def inside(config: Config) -> guests.Payload:
        return guests.inner(config, world.inside(config).model_copy(update={"release": TRIXIE}))

    world.inner = inside


@pytest.mark.parametrize("lie", LIES, ids=lambda each: f"{each.codename}-{each.architecture}")
def test_a_lie_about_the_release_never_completes(world: World, lie: Release) -> None:
    lying(world, lie)
    told = f"{lie.id} {lie.version_id} {lie.codename} {lie.architecture}"
    reason = failed(world, world.request())
    assert f"The outer VM said that it runs release {told}, the inner VM of the same image runs" in reason
    assert "runs release debian 13 trixie amd64: its packages were judged as another release's." in reason


@pytest.mark.parametrize("lie", LIES[:3], ids=lambda each: each.codename)
def test_a_release_whose_archive_does_not_have_these_packages(world: World, lie: Release) -> None:
    """As in life: the other release's signed indexes list other versions, and no VM is paid for."""
    world.market.pool.clear()
    lying(world, lie)
    assert "has no newer admitted version" in failed(world, world.request())
    assert world.repositories()["trixie"] == []
    assert len(world.configs) == 1


@pytest.mark.parametrize(
    "mixed",
    [
        {"id": "ubuntu"},
        {"codename": "bookworm"},
        {"version_id": "12"},
        {"id": "ubuntu", "version_id": "20.04", "codename": "focal"},
    ],
)
def test_a_release_that_there_is_not(world: World, mixed: dict[str, str]) -> None:
    lying(world, TRIXIE.model_copy(update=mixed))
    assert "is not supported: the keys of Debian 12 and 13" in failed(world, world.request())
