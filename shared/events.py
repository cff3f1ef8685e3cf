"""The typed events: decode, validate, encode.

CloudEvents 1.0 (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md) over Pub/Sub, one topic per event
type. A derived event's id is a hash of run, type, subject and replay id, so a redelivery repeats it and a consumer can
tell. An entry event without an id gets one from message id and publish time: the same request sent twice is two runs.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cloudevents.abstract import CloudEvent

from shared.errors import Permanent
from shared.model import trace as tracing
from shared.model.attestation_payloads import (
    AttestationAppraised as AttestationAppraised,
)
from shared.model.attestation_payloads import (
    AttestationRequested as AttestationRequested,
)
from shared.model.attestation_payloads import (
    ImageBuilt as ImageBuilt,
)
from shared.model.attestation_payloads import (
    NonceIssued as NonceIssued,
)
from shared.model.attestation_payloads import (
    NonceRegistered as NonceRegistered,
)
from shared.model.attestation_payloads import (
    NonceRequested as NonceRequested,
)
from shared.model.attestation_payloads import (
    ReferenceChanged as ReferenceChanged,
)
from shared.model.attestation_payloads import (
    ReferenceRevoked as ReferenceRevoked,
)
from shared.model.attestation_payloads import (
    hidden,
)
from shared.model.payloads import (
    AdvisoriesRefreshed as AdvisoriesRefreshed,
)
from shared.model.payloads import (
    CancelRequested as CancelRequested,
)
from shared.model.payloads import (
    DeadLetterDropped as DeadLetterDropped,
)
from shared.model.payloads import (
    EgressProbe as EgressProbe,
)
from shared.model.payloads import (
    HoldingsListed as HoldingsListed,
)
from shared.model.payloads import (
    InnerInstallCompleted as InnerInstallCompleted,
)
from shared.model.payloads import (
    ManifestPublished as ManifestPublished,
)
from shared.model.payloads import (
    OuterInstallCompleted as OuterInstallCompleted,
)
from shared.model.payloads import (
    PackageEvicted as PackageEvicted,
)
from shared.model.payloads import (
    Payload as Payload,
)
from shared.model.payloads import (
    RunCompleted as RunCompleted,
)
from shared.model.payloads import (
    RunFailed as RunFailed,
)
from shared.model.payloads import (
    RunRequested as RunRequested,
)
from shared.model.payloads import (
    Smoke as Smoke,
)
from shared.model.payloads import (
    SweepRequested as SweepRequested,
)
from shared.model.payloads import (
    SyncCompleted as SyncCompleted,
)
from shared.model.payloads import (
    SyncShardPlanned as SyncShardPlanned,
)
from shared.model.payloads import (
    VerdictChanged as VerdictChanged,
)
from shared.model.payloads import (
    VerdictsWritten as VerdictsWritten,
)
from shared.model.payloads import (
    WaiverGranted as WaiverGranted,
)
from shared.model.payloads import (
    WaiverRevoked as WaiverRevoked,
)
from shared.model.routes import (
    PUBLISHERS as PUBLISHERS,
)
from shared.model.routes import (
    SUBSCRIBERS as SUBSCRIBERS,
)
from shared.model.value import canonical, printable

MAX_BODY = 10_000_000
"""Pub/Sub's own limit in bytes (https://cloud.google.com/pubsub/quotas)."""

_PLAIN = re.compile(r"[!-~]*", re.ASCII)

TYPES: dict[str, type[Payload]] = {
    "run-requested": RunRequested,
    "outer-install-completed": OuterInstallCompleted,
    "manifest-published": ManifestPublished,
    "verdicts-written": VerdictsWritten,
    "sync-shard-planned": SyncShardPlanned,
    "sync-completed": SyncCompleted,
    "inner-install-completed": InnerInstallCompleted,
    "run-completed": RunCompleted,
    "run-failed": RunFailed,
    "image-built": ImageBuilt,
    "reference-changed": ReferenceChanged,
    "reference-revoked": ReferenceRevoked,
    "nonce-requested": NonceRequested,
    "nonce-registered": NonceRegistered,
    "nonce-issued": NonceIssued,
    "attestation-requested": AttestationRequested,
    "attestation-appraised": AttestationAppraised,
    "advisories-refreshed": AdvisoriesRefreshed,
    "holdings-listed": HoldingsListed,
    "verdict-changed": VerdictChanged,
    "package-evicted": PackageEvicted,
    "waiver-granted": WaiverGranted,
    "waiver-revoked": WaiverRevoked,
    "cancel-requested": CancelRequested,
    "dead-letter-dropped": DeadLetterDropped,
    "sweep-requested": SweepRequested,
}
"""Topic to payload. The topic's name is the event's type."""

DEAD_LETTERS = "dead-letters"
"""Topic that keeps what could not be handled; its holding subscription is `dead-letters-hold`."""

WITH_TOKENS = "attestation-requested"
"""Topic whose bodies hold credentials: Pub/Sub itself must not copy them to a dead-letter topic."""
REPORTS = ("outer-install-completed", "inner-install-completed")
"""Topics that a VM may publish to: whatever it sends besides its one report must lie nowhere for others to read."""
_TOKEN = re.compile(rb"eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}")
_PREFIX, _SUFFIX = "package-dmz.", ".v1"


@dataclass(frozen=True)
class Event:
    """A checked event."""

    type: str
    id: str
    source: str
    time: str
    data: Payload
    replay_id: str = ""
    traceparent: str = ""

    @property
    def run_id(self) -> str:
        """The run that this event belongs to; empty for a sweep.

        Empty for a token too: which run it speaks for follows from its nonce, not from what its sender says.
        """
        if self.type == "run-requested":
            return run_id_of(self.id)
        if self.type == WITH_TOKENS:
            return ""
        return str(getattr(self.data, "run_id", ""))

    @property
    def trace(self) -> str:
        """The trace that it belongs to: the one that it brings; else its run's, or its own.

        A tick of the watchdog belongs to none: what it leads to belongs to the run that it finds.
        """
        given = None if self.type == "sweep-requested" else tracing.read(self.traceparent)
        return given.trace if given else tracing.trace_id(self.run_id or f"{self.type} {self.id}")

    @property
    def parent(self) -> str:
        """The span that sent it; empty if nobody knows."""
        given = tracing.read(self.traceparent)
        return given.span if given else ""

    def handled_by(self, stage: str) -> str:
        """The span in which a stage handles it to its end."""
        return tracing.span_id(self.trace, stage, self.type, self.id)

    def body(self) -> bytes:
        return self.data.canonical()

    def kept(self) -> bytes:
        """The body as a dead letter may hold it."""
        return self.data.kept()

    def attributes(self) -> dict[str, str]:
        """Pub/Sub attributes: the CloudEvents binary binding with `ce-` names."""
        extra = {"replay-id": self.replay_id, "traceparent": self.traceparent} | self.data.marks
        return {
            "ce-id": self.id,
            "ce-type": ce_type(self.type),
            "ce-source": self.source,
            "ce-specversion": "1.0",
            "ce-time": self.time,
            "content-type": "application/json",
        } | {key: value for key, value in extra.items() if value}


@dataclass(frozen=True)
class Delivery:
    """One message as it arrived, before anything in it is believed."""

    body: bytes
    topic: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""
    publish_time: str = ""


def ce_type(topic: str) -> str:
    return f"{_PREFIX}{topic}{_SUFFIX}"


def run_id_of(event_id: str) -> str:
    """The run that an entry event starts."""
    return "run-" + hashlib.sha256(event_id.encode()).hexdigest()[:12]


def derived_id(run_id: str, topic: str, subject: str = "", replay_id: str = "") -> str:
    """Content-derived: the same cause gives the same id, however often it is published."""
    return hashlib.sha256(canonical([run_id, topic, subject, replay_id])).hexdigest()[:32]


def report_id(run_id: str, topic: str, report_token: str, replay_id: str = "") -> str:
    """The id of the one report that a VM owes.

    Its subject is the secret: a forged report cannot take the place of the true one.
    """
    return derived_id(run_id, topic, hashlib.sha256(report_token.encode()).hexdigest(), replay_id)


def derive(cause: Event, topic: str, data: Payload, *, stage: str, now: float) -> Event:
    """The event that `cause` leads to: same run, same replay id, same trace."""
    run_id = str(getattr(data, "run_id", cause.run_id))
    of_its_own = not cause.run_id and not cause.traceparent
    followed = tracing.trace_id(run_id) if run_id and of_its_own else cause.trace
    return Event(
        type=topic,
        id=derived_id(run_id, topic, data.subject, cause.replay_id),
        source=f"/package-dmz/{stage}",
        time=timestamp(now),
        data=data,
        replay_id=cause.replay_id,
        traceparent=str(tracing.Place(followed, cause.handled_by(stage))),
    )


def timestamp(now: float) -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def receive(cloud_event: CloudEvent) -> Delivery:
    """A delivery out of any of the three shapes that reach a function.

    Pub/Sub push and Eventarc arrive as `google.cloud.pubsub.topic.v1.messagePublished` with the message inside;
    an unwrapped push arrives as our own binary CloudEvent.
    """
    attributes = {
        name: str(value) for name, value in cloud_event.get_attributes().items() if value is not None
    }
    if not attributes.get("type", "").startswith("google.cloud.pubsub.topic"):
        body = cloud_event.get_data()
        topic = attributes.get("type", "").removeprefix(_PREFIX).removesuffix(_SUFFIX)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        # A CloudEvents attribute has no hyphen; traceparent is its distributed tracing extension.
        ours = {"replayid": "replay-id", "traceparent": "traceparent"}
        names = {ours.get(key, f"ce-{key}"): value for key, value in attributes.items()}
        return Delivery(raw, topic, names, attributes.get("id", ""), attributes.get("time", ""))
    data: Any = cloud_event.get_data()
    message = data.get("message") if isinstance(data, dict) else None
    if not isinstance(message, dict) or not isinstance(message.get("attributes") or {}, dict):
        raise Permanent("The push carries no Pub/Sub message; publish the event to its topic instead.")
    try:
        body = base64.b64decode(message.get("data") or "", validate=True)
    except (ValueError, TypeError) as error:
        raise Permanent(
            "The message's data is not base64; publish the event with a Pub/Sub client."
        ) from error
    names = {str(key): str(value) for key, value in (message.get("attributes") or {}).items()}
    topic = attributes.get("source", "").rsplit("/topics/", 1)[-1]
    message_id = str(message.get("messageId") or message.get("message_id") or attributes.get("id", ""))
    published = str(message.get("publishTime") or message.get("publish_time") or "")
    return Delivery(body, topic, names, message_id, published)


def decode(delivery: Delivery) -> Event:
    """A checked event; Permanent with one sentence if it is none.

    What the attributes do not say is filled in from the topic and the message: an operator publishes a bare body.
    """
    names = delivery.attributes
    topic = names.get("ce-type", "").removeprefix(_PREFIX).removesuffix(_SUFFIX) or delivery.topic
    if topic not in TYPES:
        raise Permanent(
            f"There is no event '{printable(topic, 60)}'; the topics are {', '.join(TYPES)} (events/README.md)."
        )
    if delivery.topic and delivery.topic != topic:
        raise Permanent(
            f"An event of type {topic} came by the topic {printable(delivery.topic, 60)}: publish it to {topic}."
        )
    if len(delivery.body) > MAX_BODY:
        raise Permanent(
            f"The {topic} event has {len(delivery.body)} bytes; Pub/Sub and this system end at {MAX_BODY}."
        )
    data = TYPES[topic].read(delivery.body, f"The {topic} event")
    replay_id = names.get("replay-id", "")
    if not _PLAIN.fullmatch(replay_id) or len(replay_id) > 64:
        raise Permanent(
            f"The {topic} event's replay-id must be printable ASCII without spaces, at most 64 characters."
        )
    run_id = str(getattr(data, "run_id", ""))
    if data.entry or (topic == "nonce-requested" and not run_id):
        event_id = _entry_id(names.get("ce-id", ""), delivery)
    else:
        event_id = derived_id(run_id, topic, data.subject, replay_id)
    return Event(
        type=topic,
        id=event_id,
        source=printable(names.get("ce-source", "/package-dmz/operator"), 200),
        time=printable(names.get("ce-time", delivery.publish_time), 40),
        data=data,
        replay_id=replay_id,
        traceparent=_traceparent(topic, names.get("traceparent", "")),
    )


def _traceparent(topic: str, given: str) -> str:
    """As this system writes it. Whoever brings a token, or ticks, speaks for no run, and has no place in its trace."""
    place = None if topic in (WITH_TOKENS, "sweep-requested") else tracing.read(given)
    return str(place) if place else ""


def kept(delivery: Delivery) -> bytes:
    """The body of a delivery that could not be decoded, as a dead letter may hold it."""
    said = f"{delivery.topic} {delivery.attributes.get('ce-type', '')}"
    if any(topic in said for topic in (WITH_TOKENS, *REPORTS)):
        return hidden(delivery.body)
    return _TOKEN.sub(lambda found: hidden(found[0]), delivery.body)  # sent to a wrong topic


def _entry_id(given: str, delivery: Delivery) -> str:
    """The sender's own id if it is plain; otherwise its hash, or that of message id and publish time if it has none."""
    if given and len(given) <= 128 and _PLAIN.fullmatch(given):
        return given
    sent = given or f"{delivery.message_id} {delivery.publish_time}"
    return hashlib.sha256(sent.encode(errors="backslashreplace")).hexdigest()[:32]
