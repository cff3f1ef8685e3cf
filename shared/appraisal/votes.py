"""Votes: signed statements of builders, and the reference value that enough of them agree on (RFC 9334, section 8.3).

Pure: envelopes, policy and time are arguments. The same set of votes gives the same answer in any order, however often
each of them came.

What makes a vote, numbered in `proved` and `verify`:
1. The envelope and the statement in it are well-formed (dsse.py, statement.py).
2. The statement names a builder of the policy, which is not revoked.
3. One of that builder's keys signed it; no other listed builder's key did, and no signature of a listed key is wrong.
4. The build ended neither in the future (beyond LEEWAY) nor longer ago than a vote is valid.
5. The builder might vote then, and may now (not_before, not_after).

What makes a reference value, numbered in `tally`:
1. Only votes count whose builder and key the policy still lists, unrevoked, and within the builder's time.
2. All of them are about one image, revision and lock, and give one manifest and one configuration. A single other
   answer, of another builder or of the same one, is a dispute, however many agree; it does not age away.
3. Agreement takes `threshold` builders. Keys do not count, builders do; a vote counts for `validity_seconds`.
4. The configuration that came along is the one that was agreed on.
It expires `validity_seconds` after the build with which the threshold was first reached: sending old statements again
renews nothing, building again does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.appraisal import dsse, statement
from shared.appraisal.builders import BuilderPolicy, Builders
from shared.errors import Permanent
from shared.model.provenance import Build, Source
from shared.model.reference import ReferenceValue
from shared.model.value import Digest, Value, printable, sha256

LEEWAY = 300
"""Seconds that a builder's clock may be ahead of ours."""
_REASON = 2000


class Vote(Value):
    """What a builder was proved to have said. Stored as it is; `tally` asks the policy again."""

    build: Build
    keyid: Digest
    """Of the key that signed it."""


@dataclass(frozen=True)
class Undecided:
    """Nobody disagrees, but too few have spoken."""

    builders: tuple[str, ...]
    """Whose votes count, sorted."""
    threshold: int
    reason: str


@dataclass(frozen=True)
class Dispute:
    """Builders disagree about what the same source and lock come to."""

    source: Source
    builders: tuple[str, ...]
    """Everybody who voted, sorted: who is right is not known."""
    manifests: tuple[str, ...]
    """Every digest that was claimed, sorted: none of them may be trusted."""
    reason: str


Outcome = ReferenceValue | Undecided | Dispute


def verify(envelope: str | bytes, builders: Builders, now: float) -> Vote:
    """The vote that an envelope is; Permanent says which of the module's five conditions it fails."""
    vote = proved(envelope, builders, now)
    if stale := too_old(vote, builders, now):  # 4
        raise Permanent(stale)
    return vote


def too_old(vote: Vote, builders: Builders, now: float) -> str:
    """Why a vote no longer counts towards the threshold; empty if it does. `tally` asks that for itself."""
    age = now - vote.build.finished
    if age < builders.validity_seconds:
        return ""
    return (
        f"{vote.build.builder} states a build of {vote.build.image} that is {age:.0f} s old; a vote is valid for "
        f"{builders.validity_seconds} s: build again."
    )


def proved(envelope: str | bytes, builders: Builders, now: float) -> Vote:
    """The same, however old: a vote that proves a dispute still, if it makes up no threshold."""
    read = dsse.read(envelope)  # 1
    # Which builder's keys to try is read from the unproved payload; the proof follows at once.
    build = statement.read(read.unverified_payload)
    builder = builders.find(build.builder)  # 2
    if builder is None:
        raise Permanent(
            f"The statement about {build.image} names the builder {printable(build.builder, 300)}, which the policy "
            "of builders does not list; add it there with its key, or ignore the statement."
        )
    if builder.revoked:
        raise Permanent(f"The builder {builder.id} is revoked: its statements no longer count.")
    keyid = _signer(read, builder, builders)  # 3
    age = now - build.finished  # 4
    if age < -LEEWAY:
        raise Permanent(
            f"{builder.id} states a build of {build.image} that ends {-age:.0f} s from now; correct its clock."
        )
    for moment in (build.finished, now):  # 5
        if not builder.may_vote(moment):
            raise Permanent(
                f"The builder {builder.id} may not vote at this time; see its not_before and not_after in the policy "
                "of builders."
            )
    return Vote(build=build, keyid=keyid)


def tally(votes: Iterable[Vote], builders: Builders, config_json: str, now: float) -> Outcome:
    """What the votes about one source come to; see the module for the four numbered conditions.

    Permanent if they are about several sources (use `grouped`), or if `config_json` is not the agreed configuration.
    """
    counted = _counted(votes, builders)  # 1
    if not counted:
        return Undecided((), builders.threshold, "No builder that counts has voted.")
    sources = {vote.build.source for vote in counted}
    if len(sources) > 1:
        raise Permanent("Votes about different sources cannot be tallied together; group them first.")
    (source,) = sources
    if len({(vote.build.manifest, vote.build.config) for vote in counted}) > 1:  # 2
        return _dispute(source, counted)
    times: dict[str, int] = {}  # builder to its earliest vote that still lives
    for vote in counted:
        if now - vote.build.finished < builders.validity_seconds:
            builder = vote.build.builder
            times[builder] = min(vote.build.finished, times.get(builder, vote.build.finished))
    if len(times) < builders.threshold:  # 3
        have = ", ".join(sorted(times)) or "none"
        return Undecided(
            tuple(sorted(times)),
            builders.threshold,
            f"{len(times)} of {builders.threshold} builders have built {_named(source)} ({have}).",
        )
    build = counted[0].build
    if (found := sha256(config_json.encode(errors="surrogatepass"))) != build.config:  # 4
        raise Permanent(
            f"The configuration that came with {_named(source)} has the digest {found}; the builders agreed on "
            f"{build.config}: send the image's own configuration."
        )
    agreed = sorted(times.values())[builders.threshold - 1]
    return ReferenceValue(
        image=source.image,
        revision=source.revision,
        lock=source.lock,
        manifest=build.manifest,
        config=build.config,
        config_json=config_json,
        builders=tuple(sorted(times)),
        threshold=builders.threshold,
        statements=tuple(sorted(_statements(counted, times))),
        agreed=agreed,
        expires=agreed + builders.validity_seconds,
        state="agreed",
    )


def grouped(votes: Iterable[Vote]) -> Mapping[Source, tuple[Vote, ...]]:
    """Votes by what they are about."""
    groups: dict[Source, tuple[Vote, ...]] = {}
    for vote in votes:
        groups[vote.build.source] = (*groups.get(vote.build.source, ()), vote)
    return groups


def settled(stored: ReferenceValue | None, outcome: Outcome, now: float) -> Outcome:
    """What holds after a tally, given the reference value that held before it.

    Revoked is final. A dispute blocks a value that was agreed, until the policy revokes who was wrong; then the next
    tally agrees again. A value that too few still carry (the policy changed) is blocked too; one that merely grew old
    stays as it is: its own expiry ends it.
    """
    if stored is None or stored.state == "revoked":
        return outcome if stored is None else stored
    if isinstance(outcome, ReferenceValue):
        return outcome
    if isinstance(outcome, Undecided) and now >= stored.expires:
        return stored
    return stored.model_copy(update={"state": "disputed", "reason": outcome.reason[:_REASON]})


def revoked(reference: ReferenceValue, reason: str) -> ReferenceValue:
    """The same value, never to be trusted again."""
    if not reason.strip():
        raise Permanent(f"Say why the reference value of {reference.image} is revoked.")
    return reference.model_copy(update={"state": "revoked", "reason": printable(reason, _REASON - 1)})


def _signer(read: dsse.Envelope, builder: BuilderPolicy, builders: Builders) -> str:
    """The key id under which `builder` signed: of several valid ones the first, for only one is counted."""
    valid = []
    for keyid, signature in sorted(read.signatures):
        owner = builders.owner(keyid)
        if owner is None:
            continue  # proves nothing, refutes nothing: a key that was rolled over, say
        if owner.id != builder.id:
            raise Permanent(
                f"The statement names the builder {builder.id}, but a key of {owner.id} signed it; a builder signs its "
                "own statements alone."
            )
        if not owner.key(keyid).verifies(signature, read.unverified_payload):
            raise Permanent(
                f"The signature under the key {keyid} of {builder.id} is wrong: the statement was altered, or signed "
                "with another key."
            )
        valid.append(keyid)
    if not valid:
        raise Permanent(
            f"No key that the policy lists for {builder.id} signed the statement; it has signatures of "
            f"{', '.join(keyid for keyid, _ in read.signatures)}."
        )
    return valid[0]


def _counted(votes: Iterable[Vote], builders: Builders) -> list[Vote]:
    """Those that the policy lets count today, each once, in an order of their own."""
    kept: dict[str, Vote] = {}
    for vote in votes:
        builder = builders.find(vote.build.builder)
        if builder is None or builder.revoked or vote.keyid not in builder.keyids:
            continue
        if builder.may_vote(vote.build.finished):
            kept[vote.digest] = vote
    return [kept[digest] for digest in sorted(kept)]


def _statements(counted: list[Vote], times: Mapping[str, int]) -> set[str]:
    """For each builder the statement of its earliest vote that lives; of several at that time the first by digest."""
    return {
        min(
            vote.build.statement
            for vote in counted
            if vote.build.builder == builder and vote.build.finished == finished
        )
        for builder, finished in times.items()
    }


def _dispute(source: Source, counted: list[Vote]) -> Dispute:
    said: dict[str, set[tuple[str, str, str]]] = {}
    for vote in counted:
        build = vote.build
        said.setdefault(build.builder, set()).add((build.manifest, build.config, build.codec))
    answers = [
        f"{builder} says {' and also '.join(_answer(*answer) for answer in sorted(said[builder]))}"
        for builder in sorted(said)
    ]
    codecs = {codec for each in said.values() for _, _, codec in each}
    hint = " (they used different codecs)" if len(codecs) > 1 else ""
    return Dispute(
        source,
        tuple(sorted(said)),
        tuple(sorted({vote.build.manifest for vote in counted})),
        printable(f"Builders disagree about {_named(source)}{hint}: {'; '.join(answers)}.", _REASON - 1),
    )


def _answer(manifest: str, config: str, codec: str) -> str:
    return f"manifest {manifest} with configuration {config} ({codec})"


def _named(source: Source) -> str:
    return f"{source.image} at {source.revision} with the lock {source.lock}"
