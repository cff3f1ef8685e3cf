"""Who closes a run: of the shards that finish in one moment, and of the watchdog, one.

A run that two close is none the worse for it, but both list the repositories and publish. So who comes first leaves a
mark. It does not bind for ever: a shard's event that is tried again closes what it began; one that could not close says
so, and one that died is not waited for longer than ALONE. Then the watchdog closes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from shared.errors import DmzError, Transient
from shared.ports.store import Create, Document, Put, Store

ALONE = 20.0
"""Seconds that whoever closes a run is left alone with it; the store and the repositories take most of them."""
_MARKS = "shards"


def is_due(counted: Mapping[str, Any]) -> bool:
    """Whether all shards of that sync are done."""
    return bool(counted.get("done", 0) >= counted.get("shards", 1))


def is_mine(sync_id: str, event_id: str, store: Store, now: float) -> bool:
    """Whether the shard of that event closes: it is the first, or it comes again."""
    return _mark(sync_id, event_id, store, now).get("by") == event_id


def is_left(sync_id: str, event_id: str, store: Store, now: float) -> bool:
    """Whether the watchdog's event closes: nobody has begun to, or nothing is heard of who has."""
    mark = _mark(sync_id, event_id, store, now)
    # A mark of the future is one of a clock that was wrong.
    return mark.get("by") == event_id or not 0 <= now - mark.get("at", 0.0) < ALONE


def gives_up(sync_id: str, store: Store) -> None:
    """Says that whoever closes could not: nobody has to wait."""
    with suppress(DmzError):
        store.put([Put(_MARKS, _name(sync_id), {"at": 0.0}, merge=True)])


def _mark(sync_id: str, event_id: str, store: Store, now: float) -> Document:
    """Of who closes; it is the caller's if there was none."""
    name = _name(sync_id)
    if found := store.get(_MARKS, name):
        return found
    mine = {"by": event_id, "at": now}
    try:
        store.put([Create(_MARKS, name, mine)])
    except Transient:
        if found := store.get(_MARKS, name):
            return found
        raise
    return mine


def _name(sync_id: str) -> str:
    return f"{sync_id}-closed"
