"""How long documents stay: one table for the stores that write the expiry and for Terraform, which has it kept.

A document of an expiring collection carries the time of its end in `FIELD`, set anew by every write to it. Firestore
deletes it within a day or so after that time, at no particular hour and its parts in no particular order
(https://firebase.google.com/docs/firestore/ttl): what is past its end may still be read, and must be harmless when it
is. `terraform/outer/database.tf` declares the policies; `tests/terraform/test_retention.py` compares.

The field is the stores' own: they write it, they take it away from what they read, and they refuse it in what they are
given. A collection that stands in neither table is a mistake, which a test finds.

1. A claim outlives every message that Pub/Sub may still deliver, or seek back to: else a replay would work again.
2. What is used once (nonces, tokens) outlives what could bring it a second time.
3. What a run's document names outlives that document, which is written last.
4. Reference values, the votes that they are tallied from, and what those need never end by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.errors import Permanent

FIELD = "expire_at"
"""Of type timestamp. Not `expires`, which nonces and reference values have of their own, as seconds."""

DAY = 86_400
HELD_DAYS = 31
"""The longest that any subscription keeps a message (`dead-letters-hold`); a stage's own keeps them for seven."""
REPLAY_DAYS = 45
"""Past every replay, with two weeks for whoever publishes a dead letter again under its old id."""
RUN_DAYS = 400
"""A run can be looked at, and its verdicts asked again, for thirteen months after its last word."""
WITH_RUN_DAYS = 430
"""A run ends within hours of what it names (`functions.outer.decide.overdue`); a month is room for every delay."""
RENEW_DAYS = 300
"""A run whose VM was kept is written anew this long after its last renewal: a machine that works has its papers."""


@dataclass(frozen=True)
class Kept:
    """How long, and why that long."""

    days: int
    why: str


EXPIRING: Mapping[str, Kept] = {
    "affected": Kept(RUN_DAYS, "which runs hold what is refused, for as long as the runs themselves"),
    "alarms": Kept(RUN_DAYS, "what a person had to look at"),
    "appraisals": Kept(RUN_DAYS, "the answer about a token, for as long as the run that waited for it"),
    "blobs": Kept(WITH_RUN_DAYS, "manifests, verdicts, locks and plans of runs, results of appraisals"),
    "chunks": Kept(WITH_RUN_DAYS, "the bytes of blobs, which end with their heads"),
    "claims": Kept(REPLAY_DAYS, "an event that was handled is not handled again while it may come again"),
    "dead_letters": Kept(REPLAY_DAYS, "what could not be handled, while it may be published again"),
    "endings": Kept(WITH_RUN_DAYS, "a run ends once"),
    "imports": Kept(REPLAY_DAYS, "an upload that is being imported is waited for, not sent again"),
    "nonce-requests": Kept(REPLAY_DAYS, "one nonce for one request, however often it comes"),
    "nonce-uses": Kept(REPLAY_DAYS, "a nonce counts once; it is good for an hour at the most"),
    "nonce-values": Kept(
        REPLAY_DAYS, "a value is registered once; a token that carries it lives for an hour"
    ),
    "nonces": Kept(REPLAY_DAYS, "asked for by their use, an hour later at the most"),
    "notices": Kept(REPLAY_DAYS, "who was told of what, while its event may come again"),
    "progress": Kept(REPLAY_DAYS, "of use while the run goes on"),
    "proved": Kept(
        RUN_DAYS, "a file by URL, or what replaces another, is fetched again when its proof is old"
    ),
    "reevaluations": Kept(REPLAY_DAYS, "how the last judging again went"),
    "runs": Kept(RUN_DAYS, "what happened, and by which documents"),
    "shards": Kept(REPLAY_DAYS, "a shard counts once, while its event may come again"),
    "slices": Kept(REPLAY_DAYS, "counts the workers of a slice whose run goes on"),
    "spans": Kept(REPLAY_DAYS, "a run's trace is looked at while its log is"),
    "syncs": Kept(REPLAY_DAYS, "counts the shards of a run that goes on"),
    "token-uses": Kept(REPLAY_DAYS, "a token counts once; it lives for an hour at the most"),
    "verdicts": Kept(WITH_RUN_DAYS, "every package of a run with its reasons"),
    "vms": Kept(WITH_RUN_DAYS, "what a report is held against; a VM is never made twice"),
    "workers": Kept(
        WITH_RUN_DAYS, "what each worker of a slice held; the run's document has the first lines"
    ),
}

FOR_EVER: Mapping[str, str] = {
    "decisions": "the decision log: what changed what may enter, and why",
    "evictions": "what was taken out of a sealed network, and why",
    "holdings": "by which run and from where each file came in",
    "lasting": "content without an end: the image configurations that votes name",
    "policies": "the policy that packages were last judged by: what tells that another one counts",
    "outbox": "an event that was not published yet; publishing deletes it, and none may be lost in silence",
    "references": "what people and the console read of the reference values",
    "releases": "how far each apt repository has come: what is older than that is a replay",
    "revocations": "an image that was taken back stays taken back",
    "standing": "what is decided about a package until something else is; without it, it was let in",
    "votes": "reference values are tallied from them when asked",
    "waiver_history": "who overruled what, and when, is asked for long after",
    "waivers": "an old grant must find that it was revoked",
}
"""Collections whose documents stay, each with why."""


def end(collection: str, now: float) -> datetime | None:
    """When a document of this collection that is written at `now` ends; None if never."""
    kept = EXPIRING.get(collection)
    return datetime.fromtimestamp(now + kept.days * DAY, UTC) if kept else None


def stamped(collection: str, fields: Mapping[str, object], now: float) -> dict[str, object]:
    """`fields` with the end of the document that they are written to. Permanent if they bring one of their own."""
    if FIELD in fields:
        raise Permanent(
            f"A document of {collection} has a field {FIELD}: that name is the store's own, choose another."
        )
    until = end(collection, now)
    return {**fields, FIELD: until} if until else dict(fields)


def fresh(until: datetime | None, collection: str, now: float) -> bool:
    """Whether a document is as good as written now: its end was set within the last day, or it has none."""
    if until is None:
        return True
    return until.timestamp() >= now + (EXPIRING[collection].days - 1) * DAY
