"""Documents, claims, outbox and blobs in Firestore (https://cloud.google.com/firestore/docs).

Claims live in `claims/<stage:type:event-id>`, their outboxes in `outbox/<event-id>`. A claim is a create-only document
with a lease; finishing it is one transaction on that document alone, which only its own workers touch.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.bulk_writer import BulkWriterOptions

from shared.errors import Permanent, Transient
from shared.events import TYPES, Event
from shared.gcp.errors import translated
from shared.model.value import Digest, sha256
from shared.ports import Claim, Create, Document, Increment, Write, checked_id

_CHUNK = 900_000
"""Bytes of a blob in one document; Firestore ends at 1 MiB (https://cloud.google.com/firestore/quotas)."""


class _Client:
    def __init__(self, project: str) -> None:
        self._project = project

    @cached_property
    def _db(self) -> Any:
        return firestore.Client(project=self._project)


class FirestoreStore(_Client):
    """Port `Store`."""

    def claim(self, key: str, now: float, lease: float) -> Claim:
        reference = self._db.collection("claims").document(_id(key))
        with translated(f"Claiming {key}"):
            try:
                reference.create(
                    {"key": key, "done": False, "until": now + lease, "generation": 1, "attempt": 1}
                )
                return Claim(key, "won", 1, 1)
            except exceptions.AlreadyExists:
                held = reference.get()
            if not held.exists:
                raise Transient(f"{key} was removed while it was being claimed.")
            fields = held.to_dict()
            claim = Claim(key, "busy", fields["attempt"], fields["generation"])
            if fields["done"]:
                return Claim(key, "done", claim.attempt, claim.generation)
            if fields["until"] > now:
                return claim
            taken = {"until": now + lease, "generation": claim.generation + 1, "attempt": claim.attempt + 1}
            try:
                reference.update(taken, option=self._db.write_option(last_update_time=held.update_time))
            except (exceptions.FailedPrecondition, exceptions.Aborted):
                return claim
            return Claim(key, "won", claim.attempt + 1, claim.generation + 1)

    def renew(self, claim: Claim, until: float) -> bool:
        return self._fenced(claim, lambda batch, reference: batch.update(reference, {"until": until}))

    def release(self, claim: Claim, reason: str) -> None:
        fields = {"until": 0, "reason": reason[:2000]}
        self._fenced(claim, lambda batch, reference: batch.update(reference, fields))

    def finish(self, claim: Claim, writes: Sequence[Write], outbox: Sequence[Event], now: float) -> None:
        def write(batch: Any, reference: Any) -> None:
            for one in writes:
                self._write(batch, one)
            for event in outbox:
                self._write(
                    batch, Create("outbox", _outbox_id(claim.key, event.id), _waiting(claim.key, event, now))
                )
            batch.update(reference, {"done": True, "finished": now})

        if not self._fenced(claim, write):
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
            fields: Document | None = self._db.collection(collection).document(_id(id)).get().to_dict()
            return fields

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

        with translated(f"Writing {len(documents)} documents to {collection}"):
            writer = self._db.bulk_writer(options)
            writer.on_write_error(failed)
            for id, fields in documents.items():
                writer.set(self._db.collection(collection).document(_id(id)), fields)
            writer.close()
        if failures:
            raise Transient(
                f"{len(failures)} of {len(documents)} documents of {collection} were not written: {failures[0]}"
            )

    def find(self, collection: str, field: str, equals: Any) -> Sequence[tuple[str, Document]]:
        with translated(f"Searching {collection}"):
            query = self._db.collection(collection).where(filter=FieldFilter(field, "==", equals))
            return sorted(
                ((_name(found.id), found.to_dict()) for found in query.stream()), key=lambda found: found[0]
            )

    def _write(self, batch: Any, write: Write) -> None:
        reference = self._db.collection(write.collection).document(_id(write.id))
        try:
            if isinstance(write, Increment):
                batch.set(reference, {write.field: firestore.Increment(write.by)}, merge=True)
            elif isinstance(write, Create):
                batch.create(reference, dict(write.fields))
            else:
                batch.set(reference, dict(write.fields), merge=write.merge)
        except (TypeError, ValueError) as error:
            raise Permanent(
                f"{write.collection}/{write.id} holds a value that Firestore cannot take: {error}."
            ) from error

    def _fenced(self, claim: Claim, write: Callable[[Any, Any], None]) -> bool:
        """Run `write` in a transaction if the claim is still ours; False if it is not."""
        reference = self._db.collection("claims").document(_id(claim.key))

        @firestore.transactional
        def run(transaction: Any) -> bool:
            fields = reference.get(transaction=transaction).to_dict() or {}
            if fields.get("generation") != claim.generation or fields.get("done"):
                return False
            write(transaction, reference)
            return True

        with translated(f"Writing the result of {claim.key}"), _conflicts():
            return bool(run(self._db.transaction()))


class FirestoreBlobs(_Client):
    """Port `Blobs`: gzip, in chunks of one document each; the head is written last."""

    def put(self, data: bytes) -> Digest:
        digest = sha256(data)
        packed = gzip.compress(data, 6, mtime=0)
        pieces = [packed[start : start + _CHUNK] for start in range(0, len(packed), _CHUNK)]
        head = self._db.collection("blobs").document(digest)
        with translated(f"Storing {digest}"):
            if head.get(["chunks"]).exists:
                return digest
            for number, piece in enumerate(pieces):
                head.collection("chunks").document(f"{number:06d}").set({"data": piece})
            head.set({"chunks": len(pieces), "size": len(data)})
        return digest

    def get(self, digest: Digest) -> bytes:
        head = self._db.collection("blobs").document(digest)
        with translated(f"Reading {digest}"):
            found = head.get().to_dict()
            if not found:
                raise Permanent(
                    f"There is no stored content {digest}; the run that wrote it has been removed."
                )
            chunks = [
                head.collection("chunks").document(f"{number:06d}").get().to_dict() or {}
                for number in range(found["chunks"])
            ]
        try:
            data = gzip.decompress(b"".join(chunk.get("data", b"") for chunk in chunks))
        except (OSError, EOFError, zlib.error):
            data = None
        if data is None or sha256(data) != digest:
            raise Permanent(f"The stored content {digest} has been changed; run the workload again.")
        return data


@contextmanager
def _conflicts() -> Iterator[None]:
    """A `Create` whose document is there: who tries again will see it."""
    try:
        yield
    except exceptions.AlreadyExists as error:
        raise Transient("A document exists already; somebody else wrote it first.") from error


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


def _id(name: str) -> str:
    """A document id for any name: Firestore forbids slashes, '', '.', '..' and __names__."""
    checked_id(name)
    odd = "/" in name or name in ("", ".", "..") or name.startswith(("__", "~")) or not name.isprintable()
    if odd:
        return "~" + base64.urlsafe_b64encode(name.encode()).decode()
    return name


def _name(id: str) -> str:
    return base64.urlsafe_b64decode(id[1:]).decode() if id.startswith("~") else id
