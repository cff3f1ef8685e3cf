"""Attestation stage: reference values from builders' votes, nonces, and an explained answer about every token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from functions.attestation import decide
from shared import logs
from shared.appraisal import votes
from shared.appraisal.appraise import appraise
from shared.appraisal.builders import Builders
from shared.appraisal.keys import TrustedKeys
from shared.appraisal.signer import Signer, signed
from shared.appraisal.votes import Vote
from shared.delivery import Outcome
from shared.errors import Permanent, Transient, Untrusted
from shared.events import (
    AttestationRequested,
    Event,
    ImageBuilt,
    NonceRegistered,
    NonceRequested,
    ReferenceRevoked,
    derive,
)
from shared.model.appraisal import AppraisalPolicy, AppraisalResult
from shared.model.reference import ReferenceValue
from shared.model.value import Digest, sha256
from shared.ports.store import Blobs, Create, Document, Put, Store
from shared.settings import Settings

_STAGE = "attestation"
_LOOKS = 5


@dataclass(frozen=True)
class Ports:
    """What this stage needs from the world."""

    store: Store
    blobs: Blobs
    policies: Callable[[str], AppraisalPolicy]
    """By the service's name; Permanent if there is none."""
    builders: Callable[[], Builders]
    """Permanent if nobody is trusted."""
    keys: Callable[[str], TrustedKeys]
    """The keys that may have signed this token. Transient if they cannot be fetched."""
    signer: Signer | None
    settings: Settings
    clock: Callable[[], float]
    secret: Callable[[], str]


def handle_event(event: Event, ports: Ports) -> Outcome:
    match event.data:
        case ImageBuilt():
            return _vote(event.data, ports)
        case ReferenceRevoked():
            return _revoke(event.data, ports)
        case NonceRequested():
            return _issue(event, event.data, ports)
        case NonceRegistered():
            return _register(event, event.data, ports)
        case AttestationRequested():
            return _appraise(event, event.data, ports)
    raise Untrusted(f"The attestation stage has nothing to do with {event.type}; check its subscriptions.")


def settle(event: Event, ports: Ports) -> Iterator[Event]:
    """After a vote or a revocation: the image's standing as the whole of the votes gives it, told when it changes.

    Two votes may be written at once: whoever noted a standing looks again, so that none of an older view remains. A
    change is told before it is noted; who dies in between tells it twice, which is harmless, and never not at all.
    """
    if not isinstance(event.data, ImageBuilt | ReferenceRevoked):
        return
    for _ in range(_LOOKS):
        noted = False
        for standing in _standings(event.data.image, ports):
            name, fields = decide.reference_id(standing.source), decide.reference_document(standing)
            if ports.store.get("references", name) == fields:
                continue
            if data := decide.changed(standing):
                yield derive(event, "reference-changed", data, stage=_STAGE, now=ports.clock())
            ports.store.put([Put("references", name, fields)])
            noted = True
        if not noted:
            return


def _vote(data: ImageBuilt, ports: Ports) -> Outcome:
    """A statement counts if the policy of builders says so, and if the configuration is the one that it names."""
    vote = votes.verify(data.envelope, ports.builders(), ports.clock())
    if vote.build.image != data.image:
        raise Permanent(
            f"The event is about the image {data.image}, the signed statement in it about {vote.build.image}; send the "
            "statement of this build."
        )
    if sha256(data.config.encode(errors="replace")) != vote.build.config:
        raise Permanent(
            f"The configuration that came with the statement about {data.image} does not have the digest "
            f"{vote.build.config} that the statement names; send the image's own configuration."
        )
    ports.blobs.put(data.config.encode(), lasting=True)  # the tally reads it, as long as there is the vote
    fields = {"image": data.image, "builder": vote.build.builder, "vote": vote.canonical().decode()}
    return Outcome((Put("votes", vote.digest.removeprefix("sha256:"), fields),))


def _revoke(data: ReferenceRevoked, ports: Ports) -> Outcome:
    name = f"{data.image}-{data.manifest.removeprefix('sha256:')}"
    fields = {"image": data.image, "manifest": data.manifest, "reason": data.reason, "at": ports.clock()}
    return Outcome((Put("revocations", name, fields),))


def _standings(image: str, ports: Ports) -> tuple[decide.Standing, ...]:
    cast = [
        Vote.read(str(fields["vote"]), f"The stored vote {name}")
        for name, fields in ports.store.find("votes", "image", image)
    ]
    if not cast:
        return ()
    revocations = [fields for _, fields in ports.store.find("revocations", "image", image)]
    return decide.standings(
        cast, revocations, ports.builders(), lambda digest: ports.blobs.get(digest).decode(), ports.clock()
    )


def _issue(event: Event, data: NonceRequested, ports: Ports) -> Outcome:
    """One nonce for one request, however often it is delivered.

    Its id is a secret too: who uses it first speaks for its run.
    """
    now, asked = ports.clock(), ports.store.get("nonce-requests", event.id)
    if asked is None:
        asked = {"nonce_id": ports.secret()[:32]}
        fields = _new_nonce(data, ports, now)
        ports.store.put(
            [Create("nonce-requests", event.id, asked), Create("nonces", asked["nonce_id"], fields)]
        )
    name = str(asked["nonce_id"])
    told = decide.issued(name, ports.store.get("nonces", name) or {})
    return Outcome((), (derive(event, "nonce-issued", told, stage=_STAGE, now=now),))


def _new_nonce(data: NonceRequested, ports: Ports, now: float) -> Document:
    """Permanent, which ends the run, only if this run waits for this service and asks as the inner stage does.

    Anybody who may ask can name any run.
    """
    seconds = int(ports.settings.nonce_seconds)
    try:
        policy = ports.policies(data.service)
        return decide.nonce_document(
            data.service, data.run_id, ports.secret(), policy, data.token_type, now, seconds
        )
    except Permanent as error:
        run = ports.store.get("runs", data.run_id) if data.run_id and data.token_type is None else None
        if decide.waits(run, data.service):
            raise
        raise Untrusted(str(error)) from error


def _register(event: Event, data: NonceRegistered, ports: Ports) -> Outcome:
    """A nonce that was known before would let an old token in: each value is taken once, under one name."""
    policy, now = ports.policies(data.service), ports.clock()
    value = sha256(data.nonce.encode()).removeprefix("sha256:")
    if not _first(ports.store, "nonce-values", value, event, now):
        raise Permanent(f"The nonce that {data.nonce_id} brings was registered before; make a new one.")
    fields = decide.nonce_document(data.service, "", data.nonce, policy, None, now, data.seconds)
    known = ports.store.get("nonces", data.nonce_id)
    if known is not None and known["nonce"] != data.nonce:
        raise Permanent(f"There is another nonce with the id {data.nonce_id}; choose an id of its own.")
    return Outcome((Put("nonces", data.nonce_id, known or fields),))


def _appraise(event: Event, data: AttestationRequested, ports: Ports) -> Outcome:
    """Beside the checks of the token itself, those that only the store can answer:

    1. The nonce was issued to this service, for this run, and its time is not over. 2. No other request has used it.
    3. No other request has brought this token. Who uses a nonce first speaks for its run, nobody else.
    """
    now, token = ports.clock(), sha256(data.token.encode(errors="replace"))
    try:
        policy = ports.policies(data.service)
    except Permanent as error:
        raise Untrusted(str(error)) from error
    asked = ports.store.get("nonces", data.nonce_id)
    answer = decide.answers(asked, data, now)  # 1
    nonce = asked["nonce"] if asked and not answer[2] else None
    ours = nonce is not None and _first(ports.store, "nonce-uses", data.nonce_id, event, now)  # 2
    fresh = _first(ports.store, "token-uses", token.removeprefix("sha256:"), event, now)  # 3
    result = decide.with_freshness(
        appraise(data.token, policy, ports.keys(data.token), _references(policy.image, ports), nonce, now),
        (
            answer,
            ("nonce unused", data.nonce_id, _used("nonce") if nonce and not ours else ""),
            ("token unused", token, "" if fresh else _used("token")),
        ),
    )
    stored = ports.blobs.put(result.canonical())
    summary = _summary(result.summary_bytes(), ports)
    run_id = str(asked["run_id"]) if asked and ours else ""
    _log(result, run_id)
    told = decide.appraised(data, run_id, result, stored, summary)
    return Outcome(
        (decide.record(event, told, now),),
        (derive(event, "attestation-appraised", told, stage=_STAGE, now=now),),
    )


def _log(result: AppraisalResult, run_id: str) -> None:
    """Before the answer is committed: an appraisal that is made again is told again, and none goes untold."""
    sentence, fields = decide.told(result, run_id)
    severity: logs.Severity = "INFO" if result.decision == "accepted" else "WARNING"
    logs.line("attestation-appraised", severity, sentence, _STAGE, **fields)


def _references(image: str, ports: Ports) -> tuple[ReferenceValue, ...]:
    return tuple(each for standing in _standings(image, ports) for each in standing.references)


def _summary(statement: bytes, ports: Ports) -> Digest | None:
    return ports.blobs.put(signed(statement, ports.signer).encode()) if ports.signer else None


def _used(what: str) -> str:
    return f"another request has used this {what}: it counts once, ask for a new one"


def _first(store: Store, collection: str, name: str, event: Event, now: float) -> bool:
    """Whether this event is the first to use `name`; every delivery of the first one gets the same answer."""
    found: Document | None = store.get(collection, name)
    if found is None:
        try:
            store.put([Create(collection, name, {"event": event.id, "at": now})])
        except Transient:
            found = store.get(collection, name)
            if found is None:
                raise  # the store is away
        else:
            return True
    return bool(found["event"] == event.id)
