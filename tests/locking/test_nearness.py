"""Which version is nearest: the smallest step, and only what is admitted and can be installed."""

from __future__ import annotations

import pytest
from packaging.version import Version

from shared.judgement import Court
from shared.locking import offer
from shared.locking.offer import Offer, nearness
from shared.ports.upstream import Pin
from shared.upstream.tags import supported
from tests.support.claims import manifest
from tests.support.market import Market


def ordered(market: Market, court: Court, here: str, *versions: str) -> list[str]:
    for version in versions:
        market.wheel("lib", version)
    found = Offer(market, court.packages, "3.13.5", supported(manifest(), "3.13.5"))
    return found.candidates("lib", here)


@pytest.mark.parametrize(
    ("here", "nearest_first"),
    [
        # the same minor up, the same minor down, the same major up and down, other majors up and down
        ("3.1.4", ["3.1.5", "3.1.6", "3.1.3", "3.1.0", "3.2.0", "3.10.1", "3.0.9", "4.0", "10.0", "2.11.3"]),
        # by number, not as text
        ("1.9", ["1.10", "1.100", "1.8", "2.0"]),
        # a post-release is the same release
        ("1.2", ["1.2.post1", "1.2.post2", "1.2.1", "1.1", "2.0"]),
        ("1.2.post2", ["1.2.post3", "1.2.post1", "1.2", "1.2.1"]),
        # an epoch is another way to count: 1!0.5 is above 2024.1, and further than any of its own
        ("2024.1", ["2024.2", "2025.1", "2023.12", "1!0.5"]),
        ("1!1.0", ["1!1.1", "1!0.9", "2024.1"]),
        # a local label is another build
        ("2.1.0+cpu", ["2.1.1+cpu", "2.0.0+cpu", "2.1.0", "2.1.0+cu121", "2.1.1+cu121"]),
        ("2.1.0", ["2.1.1", "3.0", "2.1.0+cpu"]),
        # pre- and development releases only in the place of one
        ("2.0rc1", ["2.0rc2", "2.0", "2.0b1", "2.0a1.dev3", "2.0.1", "2.1.dev0", "1.9"]),
        ("2.0.dev3", ["2.0.dev4", "2.0a1", "2.0", "2.0.dev2"]),
        ("1.0", ["1.0.0.1", "1.0.1", "1.1"]),
    ],
)
def test_the_smallest_step_comes_first(
    market: Market, court: Court, here: str, nearest_first: list[str]
) -> None:
    assert ordered(market, court, here, *sorted(nearest_first)) == nearest_first


def test_a_stable_version_is_not_replaced_by_an_early_one(market: Market, court: Court) -> None:
    assert ordered(market, court, "1.0", "1.1rc1", "1.1.dev1", "1.1a1.post1", "2.0") == ["2.0"]


def test_trailing_zeros_are_no_step() -> None:
    assert nearness(Version("1.0"), Version("1.0.0.post1")) == nearness(Version("1"), Version("1.post1"))


def test_what_is_no_version_has_no_neighbours(market: Market, court: Court) -> None:
    assert ordered(market, court, "final-final", "1.0") == []


def test_there_is_an_end_to_the_candidates(market: Market, court: Court) -> None:
    found = ordered(market, court, "1.0", *(f"1.{minor}" for minor in range(1, 60)))
    assert found == [f"1.{minor}" for minor in range(1, offer.CANDIDATES + 1)]


def test_every_version_of_a_package_is_judged_once(market: Market, court: Court) -> None:
    for version in ("1.0", "1.1", "1.2"):
        market.wheel("lib", version)
    market.flaw("lib", "1.1")
    asked: list[int] = []

    def judge(packages, is_source, replaces=None, /):
        asked.append(len(packages))
        return court.packages(packages, is_source, replaces)

    found = Offer(market, judge, "3.13.5", supported(manifest(), "3.13.5"))
    assert found.candidates("lib", "1.0") == ["1.2"]
    assert {version: bool(why) for version, why in found.judged("lib").items()} == {
        "1.0": False,
        "1.1": True,
        "1.2": False,
    }
    assert asked == [3]
    assert found.refusals([Pin("lib", "1.1")])
