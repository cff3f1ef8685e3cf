"""Reading alone, over the documents in memory."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

from shared.memory.documents import lookup, same
from shared.memory.store import MemoryBlobs, MemoryStore
from shared.model.value import Digest
from shared.ports.store import Document
from shared.readings import Cursor, Found


class MemoryReadings:
    """Twin of `shared.gcp.readings.FirestoreReadings`."""

    def __init__(self, store: MemoryStore, blobs: MemoryBlobs) -> None:
        self._store, self._blobs = store, blobs

    def get(self, collection: str, id: str, only: Sequence[str] = ()) -> Document | None:
        found = self._store.everything(collection).get(id)
        return None if found is None else _part(found, only)

    def several(
        self, collection: str, ids: Sequence[str], only: Sequence[str] = ()
    ) -> Mapping[str, Document]:
        all_of_them = self._store.everything(collection)
        return {id: _part(all_of_them[id], only) for id in ids if id in all_of_them}

    def among(
        self,
        collection: str,
        field: str,
        values: Sequence[str | bool],
        limit: int,
        only: Sequence[str] = (),
    ) -> Found:
        found = [
            (id, fields)
            for id, fields in sorted(self._store.everything(collection).items())
            if any(same(lookup(fields, field), value) for value in values)
        ]
        return [(id, _part(fields, only)) for id, fields in found[:limit]]

    def latest(
        self, collection: str, field: str, limit: int, after: Cursor | None = None, only: Sequence[str] = ()
    ) -> Found:
        placed = (
            ((value, id), fields)
            for id, fields in self._store.everything(collection).items()
            if isinstance(value := lookup(fields, field), int | float)
        )
        before = (after.value, after.id) if after else None
        found = sorted(
            ((place, fields) for place, fields in placed if before is None or place < before),
            key=lambda item: item[0],
            reverse=True,
        )
        return [(place[1], _part(fields, only)) for place, fields in found[:limit]]

    def count(self, collection: str, field: str, equals: str | bool) -> int:
        return sum(
            same(lookup(fields, field), equals) for fields in self._store.everything(collection).values()
        )

    def content(self, digest: Digest) -> bytes:
        return self._blobs.get(digest)


def _part(fields: Document, only: Sequence[str]) -> Document:
    return copy.deepcopy({name: fields[name] for name in only if name in fields} if only else fields)
