"""The decision log: an entry for each decision that changes what may enter. Written once, never changed, kept for ever.

    Outcome((…, entry("refusal", purl, verdict.reason, event, now, stage="scanner", about=digest)), …)

An entry's name follows from its content without the time, so a handler that is tried again writes the same one, and a
second one of that name is refused by the store (`Create`). Firestore has no rights by collection for servers: whoever
may write to the database could change or remove an entry. That does not stay unseen:

1. Each document carries the digest of its content; its name follows from that content as well.
2. The entry `run-ended` of a run lists the digests of all its others.
3. Every entry is a line of the stage's log too, with its digest (`witnessed`), which nobody who may write to the
   database may change.

`altered` checks 1 and 2; `./dmz decisions --verify` shows what it finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from shared import logs
from shared.errors import Permanent
from shared.events import Event, timestamp
from shared.model.decision import Cause, Detail, Kind, LoggedDecision
from shared.model.value import canonical, printable, sha256
from shared.ports.store import Create, Document, Write

_LISTED = 100
"""Items of a list that an entry names; what it is about holds them all."""


def entry(
    kind: Kind,
    subject: str,
    reason: str,
    cause: Event,
    now: float,
    *,
    stage: str = "",
    actor: str = "",
    about: str = "",
    run_id: str | None = None,
    **details: Detail | Sequence[str],
) -> Create:
    """The write of one entry, for the batch that the decision itself is written in.

    `actor` is who decided, if it was a person; else it is the `stage`. `about` is a digest. The run is the event's own
    unless it is given.
    """
    kept = LoggedDecision(
        kind=kind,
        subject=printable(subject, 1000),
        reason=printable(" ".join(reason.split()), 2000),
        at=timestamp(now),
        actor=printable(actor, 500) or f"/package-dmz/{stage or 'operator'}",
        run_id=cause.run_id if run_id is None else run_id,
        about=about,
        cause=Cause(type=cause.type, id=cause.id, source=cause.source),
        details={name: _detail(value) for name, value in details.items()},
    )
    return Create("decisions", id_of(kept), document(kept))


def ended(
    run_id: str, state: str, reason: str, earlier: Iterable[Mapping[str, Any]], cause: Event, now: float
) -> Create:
    """The last entry of a run: it names all others, `earlier`, so that none can go unnoticed."""
    digests = sorted(str(each["digest"]) for each in earlier if each.get("kind") != "run-ended")
    made = entry(
        "run-ended", run_id, reason or f"The run has {state}.", cause, now, stage="inner", run_id=run_id
    )
    kept = read(made.fields).model_copy(update={"details": {"state": state, "entries": tuple(digests)}})
    return Create("decisions", run_id + "-ended", document(kept))


def without(writes: Iterable[Write], run_id: str) -> tuple[Write, ...]:
    """`writes` without a run's entries, but for its last one."""

    def belongs(each: Write) -> bool:
        if not run_id or not isinstance(each, Create) or each.collection != "decisions":
            return False
        return bool(each.fields["run_id"] == run_id and each.fields["kind"] != "run-ended")

    return tuple(each for each in writes if not belongs(each))


def witnessed(writes: Iterable[Write]) -> None:
    """A line of the stage's log for each entry among `writes`, which were written."""
    for each in writes:
        if isinstance(each, Create) and each.collection == "decisions":
            fields = each.fields
            logs.line(
                "decision-logged",
                "INFO",
                f"{fields['kind']} {fields['subject']}: {fields['reason']}",
                str(fields["actor"]).removeprefix("/package-dmz/"),
                id=each.id,
                digest=str(fields["digest"]),
                run_id=str(fields["run_id"]),
            )


def document(kept: LoggedDecision) -> Document:
    """As it is stored: the entry, its digest, and the month by which a time is found."""
    return {**kept.model_dump(mode="json"), "digest": kept.digest, "month": kept.at[:7]}


def id_of(kept: LoggedDecision) -> str:
    """Of the entry's document: the same for the same decision out of the same event, whenever it is made."""
    said = kept.model_dump(mode="json", exclude={"at"})
    return sha256(canonical(said))[7:39]


def read(found: Mapping[str, Any]) -> LoggedDecision:
    """The entry of a document; Permanent if it is none."""
    fields = {key: value for key, value in found.items() if key not in ("digest", "month")}
    return LoggedDecision.check(fields, "An entry of the decision log")


def altered(found: Mapping[str, Document]) -> Iterator[str]:
    """What gives away that the log was tampered with, a sentence each. `found`: by name, whole runs.

    1. Each document is an entry whose content has the digest that it names. 2. It bears the name that follows from it.
    3. Of a run that ended every entry is there that its last one lists, and no other.
    """
    kept: dict[str, LoggedDecision] = {}
    for id, fields in found.items():
        shown = printable(id, 60)
        try:
            kept[id] = one = read(fields)
        except Permanent as error:
            yield f"{shown} is no entry any more: {error}"
            continue
        if one.digest != fields.get("digest") or one.at[:7] != fields.get("month"):  # 1
            yield f"{shown} ({one.kind} {printable(one.subject, 200)}) has been changed: its digest is another one."
        if id != (f"{one.run_id}-ended" if one.kind == "run-ended" else id_of(one)):  # 2
            yield f"{shown} ({one.kind} {printable(one.subject, 200)}) does not bear its own name."
    for one in kept.values():
        if one.kind == "run-ended":
            yield from _unlisted(one, [each for each in kept.values() if each.run_id == one.run_id])


def _unlisted(last: LoggedDecision, entries: Sequence[LoggedDecision]) -> Iterator[str]:
    given = last.details.get("entries")
    listed = set(given if isinstance(given, tuple) else ())
    there = {each.digest: each for each in entries if each.kind != "run-ended"}
    if gone := len(listed - there.keys()):
        yield f"{gone} of {len(listed)} entries of {last.run_id} are gone or have been changed."
    for digest in sorted(there.keys() - listed):  # 3
        more = there[digest]
        yield f"{more.kind} {printable(more.subject, 200)} was put into {last.run_id} after that had ended."


def _detail(value: Detail | Sequence[str]) -> Detail:
    if isinstance(value, str):
        return printable(value, 1000)
    if value is None or isinstance(value, bool | int):
        return value
    return tuple(printable(each, 300) for each in value[:_LISTED])
