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
from typing import Annotated, Any, Literal

from cloudevents.abstract import CloudEvent
from pydantic import AfterValidator, Discriminator, Field, Tag

from shared.errors import Permanent
from shared.model.value import Digest, Value, canonical, printable
from shared.model.workload import Workload

MAX_BODY = 10_000_000
"""Pub/Sub's own limit in bytes (https://cloud.google.com/pubsub/quotas)."""

RunId = Annotated[str, Field(pattern=r"^run-[0-9a-f]{12}$", description="The run that the event belongs to.")]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]
"""As large as every JSON reader keeps exact (RFC 8259, section 6)."""


def _shown(text: str) -> str:
    """`text` without what a terminal or a log would obey; as long as before."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


Tail = Annotated[str, Field(max_length=16_384), AfterValidator(_shown)]
"""Lines that a VM wrote: people read them on a terminal."""
_Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
_PLAIN = re.compile(r"[!-~]*", re.ASCII)


class RunRequested(Value):
    """A run begins: somebody wants a workload in the inner network."""

    workload: Annotated[
        Annotated[_Name, Tag("name")] | Annotated[Workload, Tag("workload")],
        Discriminator(lambda given: "name" if isinstance(given, str) else "workload"),
    ]
    """Name of a built-in workload, or a whole workload."""


class _FromVm(Value):
    run_id: RunId
    report_token: Annotated[str, Field(min_length=16, max_length=128)]
    """The secret that this run's VM was created with: a report without it is about another run."""
    state: Literal["installed", "failed"]
    """Whether the install script came to its end."""
    tail: Tail
    """The last lines of the serial console."""
    seconds: Annotated[dict[Annotated[str, Field(pattern=r"^[ -~]{1,60}$")], float], Field(max_length=100)]
    """Seconds that each step took."""


class OuterInstallCompleted(_FromVm):
    """The outer VM is done, well or badly. From a hostile machine: what it says is a claim."""

    claim: str | None
    """base64 of gzip of the JSON of a ClaimedManifest."""


class Smoke(Value):
    """What became of the workload's smoke test."""

    exit_code: Annotated[int, Field(ge=-255, le=255)]
    seconds: float
    tail: Tail


class EgressProbe(Value):
    """One attempt of the inner VM to reach the outside, and what came of it."""

    probe: Annotated[str, Field(max_length=100), AfterValidator(_shown)]
    target: Annotated[str, Field(max_length=200), AfterValidator(_shown)]
    open: bool
    """True if it came through."""
    outcome: Annotated[str, Field(max_length=500), AfterValidator(_shown)]
    """What it met, in words for people; nothing is decided by them."""


class InnerInstallCompleted(_FromVm):
    """The inner VM is done, well or badly: what it holds now, whether the workload works, what it could reach."""

    installed: str | None
    """base64 of gzip of the JSON of a ClaimedManifest: the inner inventory."""
    smoke: Smoke | None
    """What became of the workload's smoke test; null if the install failed before it."""
    egress: Literal["denied", "open"]
    """`open` if any attempt to reach the outside succeeded."""
    egress_probes: Annotated[tuple[EgressProbe, ...], Field(max_length=200)]
    """The attempts, one by one."""


class ManifestPublished(Value):
    """What the outer VM claims to have installed is stored as a manifest."""

    run_id: RunId
    manifest: Digest
    """The stored manifest."""


class VerdictsWritten(Value):
    """Every package of the manifest has its verdict."""

    run_id: RunId
    manifest: Digest
    """The stored manifest that was judged."""
    verdicts: Digest
    """The stored verdicts, one for each package."""
    allow: Count
    """Packages that may enter."""
    hold: Count
    """Packages that wait for a human."""
    block: Count
    """Packages that may not enter."""


class SyncShardPlanned(Value):
    """One part of what the private repositories lack, small enough for one delivery."""

    run_id: RunId
    plan: Digest
    """The stored plan that the shard is part of."""
    shard: Count
    """Its number in the plan, from 0."""


class SyncCompleted(Value):
    """The private repositories hold every file of the lock."""

    run_id: RunId
    lock: Digest
    """The stored lock: the files that the inner VM installs."""


class RunCompleted(Value):
    """The workload is installed in the inner network and works."""

    run_id: RunId
    lock: Digest
    """The stored lock: the files that were installed."""
    inner_vm: Annotated[str, Field(max_length=63)]
    """Name of the VM that stays READY; empty if it was deleted."""


class RunFailed(Value):
    """The run ended without a workload in the inner network."""

    run_id: RunId
    stage: _Name
    """Where it ended."""
    reason: Annotated[str, Field(max_length=20_000)]
    """What was wrong, where, and what to do."""
    tail: Tail = ""
    """The last lines of the VM's serial console, if a VM was the reason."""


class SweepRequested(Value):
    """The watchdog's tick (Cloud Scheduler): end what never reports, publish what was left unpublished."""


Payload = Value
TYPES: dict[str, type[Value]] = {
    "run-requested": RunRequested,
    "outer-install-completed": OuterInstallCompleted,
    "manifest-published": ManifestPublished,
    "verdicts-written": VerdictsWritten,
    "sync-shard-planned": SyncShardPlanned,
    "sync-completed": SyncCompleted,
    "inner-install-completed": InnerInstallCompleted,
    "run-completed": RunCompleted,
    "run-failed": RunFailed,
    "sweep-requested": SweepRequested,
}
"""Topic to payload. The topic's name is the event's type."""

SUBSCRIBERS: dict[str, tuple[str, ...]] = {
    "outer": ("run-requested", "outer-install-completed", "run-failed", "sweep-requested"),
    "scanner": ("manifest-published", "sweep-requested"),
    "sync": ("verdicts-written", "sync-shard-planned", "sweep-requested"),
    "inner": ("sync-completed", "inner-install-completed", "run-failed", "sweep-requested"),
}
"""Stage to the topics that are pushed to it, a subscription `<stage>--<topic>` each."""

PUBLISHERS: dict[str, tuple[str, ...]] = {
    "run-requested": ("operator", "Cloud Scheduler"),
    "outer-install-completed": ("outer VM",),
    "manifest-published": ("outer",),
    "verdicts-written": ("scanner",),
    "sync-shard-planned": ("sync",),
    "sync-completed": ("sync",),
    "inner-install-completed": ("inner VM",),
    "run-completed": ("inner",),
    "run-failed": ("outer", "scanner", "sync", "inner"),
    "sweep-requested": ("Cloud Scheduler", "operator"),
}
"""Topic to who publishes it."""

DEAD_LETTERS = "dead-letters"
"""Topic that keeps what could not be handled; its holding subscription is `dead-letters-hold`."""

_ENTRY = ("run-requested", "sweep-requested")
_PREFIX, _SUFFIX = "package-dmz.", ".v1"


@dataclass(frozen=True)
class Event:
    """A checked event."""

    type: str
    id: str
    source: str
    time: str
    data: Value
    replay_id: str = ""
    traceparent: str = ""

    @property
    def run_id(self) -> str:
        """The run that this event belongs to; empty for a sweep."""
        if self.type == "run-requested":
            return run_id_of(self.id)
        return str(getattr(self.data, "run_id", ""))

    def body(self) -> bytes:
        return self.data.canonical()

    def attributes(self) -> dict[str, str]:
        """Pub/Sub attributes: the CloudEvents binary binding with `ce-` names."""
        extra = {"replay-id": self.replay_id, "traceparent": self.traceparent}
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


def derive(cause: Event, topic: str, data: Value, *, stage: str, now: float) -> Event:
    """The event that `cause` leads to: same run, same replay id, same trace."""
    run_id = str(getattr(data, "run_id", cause.run_id))
    return Event(
        type=topic,
        id=derived_id(run_id, topic, _subject(data), cause.replay_id),
        source=f"/package-dmz/{stage}",
        time=timestamp(now),
        data=data,
        replay_id=cause.replay_id,
        traceparent=cause.traceparent,
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
    if topic in _ENTRY:
        event_id = _entry_id(names.get("ce-id", ""), delivery)
    else:
        event_id = derived_id(run_id, topic, _subject(data), replay_id)
    return Event(
        type=topic,
        id=event_id,
        source=printable(names.get("ce-source", "/package-dmz/operator"), 200),
        time=printable(names.get("ce-time", delivery.publish_time), 40),
        data=data,
        replay_id=replay_id,
        traceparent=printable(names.get("traceparent", ""), 64),
    )


def _entry_id(given: str, delivery: Delivery) -> str:
    """The sender's own id if it is plain; otherwise its hash, or that of message id and publish time if it has none."""
    if given and len(given) <= 128 and _PLAIN.fullmatch(given):
        return given
    sent = given or f"{delivery.message_id} {delivery.publish_time}"
    return hashlib.sha256(sent.encode(errors="backslashreplace")).hexdigest()[:32]


def _subject(data: Value) -> str:
    """What tells two events of one type in one run apart.

    A VM's report is told by its secret: a forged one must not take the place of the true one.
    """
    if isinstance(data, _FromVm):
        return hashlib.sha256(data.report_token.encode()).hexdigest()
    return f"{data.plan} {data.shard}" if isinstance(data, SyncShardPlanned) else ""
