"""Documents, claims, outbox and blobs in Firestore (https://cloud.google.com/firestore/docs).

Claims live in `claims/<stage:type:event-id>`, their outboxes in `outbox/<event-id>`. A claim is a create-only document
with a lease; finishing it is one batch of writes under the condition that the claim is as it was read.

Every write to a collection of `shared.retention.EXPIRING` sets the document's end anew, as a timestamp: Firestore
deletes by nothing else (https://firebase.google.com/docs/firestore/ttl). Readers do not see that field.
"""

from __future__ import annotations

import base64
import gzip
import random
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.bulk_writer import BulkWriterOptions

from shared import retention
from shared.errors import Permanent, Transient
from shared.events import TYPES, Event
from shared.gcp.errors import translated
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

_CHUNK = 900_000
"""Bytes of a blob in one document; Firestore ends at 1 MiB (https://cloud.google.com/firestore/quotas)."""

_ROUNDS = 10
"""Of reading a claim and writing it as it was read: two threads of one worker write it."""
_APART = 0.05
"""Seconds, at most, between two of them."""


class _Client:
    def __init__(self, project: str, clock: Callable[[], float] = time.time) -> None:
        self._project = project
        self._clock = clock
        """Of the documents' ends alone."""

    @cached_property
    def _db(self) -> Any:
        return firestore.Client(project=self._project)


class FirestoreStore(_Client):
    """Port `Store`."""

    def claim(self, key: str, now: float, lease: float) -> Claim:
        reference = self._db.collection("claims").document(document_id(key))
        with translated(f"Claiming {key}"):
            try:
                new = {"key": key, "done": False, "until": now + lease, "generation": 1, "attempt": 1}
                reference.create(self._stamped("claims", new))
                return Claim(key, "won", 1, 1)
            except exceptions.AlreadyExists:
                held = reference.get()
            if not held.exists:
                raise Transient(f"{key} was removed while it was being claimed.")
            fields = held.to_dict()
            claim = Claim(key, "busy", fields["attempt"], fields["generation"])
            if fields["done"]:
                return Claim(key, "done", claim.attempt, claim.generation)
            if is_held(fields["until"], now, lease):
                return claim
            if is_resting(fields.get("rests", 0), now):
                return Claim(key, "resting", claim.attempt, claim.generation)
            taken = {"until": now + lease, "generation": claim.generation + 1, "attempt": claim.attempt + 1}
            try:
                taken = self._stamped("claims", taken)
                reference.update(taken, option=self._db.write_option(last_update_time=held.update_time))
            except (exceptions.FailedPrecondition, exceptions.Aborted):
                return claim
            return Claim(key, "won", claim.attempt + 1, claim.generation + 1)

    def renew(self, claim: Claim, until: float) -> bool:
        return self._fenced(claim, {"until": until})

    def release(self, claim: Claim, reason: str, until: float = 0.0) -> None:
        self._fenced(claim, {"until": 0, "rests": until, "reason": reason[:2000]})

    def finish(self, claim: Claim, writes: Sequence[Write], outbox: Sequence[Event], now: float) -> None:
        waiting = [
            Create("outbox", _outbox_id(claim.key, event.id), _waiting(claim.key, event, now))
            for event in outbox
        ]
        done = self._stamped("claims", {"done": True, "finished": now})
        if not self._fenced(claim, done, (*writes, *waiting)):
            raise Transient(f"Another worker has taken over {claim.key}; its result counts.")

    def outbox(self, key: str) -> Sequence[Event]:
        return [_event(fields) for _, fields in self.find("outbox", "key", key)]

    def stale_outbox(self, before: float) -> Sequence[tuple[str, Event]]:
        with translated("Reading the outbox"):
            query = self._db.collection("outbox").where(filter=FieldFilter("since", "<", before))
            return [
                (fields["key"], _event(fields)) for fields in (found.to_dict() for found in query.stream())
            ]

    def sent(self, key: str, event_id: str) -> None:
        with translated("Emptying the outbox"):
            self._db.collection("outbox").document(_outbox_id(key, event_id)).delete()

    def get(self, collection: str, id: str) -> Document | None:
        with translated(f"Reading {collection}/{id}"):
            fields: Document | None = (
                self._db.collection(collection).document(document_id(id)).get().to_dict()
            )
            return seen(fields) if fields is not None else None

    def put(self, writes: Sequence[Write]) -> None:
        batch = self._db.batch()
        for one in writes:
            self._write(batch, one)
        with translated("Writing documents"), _conflicts():
            batch.commit()

    def put_many(self, collection: str, documents: Mapping[str, Document]) -> None:
        # The default ramp begins at 20 writes a second and would take minutes for a few thousand documents.
        options = BulkWriterOptions(initial_ops_per_second=5000, max_ops_per_second=10_000)
        failures: list[str] = []

        def failed(error: Any, _writer: Any) -> bool:
            again = error.attempts < 5
            if not again:
                failures.append(error.message)
            return bool(again)

        ending = {id: self._stamped(collection, fields) for id, fields in documents.items()}
        with translated(f"Writing {len(documents)} documents to {collection}"):
            writer = self._db.bulk_writer(options)
            writer.on_write_error(failed)
            for id, fields in ending.items():
                writer.set(self._db.collection(collection).document(document_id(id)), fields)
            writer.close()
        if failures:
            raise Transient(
                f"{len(failures)} of {len(documents)} documents of {collection} were not written: {failures[0]}"
            )

    def find(
        self, collection: str, field: str, equals: Any, by: str = "", limit: int = 0
    ) -> Sequence[tuple[str, Document]]:
        with translated(f"Searching {collection}"):
            query = self._db.collection(collection).where(
                filter=FieldFilter(field, "==", checked_key(equals))
            )
            if by:
                query = query.order_by(by)
            if limit:
                query = query.limit(limit)
            found = [(document_name(each.id), seen(each.to_dict())) for each in query.stream()]
            return found if by else sorted(found, key=lambda each: each[0])

    def _write(self, batch: Any, write: Write) -> None:
        reference = self._db.collection(write.collection).document(document_id(write.id))
        fields = self._stamped(write.collection, _given(write))
        try:
            if isinstance(write, Create):
                batch.create(reference, fields)
            else:
                batch.set(reference, fields, merge=isinstance(write, Increment | AtLeast) or write.merge)
        except (TypeError, ValueError) as error:
            raise Permanent(
                f"{write.collection}/{write.id} holds a value that Firestore cannot take: {error}."
            ) from error

    def _stamped(self, collection: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        return retention.stamped(collection, fields, self._clock())

    def _fenced(self, claim: Claim, fields: Document, others: Sequence[Write] = ()) -> bool:
        """Update the claim, and write `others` with it or not at all, if it is still ours; False if it is not.

        By a precondition and not in a transaction: the locks of a transaction whose worker was killed outlive it by
        up to minutes (https://cloud.google.com/firestore/docs/transaction-data-contention), and who takes over waits.
        """
        reference = self._db.collection("claims").document(document_id(claim.key))
        with translated(f"Writing the result of {claim.key}"), _conflicts():
            for _ in range(_ROUNDS):
                held = reference.get()
                found = held.to_dict() or {}
                if found.get("generation") != claim.generation or found.get("done"):
                    return False
                batch = self._db.batch()
                for one in others:
                    self._write(batch, one)
                batch.update(reference, fields, self._db.write_option(last_update_time=held.update_time))
                try:
                    batch.commit()
                except (exceptions.FailedPrecondition, exceptions.Aborted, exceptions.NotFound):
                    time.sleep(random.uniform(0, _APART))  # noqa: S311 - so that two do not meet again
                    continue  # our own renewal came between, or another has taken over: the next look tells
                return True
        raise Transient(f"The claim {claim.key} changes faster than it can be written.")


class FirestoreBlobs(_Client):
    """Port `Blobs`: gzip, in chunks of one document each; the head is written last.

    Below `blobs` with an end, below `lasting` without one: two places, so that who keeps content for a while can never
    put an end to what somebody else keeps for ever.
    """

    def put(self, data: bytes, lasting: bool = False) -> Digest:
        digest, now = sha256(data), self._clock()
        packed = gzip.compress(data, 6, mtime=0)
        pieces = [packed[start : start + _CHUNK] for start in range(0, len(packed), _CHUNK)]
        place = "lasting" if lasting else "blobs"
        head = self._db.collection(place).document(digest)
        end = None if lasting else retention.end(place, now)
        until = {retention.FIELD: end} if end else {}
        with translated(f"Storing {digest}"):
            found = head.get([retention.FIELD])
            # Chunks are as old as their head. Of what is older each may be gone or about to go: all are written again.
            if found.exists and retention.fresh((found.to_dict() or {}).get(retention.FIELD), place, now):
                return digest
            for number, piece in enumerate(pieces):
                head.collection("chunks").document(f"{number:06d}").set({"data": piece, **until})
            head.set({"chunks": len(pieces), "size": len(data), **until})
        return digest

    def get(self, digest: Digest) -> bytes:
        changed = False
        for place in ("blobs", "lasting"):
            with translated(f"Reading {digest}"):
                packed = self._packed(self._db.collection(place).document(digest))
            if packed is None:
                continue
            try:
                data = gzip.decompress(packed)
            except (OSError, EOFError, zlib.error):
                data = None
            if data is not None and sha256(data) == digest:
                return data
            changed = True
        if changed:
            raise Permanent(f"The stored content {digest} has been changed; run the workload again.")
        raise Permanent(f"There is no stored content {digest}; the run that wrote it has been removed.")

    def _packed(self, head: Any) -> bytes | None:
        """All chunks below a head, joined; None without a head."""
        found = head.get().to_dict()
        if not found:
            return None
        names = (f"{number:06d}" for number in range(found["chunks"]))
        chunks = (head.collection("chunks").document(name).get().to_dict() or {} for name in names)
        return b"".join(chunk.get("data", b"") for chunk in chunks)


def _given(write: Write) -> Mapping[str, Any]:
    if isinstance(write, Increment):
        return {write.field: firestore.Increment(write.by)}
    if isinstance(write, AtLeast):
        return {write.field: firestore.Maximum(write.value)}
    return write.fields


@contextmanager
def _conflicts() -> Iterator[None]:
    """A `Create` whose document is there: who tries again will see it."""
    try:
        yield
    except exceptions.AlreadyExists as error:
        raise Transient("A document exists already; somebody else wrote it first.") from error


def seen(fields: Document) -> Document:
    """A document as its writer knows it."""
    fields.pop(retention.FIELD, None)
    return fields


def _waiting(key: str, event: Event, now: float) -> Document:
    return {
        "key": key,
        "since": now,
        "type": event.type,
        "attributes": event.attributes(),
        "body": event.body(),
    }


def _event(fields: Document) -> Event:
    names = fields["attributes"]
    return Event(
        type=fields["type"],
        id=names["ce-id"],
        source=names["ce-source"],
        time=names["ce-time"],
        data=TYPES[fields["type"]].read(fields["body"], "A stored event"),
        replay_id=names.get("replay-id", ""),
        traceparent=names.get("traceparent", ""),
    )


def _outbox_id(key: str, event_id: str) -> str:
    return sha256(f"{key} {event_id}".encode())[7:39]


def document_id(name: str) -> str:
    """A document id for any name: Firestore forbids slashes, '', '.', '..' and __names__."""
    checked_id(name)
    odd = "/" in name or name in ("", ".", "..") or name.startswith(("__", "~")) or not name.isprintable()
    if odd:
        return "~" + base64.urlsafe_b64encode(name.encode()).decode()
    return name


def document_name(id: str) -> str:
    return base64.urlsafe_b64decode(id[1:]).decode() if id.startswith("~") else id
