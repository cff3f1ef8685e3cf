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
        return self._paged(self._store.everything(collection), field, limit, after, only, down=True)

    def within(
        self,
        collection: str,
        field: str,
        equals: str,
        by: str,
        limit: int,
        after: Cursor | None = None,
        *,
        down: bool,
        only: Sequence[str] = (),
    ) -> Found:
        documents = self._store.everything(collection)
        found = {id: fields for id, fields in documents.items() if same(lookup(fields, field), equals)}
        return self._paged(found, by, limit, after, only, down=down)

    def _paged(
        self,
        documents: Mapping[str, Document],
        by: str,
        limit: int,
        after: Cursor | None,
        only: Sequence[str],
        *,
        down: bool,
    ) -> Found:
        placed = (
            ((value, id), fields)
            for id, fields in documents.items()
            if isinstance(value := lookup(fields, by), int | float)
            and not isinstance(value, bool)
            and value == value  # not a number is not one
        )
        last = (after.value, after.id) if after else None
        found = sorted(
            (each for each in placed if last is None or (each[0] < last if down else each[0] > last)),
            key=lambda item: item[0],
            reverse=down,
        )
        return [(place[1], _part(fields, only)) for place, fields in found[:limit]]

    def beginning(
        self, collection: str, field: str, text: str, limit: int, only: Sequence[str] = ()
    ) -> Found:
        found = [
            (value, id, fields)
            for id, fields in self._store.everything(collection).items()
            if isinstance(value := lookup(fields, field), str) and text and value.startswith(text)
        ]
        found.sort(key=lambda each: (each[0].encode(errors="replace"), each[1]))
        return [(id, _part(fields, only)) for _, id, fields in found[:limit]]

    def count(self, collection: str, where: Mapping[str, str | bool | None]) -> int:
        return len(self._where(collection, where))

    def total(self, collection: str, where: Mapping[str, str | bool | None], field: str) -> float:
        found = [lookup(fields, field) for fields in self._where(collection, where)]
        return float(
            sum(each for each in found if isinstance(each, int | float) and not isinstance(each, bool))
        )

    def _where(self, collection: str, where: Mapping[str, str | bool | None]) -> Sequence[Document]:
        return [
            fields
            for fields in self._store.everything(collection).values()
            if all(same(lookup(fields, name), value) for name, value in where.items())
        ]

    def content(self, digest: Digest) -> bytes:
        return self._blobs.get(digest)


def _part(fields: Document, only: Sequence[str]) -> Document:
    return copy.deepcopy({name: fields[name] for name in only if name in fields} if only else fields)
