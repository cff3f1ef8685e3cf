"""Documents, claims, outbox and blobs in memory."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Permanent, Transient
from shared.events import Event
from shared.memory.documents import lookup, merge, same, stored
from shared.model.value import Digest, sha256
from shared.ports import Claim, Create, Document, Increment, Write, checked_id


@dataclass
class _Claim:
    generation: int = 1
    attempt: int = 1
    until: float = 0
    done: bool = False
    done_at: float = 0
    reason: str = ""
    outbox: dict[str, Event] = field(default_factory=dict)


class MemoryStore:
    """Twin of `shared.gcp.firestore.FirestoreStore`. One lock makes every method atomic."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._documents: dict[tuple[str, str], Document] = {}
        self._claims: dict[str, _Claim] = {}

    def claim(self, key: str, now: float, lease: float) -> Claim:
        checked_id(key)
        with self._lock:
            held = self._claims.get(key)
            if held is None:
                held = self._claims[key] = _Claim(until=now + lease)
                return Claim(key, "won", held.attempt, held.generation)
            if held.done:
                return Claim(key, "done", held.attempt, held.generation)
            if held.until > now:
                return Claim(key, "busy", held.attempt, held.generation)
            held.generation += 1
            held.attempt += 1
            held.until = now + lease
            return Claim(key, "won", held.attempt, held.generation)

    def renew(self, claim: Claim, until: float) -> bool:
        with self._lock:
            held = self._claims.get(claim.key)
            if held is None or held.done or held.generation != claim.generation:
                return False
            held.until = until
            return True

    def release(self, claim: Claim, reason: str) -> None:
        with self._lock:
            held = self._claims.get(claim.key)
            if held and not held.done and held.generation == claim.generation:
                held.until, held.reason = 0, reason

    def finish(self, claim: Claim, writes: Sequence[Write], outbox: Sequence[Event], now: float) -> None:
        with self._lock:
            held = self._claims.get(claim.key)
            if held is None or held.done or held.generation != claim.generation:
                raise Transient(f"Another worker has taken over {claim.key}; its result counts.")
            self.put(writes)
            held.done, held.done_at = True, now
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
            self._documents |= changed

    def put_many(self, collection: str, documents: Mapping[str, Document]) -> None:
        with self._lock:
            for id, fields in documents.items():
                self._documents[(collection, checked_id(id))] = stored(fields)

    def find(self, collection: str, field: str, equals: Any) -> Sequence[tuple[str, Document]]:
        with self._lock:
            return [
                (id, copy.deepcopy(fields))
                for (where, id), fields in sorted(self._documents.items(), key=lambda item: item[0])
                if where == collection and same(lookup(fields, field), equals)
            ]


class MemoryBlobs:
    """Twin of `shared.gcp.firestore.FirestoreBlobs`."""

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}

    def put(self, data: bytes) -> Digest:
        digest = sha256(data)
        self._content[digest] = data
        return digest

    def get(self, digest: Digest) -> bytes:
        if digest not in self._content:
            raise Permanent(f"There is no stored content {digest}; the run that wrote it has been removed.")
        if sha256(self._content[digest]) != digest:
            raise Permanent(f"The stored content {digest} has been changed; run the workload again.")
        return self._content[digest]


def _after(before: Document | None, write: Write) -> Document:
    """What a write makes of a document."""
    if isinstance(write, Increment):
        return stored({**(before or {}), write.field: (before or {}).get(write.field, 0) + write.by})
    if isinstance(write, Create) or not write.merge:
        return stored(write.fields)
    return stored(merge(before or {}, write.fields))
