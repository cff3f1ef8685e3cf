"""Votes and reference values: who counts, what agreement takes, and that order and repetition change nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.appraisal import dsse
from shared.appraisal.votes import Dispute, Outcome, Undecided, Vote, grouped, revoked, settled, tally, verify
from shared.errors import Permanent
from shared.model.reference import ReferenceValue
from shared.model.value import sha256
from tests.provenance.makers import (
    ALICE,
    BOB,
    CAROL,
    CONFIG,
    DAY,
    NOW,
    built,
    envelope,
    key,
    keyid,
    lock,
    payload,
    pem,
    policy,
    sign,
    vote,
)

OTHER = CONFIG.replace("amd64", "arm64")


def agreed(outcome: Outcome | Any) -> ReferenceValue:
    assert isinstance(outcome, ReferenceValue), outcome
    return outcome


def counted(*votes: Vote, now: float = NOW, config: str = CONFIG, **changed: Any) -> Outcome:
    return tally(votes, policy(**changed), config, now)


# --- verify


def test_a_builder_s_own_key_makes_a_vote() -> None:
    made = payload(BOB)
    found = verify(envelope(made, "p256 bob"), policy(), NOW)
    assert (found.build.builder, found.keyid) == (BOB, keyid("p256 bob"))
    assert found.build.statement == sha256(made)


def test_two_keys_of_one_builder_make_one_vote() -> None:
    both = envelope(payload(CAROL), "carol", "p256 carol")
    turned = envelope(payload(CAROL), "p256 carol", "carol")
    first, second = verify(both, policy(), NOW), verify(turned, policy(), NOW)
    assert first == second
    assert isinstance(counted(first, second), Undecided)


def test_a_key_that_nobody_lists_neither_helps_nor_harms() -> None:
    assert verify(envelope(payload(), "alice", "stranger"), policy(), NOW) == vote()


def unsigned(name: str, made: bytes, under: str) -> str:
    """An envelope with the signature of `name` under the key id of `under`."""
    return dsse.envelope(made, ((keyid(under), sign(name, dsse.pae(made))),))


def altered() -> str:
    made = json.loads(envelope(payload(), "alice"))
    made["payload"] = json.loads(envelope(payload(what=b"evil"), "alice"))["payload"]
    return json.dumps(made)


REFUSED: dict[str, tuple[str, dict[str, Any], float, str]] = {
    "an altered statement": (altered(), {}, NOW, "is wrong"),
    "a stranger's signature": (envelope(payload(), "stranger"), {}, NOW, "No key that the policy lists"),
    "a stranger's under a listed key id": (unsigned("stranger", payload(), "alice"), {}, NOW, "is wrong"),
    "one right and one wrong": (
        dsse.envelope(
            payload(CAROL),
            (
                (keyid("carol"), sign("carol", dsse.pae(payload(CAROL)))),
                (keyid("p256 carol"), sign("p256 carol", b"x")),
            ),
        ),
        {},
        NOW,
        "is wrong",
    ),
    "another builder's signature": (envelope(payload(ALICE), "p256 bob"), {}, NOW, "signs its own"),
    "both builders' signatures": (envelope(payload(ALICE), "alice", "p256 bob"), {}, NOW, "signs its own"),
    "a revoked builder's signature beside": (
        envelope(payload(ALICE), "alice", "p256 bob"),
        {"bob": {"revoked": True}},
        NOW,
        "signs its own",
    ),
    "an unknown builder": (
        envelope(payload("https://builders.example/mallory"), "alice"),
        {},
        NOW,
        "does not list",
    ),
    "a revoked builder": (envelope(payload(), "alice"), {"alice": {"revoked": True}}, NOW, "is revoked"),
    "a revoked key": (envelope(payload(), "alice"), {"alice": {"keys": [pem("new")]}}, NOW, "No key that"),
    "a build in the future": (envelope(payload(at=NOW + 301), "alice"), {}, NOW, "correct its clock"),
    "a build too old": (envelope(payload(at=NOW - 30 * DAY), "alice"), {}, NOW, "build again"),
    "a builder whose time has ended": (
        envelope(payload(), "alice"),
        {"alice": {"not_after": "2027-01-15T07:59:59Z"}},
        NOW,
        "may not vote at this time",
    ),
    "a builder whose time had not begun": (
        envelope(payload(), "alice"),
        {"alice": {"not_before": "2027-01-15T07:59:51Z"}},
        NOW,
        "may not vote at this time",
    ),
    "a statement that is none": (envelope(b"{}", "alice"), {}, NOW, "missing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_vote(case: str) -> None:
    text, changed, now, said = REFUSED[case]
    with pytest.raises(Permanent, match=said):
        verify(text, policy(**changed), now)


def test_the_edges_of_time() -> None:
    assert verify(envelope(payload(at=NOW + 300), "alice"), policy(), NOW)
    assert verify(envelope(payload(at=NOW - 30 * DAY + 1), "alice"), policy(), NOW)


SENT = envelope(payload(CAROL), "p256 carol")


@given(st.integers(0, len(SENT) - 1), st.characters(), st.sampled_from(["replace", "insert", "delete"]))
def test_a_changed_envelope_is_the_same_vote_or_none(at: int, character: str, how: str) -> None:
    """The signature covers the payload's bytes; what it does not cover (white space, the key id) decides nothing."""
    rest = SENT[at:] if how == "insert" else SENT[at + 1 :]
    text = SENT[:at] + ("" if how == "delete" else character) + rest
    found = read_as(text)
    if isinstance(found, str):
        assert found.isprintable()
    else:
        assert found == verify(SENT, policy(), NOW)


def read_as(text: str) -> Vote | str:
    try:
        return verify(text, policy(), NOW)
    except Permanent as error:
        return str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_document_does_more_than_be_refused(document: Any) -> None:
    text = json.dumps(document)
    signed = envelope(text.encode(), "alice")
    for each in (text, signed, signed.replace(signed[20:30], text)):
        with pytest.raises(Permanent):
            verify(each, policy(), NOW)


# --- tally


def test_a_threshold_of_builders_that_agree_makes_a_reference_value() -> None:
    alice, bob = vote(ALICE, at=NOW - 50), vote(BOB, at=NOW - 20)
    found = agreed(counted(alice, bob))
    assert (found.image, found.manifest, found.lock) == ("pets", sha256(b"image"), lock().digest)
    assert found.config == sha256(CONFIG.encode())
    assert found.config_json == CONFIG
    assert found.builders == (ALICE, BOB)
    assert found.statements == tuple(sorted([alice.build.statement, bob.build.statement]))
    assert (found.threshold, found.state) == (2, "agreed")
    assert (found.agreed, found.expires) == (NOW - 20, NOW - 20 + 30 * DAY)


def test_below_the_threshold_nothing_is_decided() -> None:
    found = counted(vote(ALICE), vote(ALICE, at=NOW - 99))
    assert isinstance(found, Undecided)
    assert found.builders == (ALICE,)
    assert "1 of 2 builders have built pets" in found.reason
    assert isinstance(counted(), Undecided)


def test_two_keys_are_one_builder() -> None:
    votes = vote(CAROL, by="carol", at=NOW - 5), vote(CAROL, by="p256 carol", at=NOW - 6)
    assert isinstance(counted(*votes), Undecided)
    assert agreed(counted(*votes, vote(ALICE))).builders == (ALICE, CAROL)


@pytest.mark.parametrize("other", [{"what": b"evil"}, {"config": OTHER}, {"what": b"evil", "config": OTHER}])
def test_a_single_other_answer_is_a_dispute_however_many_agree(other: dict[str, Any]) -> None:
    found = counted(vote(ALICE), vote(BOB), vote(CAROL, **other))
    assert isinstance(found, Dispute)
    assert found.builders == (ALICE, BOB, CAROL)
    config = sha256(other.get("config", CONFIG).encode())
    for word in (ALICE, BOB, CAROL, sha256(other.get("what", b"image")), config, sha256(b"image")):
        assert word in found.reason
    assert found.reason.count(". ") == 0
    assert found.manifests == tuple(sorted({sha256(b"image"), sha256(other.get("what", b"image"))}))


def test_a_builder_that_says_two_things_disputes_itself() -> None:
    found = counted(vote(ALICE), vote(ALICE, b"evil"), vote(BOB))
    assert isinstance(found, Dispute)
    assert f"{ALICE} says manifest" in found.reason
    assert "and also manifest" in found.reason


def test_a_dispute_names_codecs_that_differ() -> None:
    found = counted(vote(ALICE), vote(BOB, b"zstd", codec="zstd"))
    assert isinstance(found, Dispute)
    assert "different codecs" in found.reason


def test_a_dispute_does_not_age_away() -> None:
    votes = vote(ALICE, b"evil", at=NOW - 20 * DAY), vote(ALICE), vote(BOB)
    assert isinstance(counted(*votes, now=NOW + 20 * DAY), Dispute)


def test_who_was_wrong_is_revoked_and_then_the_others_agree() -> None:
    votes = vote(ALICE), vote(BOB), vote(CAROL, b"evil")
    assert agreed(counted(*votes, carol={"revoked": True})).builders == (ALICE, BOB)
    assert agreed(counted(*votes, carol={"keys": [pem("new")]})).builders == (ALICE, BOB)


def test_the_policy_is_asked_again_when_votes_are_counted() -> None:
    votes = vote(ALICE), vote(BOB), vote(CAROL)
    assert agreed(counted(*votes)).builders == (ALICE, BOB, CAROL)
    assert agreed(counted(*votes, alice={"revoked": True})).builders == (BOB, CAROL)
    assert agreed(counted(*votes, alice={"keys": [pem("new")]})).builders == (BOB, CAROL)
    assert agreed(counted(*votes, alice={"not_before": "2027-01-16T00:00:00Z"})).builders == (BOB, CAROL)
    assert isinstance(counted(*votes, threshold=3, bob={"keys": [pem("new")]}), Undecided)


def test_expiry_counts_from_the_first_agreement() -> None:
    """Neither a later builder nor an old statement that is sent again renews a value; building again does."""
    first = vote(ALICE, at=NOW - 9 * DAY), vote(BOB, at=NOW - 8 * DAY)
    expires = agreed(counted(*first)).expires
    assert expires == NOW + 22 * DAY
    later = (*first, vote(CAROL, at=NOW - DAY), vote(ALICE, at=NOW))
    assert agreed(counted(*later)).expires == expires
    assert agreed(counted(*later)).builders == (ALICE, BOB, CAROL)
    again = agreed(counted(*later, now=NOW + 25 * DAY))
    assert (again.agreed, again.expires) == (NOW, NOW + 30 * DAY)
    assert again.builders == (ALICE, CAROL)
    assert isinstance(counted(*later, now=NOW + 29 * DAY), Undecided)


def test_of_several_votes_of_a_builder_the_earliest_counts() -> None:
    ages = [3, 11, 7, 2, 5, 13, 1]
    votes = [vote(ALICE, at=NOW - age * DAY) for age in ages]
    found = agreed(counted(*votes, threshold=1))
    assert found.agreed == NOW - 13 * DAY
    assert found.statements == (votes[5].build.statement,)
    assert agreed(counted(*votes, threshold=1, now=NOW + 18 * DAY)).agreed == NOW - 11 * DAY


def test_the_configuration_is_the_one_that_was_agreed_on() -> None:
    with pytest.raises(Permanent, match="the builders agreed on"):
        counted(vote(ALICE), vote(BOB), config=OTHER)


def test_votes_about_several_sources_are_counted_apart() -> None:
    others = [vote(BOB, revision="tree:2"), vote(BOB, of=lock(inputs=3)), vote(BOB, of=lock("cats"))]
    for other in others:
        with pytest.raises(Permanent, match="group them"):
            counted(vote(ALICE), other)
    groups = grouped([vote(ALICE), *others, vote(CAROL)])
    assert len(groups) == 4
    assert groups[vote(ALICE).build.source] == (vote(ALICE), vote(CAROL))


POOL = [
    *(vote(builder, at=NOW - age) for builder in (ALICE, BOB, CAROL) for age in (10, 5 * DAY, 29 * DAY)),
    vote(CAROL, by="p256 carol", at=NOW - 7),
    vote(ALICE, b"evil", at=NOW - 3),
    vote(BOB, config=OTHER, at=NOW - 3),
]


def answer(votes: list[Vote], now: float, threshold: int) -> Outcome | str:
    try:
        return counted(*votes, now=now, threshold=threshold)
    except Permanent as error:
        return str(error)


@given(st.data())
def test_neither_order_nor_repetition_matters(data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.sampled_from(POOL), min_size=1, max_size=12))
    again = data.draw(st.permutations(chosen + data.draw(st.lists(st.sampled_from(chosen)))))
    now = data.draw(st.sampled_from([NOW, NOW + 10 * DAY, NOW + 40 * DAY]))
    threshold = data.draw(st.integers(1, 3))
    assert answer(chosen, now, threshold) == answer(again, now, threshold)


@given(st.lists(st.sampled_from(POOL)), st.integers(1, 3))
def test_a_reference_value_has_its_threshold_and_no_dissent(votes: list[Vote], threshold: int) -> None:
    config = OTHER if votes and votes[0].build.config != vote().build.config else CONFIG
    found = counted(*votes, threshold=threshold, config=config)
    answers = {(each.build.manifest, each.build.config) for each in votes}
    builders = {each.build.builder for each in votes}
    assert isinstance(found, ReferenceValue) == (len(answers) == 1 and len(builders) >= threshold)
    assert isinstance(found, Dispute) == (len(answers) > 1)
    if isinstance(found, ReferenceValue):
        assert len(found.builders) == len(found.statements) == len(builders)


@given(st.permutations([vote(ALICE), vote(BOB), vote(CAROL), vote(CAROL, b"evil")]))
def test_a_dispute_is_found_in_whatever_order_votes_come(votes: list[Vote]) -> None:
    """The stage's way: after each vote the stored value is settled anew."""
    stored: ReferenceValue | None = None
    for number in range(1, len(votes) + 1):
        outcome = settled(stored, counted(*votes[:number]), NOW)
        stored = outcome if isinstance(outcome, ReferenceValue) else stored
        dissent = len({each.build.manifest for each in votes[:number]}) > 1
        assert not (dissent and stored and stored.state == "agreed")
    assert not (stored and stored.state == "agreed")


# --- what holds afterwards


def test_an_agreeing_vote_adds_its_builder() -> None:
    stored = agreed(counted(vote(ALICE), vote(BOB)))
    found = agreed(settled(stored, counted(vote(ALICE), vote(BOB), vote(CAROL)), NOW))
    assert (found.builders, found.state, found.expires) == ((ALICE, BOB, CAROL), "agreed", stored.expires)


def test_a_disagreeing_vote_blocks_and_a_revoked_builder_unblocks() -> None:
    votes = vote(ALICE), vote(BOB), vote(CAROL, b"evil")
    stored = agreed(counted(*votes[:2]))
    blocked = agreed(settled(stored, counted(*votes), NOW))
    assert blocked.state == "disputed"
    assert CAROL in blocked.reason
    assert blocked.manifest == stored.manifest
    assert agreed(settled(blocked, counted(*votes), NOW)) == blocked
    assert agreed(settled(blocked, counted(*votes, carol={"revoked": True}), NOW)) == stored


def test_revoked_is_final() -> None:
    stored = agreed(counted(vote(ALICE), vote(BOB)))
    gone = revoked(stored, "the compiler was bad")
    assert (gone.state, gone.reason) == ("revoked", "the compiler was bad")
    for outcome in (stored, counted(vote(ALICE), vote(BOB, b"evil")), counted()):
        assert settled(gone, outcome, NOW) == gone
    with pytest.raises(Permanent, match="Say why"):
        revoked(stored, " ")


def test_a_value_that_too_few_still_carry_is_blocked_and_one_that_grew_old_is_not_touched() -> None:
    votes = vote(ALICE), vote(BOB)
    stored = agreed(counted(*votes))
    fewer = counted(*votes, bob={"keys": [pem("new")]})
    found = agreed(settled(stored, fewer, NOW))
    assert found.state == "disputed"
    assert "1 of 2 builders" in found.reason
    old = counted(*votes, now=stored.expires)
    assert isinstance(old, Undecided)
    assert settled(stored, old, stored.expires) == stored


def test_a_vote_is_stored_and_read_again() -> None:
    made = vote(ALICE)
    assert Vote.read(made.canonical(), "The vote") == made
    assert key("alice") is not None
    assert built().name == "pets"
