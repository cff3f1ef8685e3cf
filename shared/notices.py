"""Notifications of what people wait for: a run that failed, a verdict that changed, a refused attestation.

A notice is `notices/<id>`, written by the batch that finishes the event which it is about, so that no death loses it;
its id follows from that event, so that a duplicate makes no second one, and a sink that hears it twice can tell. It is
sent after that batch, and by the watchdog as long as the sink has not taken it; a day later it is given up with a line
of the log and an alarm. No run waits for a sink, whatever that does, and however many wait, a round reads a few: those
whose turn it is. A notice that is refused waits longer each time, and so does everything while nobody answers.

`notices/<id>`: {state: waiting|sent|lost, since, tries, next, said, attributes, data}.
`progress/notifications`: {tries, next} of a sink that did not answer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol
from urllib.parse import quote

from shared import alarms, logs
from shared.delivery import Outcome
from shared.errors import DmzError, Transient
from shared.events import AttestationAppraised, Event, RunFailed, VerdictChanged, derived_id, timestamp
from shared.model.trace import Place
from shared.model.value import canonical, printable
from shared.ports.store import Create, Document, Put, Store
from shared.upstream.sink import Unanswered

TYPE = "package-dmz.notification.v1"
COLLECTION = "notices"
GIVE_UP = 86_400.0
"""Seconds after which nobody is told any more."""
AT_ONCE = 20
"""Notices that one round of the watchdog sends."""
GIVEN_UP_AT_ONCE = 200
"""Notices that one round gives up; a batch of the store takes five hundred writes."""
ROUND = 30.0
"""Seconds after which a round begins no further one: a slow sink does not hold up the watchdog's next look."""
_LONGEST_PAUSE = 3600.0
_LONGEST_REST = 600.0
"""Of a sink that does not answer."""
_SUBJECT = "notifications"
_WORDS = 500
_SECRETS = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}(\.[\w-]*)?|(?<=//)[^/@\s]+@"
    r"|\b(ya29\.|1//0|gh[oprsu]_|github_pat_|glpat-|pypi-AgE|xox[abpr]-|AKIA|AIza)[\w.-]{8,}"
    r"|(?<=Bearer )\S{8,}|(?<=Basic )[\w+/=-]{16,}|-----BEGIN .*"
)
"""Tokens, keys, and credentials in addresses, also signed ones: a reason may quote what somebody else has said."""
_QUERY = re.compile(r"(://[^\s?]*\?)\S+")  # of an address; a purl has one, too, which says what it is


class Sink(Protocol):
    """Who is told."""

    def send(self, attributes: Mapping[str, str], body: bytes) -> None:
        """Transient unless the event was taken."""
        ...


def about(event: Event, console: str, now: float) -> tuple[Create, ...]:
    """The notice of an event, for the batch that finishes it; none if nobody has to be told.

    `console`: address of the console, for the link; empty for none.
    """
    told = _told(event)
    if told is None:
        return ()
    sentence, path = told
    name = derived_id(event.run_id, "notification", f"{event.type} {event.id}")
    data: dict[str, Any] = {
        "event": event.type,
        "event_id": event.id,
        "run_id": event.run_id,
        "sentence": _safe(sentence),
        "link": f"{console.rstrip('/')}{path}" if console else "",
    }
    attributes = {
        "id": name,
        "source": "/package-dmz/outer",
        "specversion": "1.0",
        "type": TYPE,
        "time": timestamp(now),
        "traceparent": str(Place(event.trace, event.handled_by("outer"))),
    }
    fields: Document = {
        "state": "waiting",
        "since": now,
        "tries": 0,
        "next": now,
        "said": "",
        "attributes": attributes,
        "data": data,
    }
    return (Create(COLLECTION, name, fields),)


def _told(event: Event) -> tuple[str, str] | None:
    """(sentence, path in the console)."""
    run = f"/runs/{quote(event.run_id, safe='')}"
    match event.data:
        case RunFailed() as failed:
            return f"{failed.run_id} failed in the stage {failed.stage}: {failed.reason}", run
        case VerdictChanged() as changed:
            words = f"{changed.purl} was {changed.before} and is {changed.after} now: {changed.reason}"
            return words, "/watch"
        case AttestationAppraised() as answer if answer.decision == "refused":
            failed_first = answer.failed_checks[0] if answer.failed_checks else "no check says why"
            words = f"The token of the data service {answer.service} was refused: {failed_first}"
            return words, f"{run}/attestation" if event.run_id else "/images"
    return None


def send(event: Event, store: Store, sink: Sink, now: float) -> None:
    """Right after the batch, and at a duplicate if that died before it. What fails now is the watchdog's."""
    for write in about(event, "", now):
        found = store.get(COLLECTION, write.id)
        if found and found["state"] == "waiting" and not found["tries"] and not _rests(store, now):
            _try(write.id, found, store, sink, now)


def again(
    store: Store, sink: Sink, now: float, watch: Callable[[], float] = time.monotonic
) -> Iterator[tuple[str, Outcome]]:
    """The watchdog's round: who waits for too long is given up, then whose turn it is. It finds nothing itself."""
    _give_up(store, now)
    begun, told = watch(), 0
    waiting = (
        [] if _rests(store, now) else store.find("notices", "state", "waiting", by="next", limit=AT_ONCE)
    )
    for name, fields in waiting:
        if now < float(fields["next"]) or watch() - begun > ROUND:
            break
        answered = _try(name, fields, store, sink, now)
        if answered == "no":
            break
        told += answered == "taken"
    if told:
        alarms.over(store, "untold", _SUBJECT, now)
    yield from ()


def _rests(store: Store, now: float) -> bool:
    return now < float((store.get("progress", _SUBJECT) or {}).get("next", 0))


def _give_up(store: Store, now: float) -> None:
    oldest = store.find("notices", "state", "waiting", by="since", limit=GIVEN_UP_AT_ONCE)
    lost = [(name, fields) for name, fields in oldest if now >= float(fields["since"]) + GIVE_UP]
    if not lost:
        return
    store.put([Put(COLLECTION, name, {"state": "lost"}, merge=True) for name, _ in lost])
    for name, fields in lost:
        words = f"Nobody was told that {fields['data']['sentence']} {fields['said']}".rstrip()
        logs.line("notification", "ERROR", words, "outer", id=name, told=False)
    said = f"{len(lost)} notifications were given up now: for a day the sink has not taken them. {lost[-1][1]['said']}"
    alarms.note(store, "untold", _SUBJECT, said, now)


def _try(
    name: str, fields: Document, store: Store, sink: Sink, now: float
) -> Literal["taken", "refused", "no"]:
    """`no`: nobody answers, or it cannot be written down; it is not worth while to go on with the next one."""
    tries, sentence = int(fields["tries"]) + 1, str(fields["data"]["sentence"])
    try:
        sink.send(fields["attributes"], canonical(fields["data"]))
    except Transient as error:
        unanswered = isinstance(error, Unanswered)
        left: Document = {"tries": tries, "next": now + _pause(tries, _LONGEST_PAUSE)}
        store.put(
            [
                Put(COLLECTION, name, left | {"said": printable(str(error), _WORDS)}, merge=True),
                *(_resting(store, now) if unanswered else ()),
            ]
        )
        words = f"Not told yet, {tries} times: {error}"
        logs.line("notification", "WARNING", words, "outer", id=name, told=False)
        return "no" if unanswered else "refused"
    sent: Document = {"state": "sent", "tries": tries, "said": ""}
    awake = (
        [Put("progress", _SUBJECT, {"tries": 0, "next": 0.0})]
        if (store.get("progress", _SUBJECT) or {}).get("tries")
        else []
    )
    try:
        store.put([Put(COLLECTION, name, sent, merge=True), *awake])
    except DmzError:
        return "no"  # told once more, under the same id
    logs.line("notification", "INFO", f"Told: {sentence}", "outer", id=name, told=True)
    return "taken"


def _resting(store: Store, now: float) -> Iterator[Put]:
    tries = int((store.get("progress", _SUBJECT) or {}).get("tries", 0)) + 1
    yield Put("progress", _SUBJECT, {"tries": tries, "next": now + _pause(tries, _LONGEST_REST)})


def _pause(tries: int, longest: float) -> float:
    return float(min(60.0 * 2 ** min(tries - 1, 10), longest))


def _safe(sentence: str) -> str:
    """One line, without what must not leave."""
    return printable(_QUERY.sub(r"\1…", _SECRETS.sub("…", " ".join(sentence.split()))), _WORDS)
