"""What else belongs to a version that must go: what of it stays, and whether it can come in again.

1. What is refused itself, or was evicted, goes with the version: it is never brought back.
2. Nothing is deleted until all that must stay was fetched and proved once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from shared.errors import Permanent
from shared.held.reevaluation import STANDING, standing_id
from shared.held_files import RECORDS, by_name, record_id, recorded, recorded_key
from shared.model.plan import Transfer
from shared.model.value import Digest
from shared.ports.registry import Stored
from shared.ports.store import Store
from shared.settings import Settings


class CannotReturn(Permanent):
    """A file that must stay would be lost with the version that it belongs to."""


def staying(beside: Iterable[Stored], store: Store, settings: Settings) -> dict[str, Transfer]:
    """By the id of its record: what must stay. CannotReturn if nobody knows where it came from."""
    found: dict[str, Transfer] = {}
    for one in beside:
        name = record_id(one.repository, one.sha256)
        fields = store.get(RECORDS, name)
        if fields:
            if not leaves(fields, store):
                found[name] = _transfer(one, fields)
            continue
        named = by_name(one, settings)
        if named is None or not _refused(named[0].package.purl, store):
            raise CannotReturn(
                f"{one.name} belongs to the same version, and no record says how it could come in again: delete it, or "
                "the version, yourself."
            )
    return found


def _transfer(one: Stored, record: Mapping[str, Any]) -> Transfer:
    """How it could come in again; CannotReturn if its record cannot be read."""
    try:
        return recorded(record)[2]
    except Permanent as error:
        raise CannotReturn(
            f"{one.name} belongs to the same version, and its record cannot be read ({str(error).rstrip('.')}): delete "
            "it, or the version, yourself."
        ) from error


def leaves(record: Mapping[str, Any], store: Store) -> bool:  # 1
    """Whether a file may not be held any more, by what is decided now."""
    return bool(record.get("evicted")) or _refused(recorded_key(record), store)


def _refused(key: str, store: Store) -> bool:
    return str((store.get(STANDING, standing_id(key)) or {}).get("decision", "allow")) != "allow"


def refused_of(names: Iterable[str], store: Store) -> set[Digest]:
    """Which files of these records may not be held any more."""
    known = [store.get(RECORDS, name) for name in names]
    return {str(fields["sha256"]) for fields in known if fields and leaves(fields, store)}


def proved(transfers: Sequence[Transfer], prove: Callable[[Sequence[Transfer]], None]) -> None:  # 2
    """CannotReturn if one cannot be had any more; Transient if that cannot be said now."""
    for each in transfers:
        try:
            prove([each])
        except Permanent as error:
            raise CannotReturn(
                f"{each.file.url.rpartition('/')[2]} belongs to the same version, may be held, and cannot be had "
                f"again: {error}"
            ) from error
