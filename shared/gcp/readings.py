"""Reading alone, over Firestore.

What asks by one field is answered by the index that Firestore makes of it by itself; `within` and `total` by those that
`terraform/outer/database.tf` declares. A name that no document can have is that of none, and not an error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from shared.gcp.errors import translated
from shared.gcp.firestore import FirestoreBlobs, document_id, document_name, seen
from shared.model.value import Digest
from shared.ports.store import Document
from shared.readings import Cursor, Found, possible, searchable


class FirestoreReadings:
    """Port `Readings`."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._blobs = FirestoreBlobs(project)

    @cached_property
    def _db(self) -> Any:
        return firestore.Client(project=self._project)

    def get(self, collection: str, id: str, only: Sequence[str] = ()) -> Document | None:
        return self.several(collection, [id], only).get(id)

    def several(
        self, collection: str, ids: Sequence[str], only: Sequence[str] = ()
    ) -> Mapping[str, Document]:
        names = [id for id in ids if possible(id)]
        if not names:
            return {}
        with translated(f"Reading {collection}"):
            references = [self._db.collection(collection).document(document_id(id)) for id in names]
            found = self._db.get_all(references, field_paths=list(only) or None)
            return {document_name(each.id): seen(each.to_dict()) for each in found if each.exists}

    def among(
        self,
        collection: str,
        field: str,
        values: Sequence[str | bool],
        limit: int,
        only: Sequence[str] = (),
    ) -> Found:
        values = [each for each in values if not isinstance(each, str) or searchable(each)]
        if not values:
            return []
        query = self._db.collection(collection).where(filter=FieldFilter(field, "in", list(values)))
        return self._found(query.limit(limit), only)

    def latest(
        self, collection: str, field: str, limit: int, after: Cursor | None = None, only: Sequence[str] = ()
    ) -> Found:
        # A bound leaves out what is no number: Firestore orders by type first, and text comes before numbers.
        query = self._db.collection(collection).where(filter=FieldFilter(field, "<=", math.inf))
        return self._paged(query, collection, field, limit, after, only, down=True)

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
        if not searchable(equals):
            return []
        query = self._db.collection(collection).where(filter=FieldFilter(field, "==", equals))
        query = query.where(filter=FieldFilter(by, "<=", math.inf))
        return self._paged(query, collection, by, limit, after, only, down=down)

    def _paged(
        self,
        query: Any,
        collection: str,
        by: str,
        limit: int,
        after: Cursor | None,
        only: Sequence[str],
        *,
        down: bool,
    ) -> Found:
        way = firestore.Query.DESCENDING if down else firestore.Query.ASCENDING
        query = query.order_by(by, direction=way)
        query = query.order_by("__name__", direction=way).limit(limit)
        if after:
            last = self._db.collection(collection).document(document_id(after.id))
            query = query.start_after({by: after.value, "__name__": last})
        return self._found(query, only)

    def beginning(
        self, collection: str, field: str, text: str, limit: int, only: Sequence[str] = ()
    ) -> Found:
        if not text or not searchable(text):
            return []
        query = self._db.collection(collection).where(filter=FieldFilter(field, ">=", text))
        # Behind every text that begins so: the last character that Unicode has.
        query = query.where(filter=FieldFilter(field, "<=", text + "\U0010ffff"))
        return self._found(query.order_by(field).limit(limit), only)

    def count(self, collection: str, where: Mapping[str, str | bool | None]) -> int:
        return int(self._added(self._where(collection, where).count(alias="it"), collection))

    def total(self, collection: str, where: Mapping[str, str | bool | None], field: str) -> float:
        return float(self._added(self._where(collection, where).sum(field, alias="it"), collection))

    def _where(self, collection: str, where: Mapping[str, str | bool | None]) -> Any:
        query = self._db.collection(collection)
        for name, value in where.items():
            query = query.where(filter=FieldFilter(name, "==", value))
        return query

    def _added(self, asked: Any, collection: str) -> float:
        with translated(f"Adding up {collection}"):
            return asked.get()[0][0].value or 0

    def content(self, digest: Digest) -> bytes:
        return self._blobs.get(digest)

    def _found(self, query: Any, only: Sequence[str]) -> Found:
        with translated("Searching documents"):
            chosen = query.select(list(only)) if only else query
            return [(document_name(each.id), seen(each.to_dict())) for each in chosen.stream()]
