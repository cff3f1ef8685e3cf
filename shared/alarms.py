"""Alarms: what a person has to look at. A document each, which stays while it is so, and a line of the log each time.

`alarms/<id>` holds kind, subject, message, since, last, and whether it is open. The lines are counted by
`terraform/outer/metrics.tf`.
"""

from __future__ import annotations

from typing import Literal

from shared import logs
from shared.model.value import printable, sha256
from shared.ports.store import Document, Put, Store

Kind = Literal["no-data", "stray", "drift", "yanked", "attestation", "kept", "affected", "untold"]
COLLECTION = "alarms"


def alarm_id(kind: Kind, subject: str) -> str:
    return sha256(f"{kind} {subject}".encode())[7:39]


def sound(store: Store, kind: Kind, subject: str, message: str, now: float, stage: str) -> None:
    """It is so, or still so. Said once in the documents, and in the log at every time."""
    note(store, kind, subject, message, now)
    logs.line(
        "package-alarm", "ERROR", printable(message, 1000), stage, kind=kind, subject=printable(subject, 1000)
    )


def note(store: Store, kind: Kind, subject: str, message: str, now: float) -> None:
    """The same in the documents alone, for what the log has a line of its own for."""
    message = printable(message, 1000)
    name = alarm_id(kind, subject)
    known = store.get(COLLECTION, name) or {}
    since = known.get("since", now) if known.get("open") else now
    fields: Document = {"kind": kind, "subject": printable(subject, 1000), "message": message}
    fields |= {"since": since, "last": now, "open": True}
    store.put([Put(COLLECTION, name, fields)])


def still(store: Store, kind: Kind, subjects: set[str], now: float) -> None:
    """Of this kind only these are so any more; the others are over."""
    for name, known in store.find(COLLECTION, "kind", kind):
        if known.get("open") and known.get("subject") not in subjects:
            store.put([Put(COLLECTION, name, {"open": False, "last": now}, merge=True)])


def over(store: Store, kind: Kind, subject: str, now: float) -> None:
    """This one is over."""
    name = alarm_id(kind, subject)
    if (store.get(COLLECTION, name) or {}).get("open"):
        store.put([Put(COLLECTION, name, {"open": False, "last": now}, merge=True)])
