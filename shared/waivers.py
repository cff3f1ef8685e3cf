"""Waivers in the store: how they begin and end, what they did, and which of them a run leans on.

`waivers/<id>` holds a waiver's fields, its state and the event that brought it. `waiver_history/<hash>` holds one thing
that was done to one waiver, and is written once. Who published an event cannot be told from the event: what the
publisher says of approver and revoker is recorded, with the event's own id, source and time. Whoever may publish to the
two topics may waive (terraform/outer/publishers.tf).

A waiver is taken if

1. it has not ended yet;
2. it was granted by now, give or take the clocks of two machines;
3. it lasts for a year at most: whoever still bears the risk then says so again;
4. without an advisory it names its packages: one that overruled everything would be another policy, without review. A
   file by URL is named by its sha256: its name says neither from which host nor which bytes. No star is quoted: nobody
   who reads %2A could tell what is meant;
5. its id, a part of its digest, does not stand for another waiver;
6. it was not ended before: what was revoked, or is over, does not come back with an old event;
7. there is room: every judgement reads all that are in force.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, Protocol
from urllib.parse import unquote

from shared.decision_log import entry
from shared.delivery import Outcome
from shared.errors import Permanent, Transient
from shared.events import AdvisoriesRefreshed, Event, WaiverGranted, WaiverRevoked, derive, derived_id
from shared.model.value import printable, sha256
from shared.model.verdict import Verdict
from shared.model.waiver import Waiver
from shared.ports.store import Create, Document, Put

LONGEST = timedelta(days=366)
"""A year, whichever it is. No setting: a policy says what is refused, and must not be outlived in silence."""
SKEW = timedelta(minutes=5)
"""By which the clock of whoever grants may be ahead."""
AT_ONCE = 10_000
"""In force at the same time; a judgement reads them all."""
SHOWN = 100
"""That a run's document names."""
_ENDED_AT_ONCE = 100
_WHOLE_FILE = re.compile(r"pkg:generic/[^@*]+@sha256:[0-9a-f]{64}", re.ASCII)

Done = Literal["granted", "revoked", "expired"]
STATES: tuple[Done, ...] = ("granted", "revoked", "expired")


Touches = Callable[[Waiver], bool]
"""Whether it may change the verdict about anything (shared.held.touched); else nothing is judged again for it."""


def _always(_waiver: Waiver) -> bool:
    return True


class Reads(Protocol):
    """The part of the store that looking at waivers needs."""

    def get(self, collection: str, id: str) -> Document | None: ...
    def find(self, collection: str, field: str, equals: object) -> Sequence[tuple[str, Document]]: ...


# --- pure ---


def check(waiver: Waiver, now: float) -> None:
    """Permanent with the reason if it may not be granted at `now`, whatever the store holds."""
    granted, expires = _unix(waiver.granted), _unix(waiver.expires)
    if expires <= now:  # 1
        raise Permanent(f"{waiver.id} ended at {waiver.expires}, before it was recorded: give a later time.")
    if granted > now + SKEW.total_seconds():  # 2
        raise Permanent(
            f"{waiver.id} says that it is granted at {waiver.granted}, which is in the future: a waiver counts from "
            "now on; set the clock right."
        )
    if expires - granted > LONGEST.total_seconds():  # 3
        raise Permanent(
            f"{waiver.id} would last from {waiver.granted} until {waiver.expires}; a waiver lasts for {LONGEST.days} "
            "days at most: give an earlier time, and grant it again when it ends."
        )
    if "%2a" in waiver.package.lower():  # 4
        raise Permanent(
            f"{waiver.id} writes a star as %2A in {waiver.package}, and that stands for nothing: write * where "
            "anything is meant."
        )
    if not waiver.advisory and "*" in _name(waiver.package):  # 4
        raise Permanent(
            f"{waiver.id} waives everything that speaks against {waiver.package}: without an advisory, name one "
            "package; only its version may be *."
        )
    by_url = waiver.package.startswith("pkg:generic/")
    if not waiver.advisory and by_url and not _WHOLE_FILE.fullmatch(unquote(waiver.package)):  # 4
        raise Permanent(
            f"{waiver.id} waives everything that speaks against {waiver.package}, and a file by URL is known by its "
            "content alone: give its whole sha256, like pkg:generic/data.bin@sha256:…, without *."
        )


def words(waiver: Waiver) -> str:
    """What is overruled, for people."""
    what = waiver.advisory or "everything that the rules say"
    where = f" against {waiver.package}" if waiver.package and not waiver.advisory else ""
    where = f" in {waiver.package}" if waiver.package and waiver.advisory else where
    whose = f"for the workload {waiver.workload}" if waiver.workload else "for every workload"
    until = f"until {waiver.expires}{', or until a fix exists' if waiver.until_fixed else ''}"
    return f"{what}{where}, {whose}, {until}"


def waiver_of(fields: Document) -> Waiver | None:
    """The waiver that a document holds; None if nobody can read it: it then overrules nothing."""
    try:
        return Waiver.check({name: fields[name] for name in Waiver.model_fields}, "A stored waiver")
    except (KeyError, Permanent):
        return None


def ended(fields: Document, now: float) -> str:
    """Why the waiver of a document does not count at `now`; empty if it does. Numbers as in `check_still`."""
    if fields.get("state") == "revoked":
        end = fields.get("ended") or {}
        return f"was revoked by {printable(str(end.get('by')), 200)}"  # 2
    waiver = waiver_of(fields)
    if waiver is None:  # 3
        return "cannot be read"
    if fields.get("state") != "granted" or _unix(waiver.expires) <= now:  # 4
        return f"ended at {waiver.expires}"
    return ""


def leaned_on(verdicts: Iterable[Verdict], waivers: Iterable[Waiver]) -> list[Document]:
    """What a run's document says of the waivers by which packages got in: the first `SHOWN` by id."""
    known = {waiver.id: waiver for waiver in waivers}
    counts = Counter(id for each in verdicts if each.decision == "allow" for id in each.waivers)
    return [
        {
            "id": id,
            "waives": words(known[id]),
            "approver": known[id].approver,
            "expires": known[id].expires,
            "packages": counts[id],
        }
        for id in sorted(counts)[:SHOWN]
        if id in known
    ]


def _name(package: str) -> str:
    """A purl up to its version (https://github.com/package-url/purl-spec)."""
    return package.partition("@")[0]


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


# --- reading ---


def in_force(store: Reads) -> tuple[Waiver, ...]:
    """All that nobody has revoked and no sweep has found over, by id; which of them count follows from the moment."""
    found = (waiver_of(fields) for _, fields in store.find("waivers", "state", "granted"))
    return tuple(sorted(filter(None, found), key=lambda waiver: waiver.id))


def check_still(verdicts: Iterable[Verdict], store: Reads, now: float) -> None:
    """Permanent if a verdict admits a package by a waiver that does not count any more.

    Between the verdicts and their plan lie minutes, or a replay weeks later. Each waiver that such a verdict names
    1. is recorded, 2. was not revoked, 3. can be read, 4. has not ended.
    """
    check_leaning(admitting(verdicts), store, now)


def admitting(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """Id of each waiver by which a package is admitted, to the first such package's purl."""
    found: dict[str, str] = {}
    for verdict in verdicts:
        for id in verdict.waivers if verdict.decision == "allow" else ():
            found.setdefault(id, verdict.package.purl)
    return found


def check_leaning(named: Mapping[str, str], store: Reads, now: float) -> None:
    """As `check_still`, of what `admitting` has found."""
    for id, purl in sorted(named.items()):
        fields = store.get("waivers", id)
        if why := ended(fields, now) if fields else "is not known any more":  # 1-4
            raise Permanent(
                f"{purl} was admitted by {id}, which {why}: run the workload again to have it judged without, or "
                "grant another waiver."
            )


# --- what the events do ---


def granted(
    event: Event, data: WaiverGranted, store: Reads, now: float, touches: Touches = _always
) -> Outcome:
    """The waiver is recorded, and everything judged again if it touches any of it. The same one twice is one."""
    waiver = data.waiver
    if (held := store.get("waivers", waiver.id)) is not None:
        if waiver_of(held) != waiver:  # 5
            raise Permanent(
                f"{waiver.id} is the id of another waiver already: give another time or reason, and it has another id."
            )
        if held.get("state") != "granted":  # 6
            raise Permanent(
                f"{waiver.id} {ended(held, now)}, and an old waiver does not come back: grant a new one, with the "
                "time of now."
            )
        return Outcome()
    check(waiver, now)  # 1-4
    if len(store.find("waivers", "state", "granted")) >= AT_ONCE:  # 7
        raise Permanent(f"{AT_ONCE} waivers are in force, and no more are taken: revoke what is not needed.")
    fields = {
        **waiver.model_dump(mode="json"),
        "state": "granted",
        "recorded": now,
        "event": _cause(event),
    }
    why = f"{waiver.id} granted by {printable(waiver.approver, 200)}"
    return Outcome(
        (
            # Never overwritten: two workers with the same waiver must not undo what a third has revoked.
            Create("waivers", waiver.id, fields),
            _history(waiver.id, "granted", event, now, by=waiver.approver, reason=waiver.reason),
            entry(
                "waiver-granted",
                waiver.id,
                f"{words(waiver)}: {waiver.reason}",
                event,
                now,
                actor=waiver.approver,
                about=waiver.digest,
                workload=waiver.workload,
                expires=waiver.expires,
            ),
        ),
        (_judge_again(event, why, f"{waiver.id} granted", now),) if touches(waiver) else (),
    )


def revoked(
    event: Event, data: WaiverRevoked, store: Reads, now: float, touches: Touches = _always
) -> Outcome:
    """The waiver ends now, for good, and everything is judged again if it touched any of it. Revoking it twice is
    revoking it once."""
    held = store.get("waivers", data.waiver)
    if held is None:
        # The grant may be on its way still: events come in any order. The last attempt keeps this one with its reason.
        raise Transient(f"{data.waiver} was looked for, and there is no such waiver (./dmz waive list --all)")
    if held.get("state") == "revoked":
        return Outcome()
    if why := ended(held, now):
        raise Permanent(f"{data.waiver} {why}: there is nothing to revoke.")
    end = {"at": now, "by": data.by, "reason": data.reason}
    given = waiver_of(held)
    again = given is None or touches(given)
    said = f"{data.waiver} revoked by {printable(data.by, 200)}"
    return Outcome(
        (
            Put("waivers", data.waiver, {"state": "revoked", "ended": end}, merge=True),
            _history(data.waiver, "revoked", event, now, by=data.by, reason=data.reason),
            entry("waiver-revoked", data.waiver, data.reason, event, now, actor=data.by),
        ),
        (_judge_again(event, said, f"{data.waiver} revoked", now),) if again else (),
    )


def expired(
    event: Event, store: Reads, now: float, touches: Touches = _always
) -> Iterator[tuple[str, Outcome]]:
    """(key, outcome) for those that are over and were in force when last looked at: one judgement for many of them."""
    ending = {
        waiver.id: waiver
        for _, fields in store.find("waivers", "state", "granted")
        if (waiver := waiver_of(fields)) and _unix(waiver.expires) <= now
    }
    over = sorted(ending)
    for start in range(0, len(over), _ENDED_AT_ONCE):
        some = over[start : start + _ENDED_AT_ONCE]
        name = f"expired-{sha256(' '.join(some).encode())[7:39]}"
        more = f" and {len(some) - 1} more" if len(some) > 1 else ""
        end = {"at": now, "by": "", "reason": "its time has come"}
        yield (
            name,
            Outcome(
                tuple(
                    write
                    for id in some
                    for write in (
                        Put("waivers", id, {"state": "expired", "ended": end}, merge=True),
                        _history(id, "expired", None, now, by="", reason="its time has come"),
                        entry("waiver-expired", id, "its time has come", event, now, stage="scanner"),
                    )
                ),
                (_judge_again(event, f"{some[0]}{more} expired", name, now),)
                if any(touches(ending[id]) for id in some)
                else (),
            ),
        )


def _history(id: str, what: Done, event: Event | None, now: float, *, by: str, reason: str) -> Create:
    """One line of a waiver's history. Each thing happens to a waiver once, so its name holds no time."""
    fields = {"waiver": id, "what": what, "at": now, "by": by, "reason": reason}
    fields |= {"event": _cause(event)} if event else {}
    return Create("waiver_history", sha256(f"{id} {what}".encode())[7:39], fields)


def _cause(event: Event) -> Document:
    return {"id": event.id, "source": event.source, "time": event.time}


def _judge_again(cause: Event, reason: str, subject: str, now: float) -> Event:
    """An entry event has an id of its sender's: this one's is made of what happened."""
    data = AdvisoriesRefreshed(reason=reason)
    made = derive(cause, "advisories-refreshed", data, stage="scanner", now=now)
    return replace(made, id=derived_id("", made.type, subject, cause.replay_id))
