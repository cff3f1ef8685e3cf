"""A policy that asks for attestations: who is not attested as it says does not come in, held already or not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.attested import publishers
from shared.held_files import RECORDS, record_id
from shared.model.policy import AttestedRule, WorkloadRules
from shared.ports.store import Put
from tests.stages.published import NAME, REPOSITORY, WHERE, Dark, noted, stock
from tests.stages.refreshing import alarms, evictions, offer, refresh
from tests.stages.world import WORKLOAD, World
from tests.upstream.attested import CIRCLECI, GITHUB

WHO = str(CIRCLECI.publisher)


def asks(world: World, *rules: tuple[str, ...]) -> World:
    """(pattern, publishers…) each."""
    made = tuple(AttestedRule(purl=purl, publishers=tuple(who) or ("*",)) for purl, *who in rules)
    world.policy = world.policy.model_copy(update={"attestations": made})
    return world


@pytest.mark.parametrize("who", [(), ("*",), (WHO,), ("GitHub x/y", "CircleCI *")])
def test_a_file_that_is_attested_as_the_policy_asks_comes_in(world: World, who: tuple[str, ...]) -> None:
    stock(asks(world, (f"pkg:pypi/{NAME}", *who)))
    assert world.run(world.request())["state"] == "completed"
    assert CIRCLECI.filename in world.repositories()[REPOSITORY]


@pytest.mark.parametrize(
    ("who", "where", "words"),
    [
        ((), "", f"(pkg:pypi/{NAME}: the index names no attestation of it)"),
        ((WHO,), "", f"(pkg:pypi/{NAME}: the index names no attestation of it)"),
        (("GitHub x/y",), WHERE, f"it is attested to be published by {WHO}, and not by GitHub x/y"),
        ((WHO,), "https://files.test/elsewhere", "where nothing is"),
    ],
    ids=range(4),
)
def test_a_file_that_is_not_ends_the_run_and_nothing_of_it_comes_in(
    world: World, who: tuple[str, ...], where: str, words: str
) -> None:
    stock(asks(world, (f"pkg:pypi/{NAME}", *who)), where)
    run = world.run(world.request())
    assert (run["state"], run["stage"]) == ("failed", "sync")
    assert words in run["reason"]
    assert world.repositories()[REPOSITORY] == []


def test_what_is_held_already_is_no_way_around_it(world: World) -> None:
    """It came in while nobody asked; the index has had nothing to say of it since."""
    stock(world, "")
    assert world.run(world.request())["state"] == "completed"
    assert CIRCLECI.filename in world.repositories()[REPOSITORY]
    run = asks(world, (f"pkg:pypi/{NAME}",)).run(world.request())
    assert run["state"] == "failed"
    assert "the index names no attestation of it" in run["reason"]


def test_what_was_proved_once_stays_proved(world: World) -> None:
    """By its record: the index need not serve it any more."""
    stock(world)
    assert world.run(world.request())["state"] == "completed"
    del world.market.contents[WHERE]
    offer(world, NAME, provenance="")
    assert asks(world, (f"pkg:pypi/{NAME}", WHO)).run(world.request())["state"] == "completed"
    run = asks(world, (f"pkg:pypi/{NAME}", "GitHub x/y")).run(world.request())
    assert f"published by {WHO}, and not by GitHub x/y" in run["reason"]


@pytest.mark.parametrize("purl", ["pkg:pypi/mine", "pkg:pypi/builder", "pkg:pypi/*"])
def test_a_wheel_of_ones_own_and_what_builds_are_asked_as_well(world: World, purl: str) -> None:
    """Nobody has attested either; what only a build needs comes in as well."""
    run = asks(world, (purl,)).run(world.request())
    assert (run["state"], run["stage"]) == ("failed", "sync")
    assert "the index names no attestation of it" in run["reason"]
    assert world.repositories()[REPOSITORY] == []


def test_only_the_workload_that_is_asked_is(world: World) -> None:
    wants = (AttestedRule(purl="pkg:pypi/*"),)
    other = {"other": WorkloadRules(attestations=wants)}
    world.policy = world.policy.model_copy(update={"workloads": other})
    assert world.run(world.request())["state"] == "completed"
    own = {WORKLOAD.name: WorkloadRules(attestations=wants)}
    world.policy = world.policy.model_copy(update={"workloads": own})
    assert "the index names no attestation" in world.run(world.request())["reason"]


# --- what came in before anybody asked ---


@pytest.fixture
def before(world: World) -> World:
    """The file is held, and nobody is on record: its index had no attestations then."""
    stock(world, "")
    assert world.run(world.request())["state"] == "completed"
    assert "publishers" not in noted(world)
    return world


def test_its_publisher_is_noted_when_the_index_has_attestations(before: World) -> None:
    refresh(before, "one")
    assert "publishers" not in noted(before)
    offer(before, NAME, provenance=WHERE)
    refresh(before, "two")
    assert publishers(noted(before)) == (CIRCLECI.publisher,)
    assert noted(before)["attested"] is True
    assert alarms(before, "attestation") == []
    named = [fields["sha256"] for _, fields in before.store.find(RECORDS, "attested", True)]
    assert named == [CIRCLECI.sha256]
    # From now on it is watched like every other, and enough for a policy.
    offer(before, NAME, provenance="")
    refresh(before, "three")
    assert len(alarms(before, "attestation")) == 1
    assert asks(before, (f"pkg:pypi/{NAME}", WHO)).run(before.request())["state"] == "completed"


def test_attestations_that_do_not_hold_are_an_alarm_and_note_nobody(before: World) -> None:
    offer(before, NAME, provenance=WHERE)
    before.market.contents[WHERE] = GITHUB.served
    refresh(before, "one")
    (alarm,) = alarms(before, "attestation")
    assert (
        f"The index has attestations of {CIRCLECI.filename} now, and they do not hold: " in alarm["message"]
    )
    assert "publishers" not in noted(before)
    assert evictions(before) == []
    before.market.contents[WHERE] = CIRCLECI.served
    refresh(before, "two")
    assert alarms(before, "attestation") == []
    assert publishers(noted(before)) == (CIRCLECI.publisher,)


def test_those_of_other_bytes_are_nobodys(before: World) -> None:
    """The index has another file under the name: that is drift, an alarm of its own."""
    offer(before, NAME, provenance=WHERE, sha256="sha256:" + "0" * 64)
    refresh(before, "one")
    assert "publishers" not in noted(before)
    assert alarms(before, "attestation") == []


def test_a_stray_is_not_given_a_record(before: World) -> None:
    name = record_id(REPOSITORY, CIRCLECI.sha256)
    before.store.put([Put(RECORDS, name, {"sha256": CIRCLECI.sha256})])
    offer(before, NAME, provenance=WHERE)
    refresh(before, "one")
    assert "publishers" not in noted(before)
    assert alarms(before, "attestation") == []


def test_an_index_that_does_not_answer_is_asked_again(make: Callable[..., World]) -> None:
    dark = Dark()
    world = make(through=dark.through)
    stock(world, "")
    world.request()
    offer(world, NAME, provenance=WHERE)
    dark.now = True
    refresh(world, "one")
    assert "publishers" not in noted(world)
    assert len(alarms(world, "no-data")) == 1
    dark.now = False
    refresh(world, "two")
    assert alarms(world, "no-data") == []
    assert publishers(noted(world)) == (CIRCLECI.publisher,)
