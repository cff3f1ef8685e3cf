"""Reference values: who may vote, what agreement takes, what a dispute and a revocation do."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.appraisal import dsse
from shared.errors import Transient
from shared.events import Event, ImageBuilt, derived_id
from shared.model.value import sha256
from shared.retention import DAY
from tests.appraisal import forge
from tests.attestation.world import SERVICE, Attested, silent
from tests.provenance import makers

Make = Callable[..., Attested]


@pytest.fixture
def world(make: Make) -> Attested:
    return make(answer=silent)


def decision(world: Attested) -> str:
    world.hand_in(world.ask())
    return str(world.appraised()[-1].decision)


def test_the_threshold_makes_a_reference_value_and_says_so_once(world: Attested) -> None:
    world.build(makers.ALICE)
    assert [each["state"] for each in world.references()] == ["undecided"]
    assert decision(world) == "refused"
    world.build(makers.BOB)
    (reference,) = world.references()
    assert (reference["state"], reference["manifest"]) == ("agreed", sha256(b"manifest"))
    assert reference["builders"] == [makers.ALICE, makers.BOB]
    (told,) = world.events("reference-changed")
    assert (told.state, told.manifest, told.builders) == (
        "agreed",
        sha256(b"manifest"),
        (makers.ALICE, makers.BOB),
    )
    assert decision(world) == "accepted"


def test_two_keys_of_one_builder_are_one_vote(world: Attested) -> None:
    said = world.statement(makers.CAROL, b"manifest", forge.CONFIG)
    world.vote(said, "carol")
    world.vote(said, "p256 carol")
    assert [each["state"] for each in world.references()] == ["undecided"]
    assert decision(world) == "refused"


@pytest.mark.parametrize("order", list(itertools.permutations([0, 1, 2])))
def test_disagreement_blocks_the_image_whatever_the_order(world: Attested, order: tuple[int, ...]) -> None:
    votes = [(makers.ALICE, b"manifest"), (makers.BOB, b"manifest"), (makers.CAROL, b"other")]
    for place in order:
        world.build(*votes[place])
    (reference,) = world.references()
    assert reference["state"] == "disputed"
    told = world.events("reference-changed")[-1]
    assert told.state == "disputed"
    assert set(told.builders) == {makers.ALICE, makers.BOB, makers.CAROL}
    assert makers.CAROL in told.reason
    assert decision(world) == "refused"
    assert any("agreement" in check for check in world.appraised()[-1].failed_checks)


def test_votes_that_come_at_once_are_all_seen(make: Make) -> None:
    world = make(answer=silent, copies=3, max_delay=0.05, seed=7)
    bodies = []
    for builder, what in ((makers.ALICE, b"manifest"), (makers.BOB, b"manifest"), (makers.CAROL, b"other")):
        said = world.statement(builder, what, forge.CONFIG)
        envelope = makers.envelope(said, makers.KEY_OF[builder])
        bodies.append(json.dumps({"image": SERVICE, "envelope": envelope, "config": forge.CONFIG}).encode())
    for body in bodies:
        world.bus.send("image-built", body, {})
    world.quiet()
    assert [each["state"] for each in world.references()] == ["disputed"]
    assert decision(world) == "refused"


def test_the_same_manifest_with_another_configuration_is_no_agreement(world: Attested) -> None:
    world.build(makers.ALICE)
    world.build(makers.BOB, config=forge.CONFIG + " ")
    assert [each["state"] for each in world.references()] == ["disputed"]


def test_another_revision_is_another_question(world: Attested) -> None:
    world.build(makers.ALICE)
    world.build(makers.BOB, revision="another")
    assert [each["state"] for each in world.references()] == ["undecided", "undecided"]


def test_a_revoked_image_is_refused_with_the_reason(world: Attested) -> None:
    world.agreed()
    assert decision(world) == "accepted"
    revoked = {"image": SERVICE, "manifest": sha256(b"manifest"), "reason": "It holds a hole."}
    world.send("reference-revoked", revoked)
    told = world.events("reference-changed")[-1]
    assert (told.state, told.reason) == ("revoked", "It holds a hole.")
    assert decision(world) == "refused"
    assert any("It holds a hole" in check for check in world.appraised()[-1].failed_checks)
    world.build(makers.CAROL)
    assert decision(world) == "refused", "a further vote brings it back as little"


def test_a_reference_value_ends(world: Attested) -> None:
    world.agreed()
    world.shift += 31 * makers.DAY
    issued, now = world.ask(), int(world.then())

    def today(claims: dict[str, Any]) -> None:
        claims.update(iat=now - 10, nbf=now - 10, exp=now + 3590, eat_nonce=issued["nonce"])

    world.hand_in(issued, forge.oidc(forge.claims(today)))
    assert [check.name for check in world.result(world.appraised()[-1]).failed] == ["image digest"]


def test_a_stranger_has_no_vote(world: Attested) -> None:
    said = world.statement(makers.ALICE, b"manifest", forge.CONFIG)
    world.vote(said, "mallory")
    assert world.references() == []
    assert "No key that the policy lists" in world.bus.dead[-1][2]


def test_a_configuration_that_was_swapped_is_named(world: Attested) -> None:
    said = world.statement(makers.ALICE, b"manifest", forge.CONFIG)
    world.vote(said, "alice", config=forge.CONFIG.replace("LANG=C.UTF-8", "LD_PRELOAD=/x"))
    assert "does not have the digest" in world.bus.dead[-1][2]
    assert world.references() == []


def test_a_statement_about_another_image_does_not_count_for_this_one(world: Attested) -> None:
    said = world.statement(makers.ALICE, b"manifest", forge.CONFIG, image="collector")
    world.vote(said, "alice", image=SERVICE)
    assert "about collector" in world.bus.dead[-1][2]


def test_a_builder_that_is_taken_off_the_policy_takes_the_value_with_it(world: Attested) -> None:
    world.agreed()
    assert decision(world) == "accepted"
    world.builders = makers.policy(2, bob={"revoked": True})
    assert decision(world) == "refused"


def test_nobody_takes_the_place_of_a_vote_by_its_event_id(world: Attested) -> None:
    """Senders choose the ids of entry events: one that is handled already must not hide another event."""
    world.build(makers.ALICE)
    said = world.statement(makers.CAROL, b"other", forge.CONFIG)
    envelope = dsse.envelope(said, ((makers.keyid("carol"), makers.sign("carol", dsse.pae(said))),))
    vote = {"image": SERVICE, "envelope": envelope, "config": forge.CONFIG}
    squatted = derived_id("", "image-built", ImageBuilt.check(vote, "The vote").subject)
    own = {"service": SERVICE, "nonce_id": "relying-party-0001", "nonce": "brought-by-a-relying-party"}
    world.send("nonce-registered", own, **{"ce-id": squatted})
    world.send("image-built", vote)
    assert [each["state"] for each in world.references()] == ["disputed"]


def test_a_change_is_told_even_if_telling_it_failed_at_first(world: Attested) -> None:
    """An alarm that is noted as told before it is told can be lost."""
    desk = world.desks["attestation"]
    world.build(makers.ALICE)
    publish, failures = desk.bus.publish, []

    def away(event: Event) -> None:
        if event.type == "reference-changed" and not failures:
            failures.append(event)
            raise Transient("Pub/Sub is away.")
        publish(event)

    desk.bus.publish = away  # type: ignore[method-assign]
    world.build(makers.CAROL, b"other")
    assert failures
    (told,) = world.events("reference-changed")
    assert told.state == "disputed"


def test_a_revoked_builders_digest_is_no_part_of_a_dispute(world: Attested) -> None:
    """Alice and Bob disagree, Carol is revoked: what she alone said blocks nothing elsewhere."""
    for builder, what in ((makers.ALICE, b"one"), (makers.BOB, b"two"), (makers.CAROL, b"manifest")):
        world.build(builder, what, revision="disputed")
    world.builders = makers.policy(2, carol={"revoked": True})
    world.agreed()
    assert decision(world) == "accepted"


def test_a_vote_is_tallied_however_old_it_is(world: Attested) -> None:
    """Runs and their content end; what a vote needs does not, also if a run stores the same bytes for a while."""
    world.agreed()
    world.blobs.put(forge.CONFIG.encode())
    later = time.time() + 3000 * DAY
    world.blobs.expire(later)
    world.store.expire(later)
    world.send("reference-revoked", {"image": SERVICE, "manifest": sha256(b"manifest"), "reason": "A flaw."})
    (reference,) = world.references()
    assert (reference["state"], reference["config"]) == ("revoked", sha256(forge.CONFIG.encode()))
    assert world.bus.dead == []
