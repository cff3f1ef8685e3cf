"""Reading alone, over Firestore. Every query is answered by the index that Firestore makes of each field by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter

from shared.gcp.errors import translated
from shared.gcp.firestore import FirestoreBlobs, document_id, document_name, seen
from shared.model.value import Digest
from shared.ports.store import Document
from shared.readings import Cursor, Found

_DOWN = firestore.Query.DESCENDING


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
        if not ids:
            return {}
        with translated(f"Reading {collection}"):
            references = [self._db.collection(collection).document(document_id(id)) for id in ids]
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
        if not values:
            return []
        query = self._db.collection(collection).where(filter=FieldFilter(field, "in", list(values)))
        return self._found(query.limit(limit), only)

    def latest(
        self, collection: str, field: str, limit: int, after: Cursor | None = None, only: Sequence[str] = ()
    ) -> Found:
        query = self._db.collection(collection).order_by(field, direction=_DOWN)
        query = query.order_by("__name__", direction=_DOWN).limit(limit)
        if after:
            last = self._db.collection(collection).document(document_id(after.id))
            query = query.start_after({field: after.value, "__name__": last})
        return self._found(query, only)

    def count(self, collection: str, field: str, equals: str | bool) -> int:
        query = self._db.collection(collection).where(filter=FieldFilter(field, "==", equals))
        with translated(f"Counting {collection}"):
            return int(query.count().get()[0][0].value)

    def content(self, digest: Digest) -> bytes:
        return self._blobs.get(digest)

    def _found(self, query: Any, only: Sequence[str]) -> Found:
        with translated("Searching documents"):
            chosen = query.select(list(only)) if only else query
            return [(document_name(each.id), seen(each.to_dict())) for each in chosen.stream()]
