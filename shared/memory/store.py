"""Documents, claims, outbox and blobs in memory."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared import retention
from shared.errors import Permanent, Transient
from shared.events import Event
from shared.memory.documents import lookup, merge, same, stored
from shared.model.value import Digest, sha256
from shared.ports.store import (
    AtLeast,
    Claim,
    Create,
    Document,
    Increment,
    Write,
    checked_id,
    checked_key,
    is_held,
    is_resting,
)


@dataclass
class _Claim:
    generation: int = 1
    attempt: int = 1
    until: float = 0
    rests: float = 0
    done: bool = False
    done_at: float = 0
    reason: str = ""
    end: float = 0
    outbox: dict[str, Event] = field(default_factory=dict)


class MemoryStore:
    """Twin of `shared.gcp.firestore.FirestoreStore`. One lock makes every method atomic.

    Nothing ends by itself in here: `expire` does what Firestore's TTL policies would have done by a time.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self._documents: dict[tuple[str, str], Document] = {}
        self._ends: dict[tuple[str, str], float] = {}
        self._claims: dict[str, _Claim] = {}

    def claim(self, key: str, now: float, lease: float) -> Claim:
        checked_id(key)
        with self._lock:
            held = self._claims.get(key)
            if held is None:
                held = self._claims[key] = _Claim(until=now + lease, end=self._end("claims"))
                return Claim(key, "won", held.attempt, held.generation)
            if held.done:
                return Claim(key, "done", held.attempt, held.generation)
            if is_held(held.until, now, lease):
                return Claim(key, "busy", held.attempt, held.generation)
            if is_resting(held.rests, now):
                return Claim(key, "resting", held.attempt, held.generation)
            held.generation += 1
            held.attempt += 1
            held.until, held.end = now + lease, self._end("claims")
            return Claim(key, "won", held.attempt, held.generation)

    def renew(self, claim: Claim, until: float) -> bool:
        with self._lock:
            held = self._claims.get(claim.key)
            if held is None or held.done or held.generation != claim.generation:
                return False
            held.until = until
            return True

    def release(self, claim: Claim, reason: str, until: float = 0.0) -> None:
        with self._lock:
            held = self._claims.get(claim.key)
            if held and not held.done and held.generation == claim.generation:
                held.until, held.rests, held.reason = 0, until, reason

    def finish(self, claim: Claim, writes: Sequence[Write], outbox: Sequence[Event], now: float) -> None:
        with self._lock:
            held = self._claims.get(claim.key)
            if held is None or held.done or held.generation != claim.generation:
                raise Transient(f"Another worker has taken over {claim.key}; its result counts.")
            self.put(writes)
            held.done, held.done_at, held.end = True, now, self._end("claims")
            held.outbox = {event.id: event for event in outbox}

    def outbox(self, key: str) -> Sequence[Event]:
        with self._lock:
            return list(self._claims[key].outbox.values()) if key in self._claims else []

    def stale_outbox(self, before: float) -> Sequence[tuple[str, Event]]:
        with self._lock:
            waiting = [
                (key, held) for key, held in self._claims.items() if held.done and held.done_at < before
            ]
            return [(key, event) for key, held in waiting for event in held.outbox.values()]

    def sent(self, key: str, event_id: str) -> None:
        with self._lock:
            if key in self._claims:
                self._claims[key].outbox.pop(event_id, None)

    def get(self, collection: str, id: str) -> Document | None:
        with self._lock:
            return copy.deepcopy(self._documents.get((collection, checked_id(id))))

    def put(self, writes: Sequence[Write]) -> None:
        with self._lock:
            changed: dict[tuple[str, str], Document] = {}
            for write in writes:
                place = (write.collection, checked_id(write.id))
                before = changed.get(place, self._documents.get(place))
                if isinstance(write, Create) and before is not None:
                    raise Transient(
                        f"{write.collection}/{write.id} exists already; somebody else wrote it first."
                    )
                changed[place] = _after(before, write)
            for place, fields in changed.items():
                self._write(place, fields)

    def put_many(self, collection: str, documents: Mapping[str, Document]) -> None:
        with self._lock:
            for id, fields in documents.items():
                retention.stamped(collection, fields, 0)
                self._write((collection, checked_id(id)), stored(fields))

    def find(
        self, collection: str, field: str, equals: Any, by: str = "", limit: int = 0
    ) -> Sequence[tuple[str, Document]]:
        checked_key(equals)
        with self._lock:
            found = [
                (id, fields)
                for (where, id), fields in sorted(self._documents.items(), key=lambda item: item[0])
                if where == collection and same(lookup(fields, field), equals)
            ]
            if by:
                found = [each for each in found if isinstance(lookup(each[1], by), int | float)]
                found.sort(key=lambda each: lookup(each[1], by))
            return [(id, copy.deepcopy(fields)) for id, fields in (found[:limit] if limit else found)]

    def everything(self, collection: str) -> Mapping[str, Document]:
        """All documents by id, claims and outbox as Firestore has them; for reading only, as they are not copied."""
        with self._lock:
            if collection == "claims":
                return {key: _shown(key, held) for key, held in self._claims.items()}
            if collection == "outbox":
                waiting = [
                    (key, held, event) for key, held in self._claims.items() for event in held.outbox.values()
                ]
                return {
                    f"{key} {event.id}": {"key": key, "since": held.done_at, "type": event.type}
                    for key, held, event in waiting
                }
            return {id: fields for (where, id), fields in self._documents.items() if where == collection}

    def end(self, collection: str, id: str) -> float | None:
        """Unix time when a document ends; None if it never does."""
        if collection == "claims":
            return self._claims[id].end
        return self._ends.get((collection, id))

    def expire(self, now: float) -> None:
        """Delete what has ended by `now`; not a claim with events to publish, which Firestore keeps elsewhere."""
        with self._lock:
            for place in [place for place, end in self._ends.items() if end <= now]:
                del self._documents[place], self._ends[place]
            over = [key for key, held in self._claims.items() if held.end <= now and not held.outbox]
            for key in over:
                del self._claims[key]

    def _write(self, place: tuple[str, str], fields: Document) -> None:
        self._documents[place] = fields
        if place[0] in retention.EXPIRING:
            self._ends[place] = self._end(place[0])

    def _end(self, collection: str) -> float:
        until = retention.end(collection, self._clock())
        assert until is not None  # noqa: S101 - asked for expiring collections alone
        return until.timestamp()


class MemoryBlobs:
    """Twin of `shared.gcp.firestore.FirestoreBlobs`."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._content: dict[str, bytes] = {}
        self._ends: dict[str, float] = {}
        """Of content that has an end."""

    def put(self, data: bytes, lasting: bool = False) -> Digest:
        digest, until = sha256(data), retention.end("blobs", self._clock())
        stays = digest in self._content and digest not in self._ends
        self._content[digest] = data
        if lasting or stays or until is None:
            self._ends.pop(digest, None)
        else:
            self._ends[digest] = until.timestamp()
        return digest

    def end(self, digest: Digest) -> float | None:
        """Unix time when content ends; None if it never does."""
        return self._ends.get(digest)

    def expire(self, now: float) -> None:
        """Delete what has ended by `now`."""
        for digest in [digest for digest, end in self._ends.items() if end <= now]:
            self._content.pop(digest, None)
            del self._ends[digest]

    def get(self, digest: Digest) -> bytes:
        if digest not in self._content:
            raise Permanent(f"There is no stored content {digest}; the run that wrote it has been removed.")
        if sha256(self._content[digest]) != digest:
            raise Permanent(f"The stored content {digest} has been changed; run the workload again.")
        return self._content[digest]


def _shown(key: str, held: _Claim) -> Document:
    """A claim as a document (`shared.gcp.firestore`)."""
    known: Document = {"key": key, "done": held.done, "until": held.until}
    known |= {"generation": held.generation, "attempt": held.attempt}
    return (
        known
        | ({"rests": held.rests, "reason": held.reason} if held.reason else {})
        | ({"finished": held.done_at} if held.done else {})
    )


def _after(before: Document | None, write: Write) -> Document:
    """What a write makes of a document."""
    if isinstance(write, Increment | AtLeast):
        had = (before or {}).get(write.field, 0)
        now = had + write.by if isinstance(write, Increment) else max(had, write.value)
        retention.stamped(write.collection, {write.field: now}, 0)
        return stored({**(before or {}), write.field: now})
    retention.stamped(write.collection, write.fields, 0)
    if isinstance(write, Create) or not write.merge:
        return stored(write.fields)
    return stored(merge(before or {}, write.fields))
