"""What somebody who only looks needs of the store: no method here writes, so no caller can.

The adapters stand beside those of `shared.ports.Store`; the account that reads on Google Cloud may do nothing else.
`only` names the fields to bring along: what is not asked for, secrets of VMs say, is not even read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.errors import Permanent
from shared.model.value import Digest
from shared.ports.store import Document, checked_id, checked_key

Found = Sequence[tuple[str, Document]]
"""(id, document)."""


@dataclass(frozen=True)
class Cursor:
    """The last document of a page: the next one begins behind it."""

    value: float
    """Of the field that the documents are ordered by."""
    id: str


class Readings(Protocol):
    """Documents and contents, as `shared.ports.Store` and `Blobs` hold them."""

    def get(self, collection: str, id: str, only: Sequence[str] = ()) -> Document | None: ...

    def several(
        self, collection: str, ids: Sequence[str], only: Sequence[str] = ()
    ) -> Mapping[str, Document]:
        """Those that are there, by id, in one round trip."""
        ...

    def among(
        self,
        collection: str,
        field: str,
        values: Sequence[str | bool],
        limit: int,
        only: Sequence[str] = (),
    ) -> Found:
        """Documents whose field is one of at most 30 values, by id."""
        ...

    def latest(
        self, collection: str, field: str, limit: int, after: Cursor | None = None, only: Sequence[str] = ()
    ) -> Found:
        """Documents by a numeric field, the highest first; of equal ones the higher id first. Others are left out."""
        ...

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
        """Documents whose `field` is that, by the numeric field `by`: the highest first, or (`down=False`) last.

        Firestore needs an index of both fields (`terraform/outer/database.tf`).
        """
        ...

    def beginning(
        self, collection: str, field: str, text: str, limit: int, only: Sequence[str] = ()
    ) -> Found:
        """Documents whose field begins with a text that is not empty, by that field."""
        ...

    def count(self, collection: str, where: Mapping[str, str | bool | None]) -> int:
        """How many documents have all these values; none is read."""
        ...

    def total(self, collection: str, where: Mapping[str, str | bool | None], field: str) -> float:
        """The sum of a numeric field over the documents that have all these values; none is read.

        Firestore needs an index of all these fields.
        """
        ...

    def content(self, digest: Digest) -> bytes:
        """Stored bytes. Permanent if there are none, or others."""
        ...


def possible(name: str) -> bool:
    """Whether a document can have this id: a browser asks for anything."""
    try:
        return len(checked_id(name).encode()) > 0
    except Permanent:
        return False


def searchable(text: str) -> bool:
    """Whether documents can be found by this text."""
    try:
        return bool(checked_key(text).encode()) or not text
    except (Permanent, UnicodeEncodeError):
        return False
