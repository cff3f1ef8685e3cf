"""Dead letters, by the notes that the outer stage keeps of them (`shared.letters`): why, and what came of it since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from functions.console.asked import Asked, NotHere, cursor
from functions.console.packages import Shelf
from functions.console.words import listed, number, part
from shared.letters import COLLECTION
from shared.model.value import printable
from shared.readings import Cursor, Found, Readings

AT_ONCE = 50
ON_A_RUN = 50
_FIELDS = ("topic", "stage", "run_id", "reason", "given_up", "at", "size", "claims", "dropped")
"""All but the body and the attributes."""


def page(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    found = newest(readings, AT_ONCE + 1, asked.after())
    more = len(found) > AT_ONCE
    return {
        "letters": lines(readings, found[:AT_ONCE]),
        "older": cursor(found[AT_ONCE - 1][1]["at"], found[AT_ONCE - 1][0]) if more else "",
        "first": asked.after() is None,
    }


def newest(readings: Readings, limit: int, after: Cursor | None = None) -> Found:
    return readings.latest(COLLECTION, "at", limit, after, only=_FIELDS)


def letter(readings: Readings, _shelf: Shelf, asked: Asked) -> Mapping[str, Any]:
    id = asked.names["letter"]
    fields = readings.get(COLLECTION, id)
    if fields is None or number(fields.get("at")) is None:
        raise NotHere(
            f"There is no note of a dead letter {printable(id, 80)} here: notes end after some weeks."
        )
    (line,) = lines(readings, [(id, fields)])
    attributes = [each for each in listed(fields, "attributes") if isinstance(each, Mapping)]
    return {"letter": line, "fields": fields, "attributes": attributes}


def of_run(readings: Readings, run_id: str) -> list[Mapping[str, Any]]:
    """Those that name the run, the newest first."""
    found = readings.among(COLLECTION, "run_id", [run_id], ON_A_RUN, only=_FIELDS)
    return lines(readings, sorted(found, key=lambda each: -(number(each[1].get("at")) or 0)))


def lines(readings: Readings, found: Found) -> list[Mapping[str, Any]]:
    """Each with its state: what a stage has written since, when somebody sent it again, tells."""
    keys = {str(key) for _, fields in found for key in listed(fields, "claims")}
    claims = readings.several("claims", sorted(keys), only=("done", "until", "attempt", "reason"))
    return [_line(id, fields, claims) for id, fields in found]


def _line(id: str, fields: Mapping[str, Any], claims: Mapping[str, Any]) -> Mapping[str, Any]:
    known = [claims[key] for each in listed(fields, "claims") if (key := str(each)) in claims]
    dropped = part(fields, "dropped")
    if dropped:
        state = "dropped"
    elif any(claim.get("done") is True for claim in known):
        # What a stage gave up comes again under another id; what none answered, under its own.
        state = "sent again" if fields.get("given_up") else "handled"
    else:
        state = "open"
    last = next((str(claim["reason"]) for claim in known if claim.get("reason")), "")
    return {
        "id": id,
        "topic": fields.get("topic", ""),
        "stage": fields.get("stage", ""),
        "run": str(fields.get("run_id", "")),
        "reason": fields.get("reason", ""),
        "last": last if last != fields.get("reason") else "",
        "attempts": max((int(number(claim.get("attempt")) or 0) for claim in known), default=0),
        "at": number(fields.get("at")),
        "size": number(fields.get("size")),
        "state": state,
        "dropped": dropped,
    }
