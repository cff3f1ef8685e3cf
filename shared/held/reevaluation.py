"""Judging again what is held: the scanner's part of re-evaluation.

`standing/<id>` holds what stands about a package, `decision` and that of each workload. What no document speaks of is
allowed: it was when it came in. A package may stay while one workload that holds it may have it.

1. Each package is judged for every workload that holds it (`shared.held.hearing`).
2. A hold for want of data (old or lacking advisories, facts that the index did not tell) is no answer, nor is that
   nobody could judge for a workload: what stood stands, and an alarm says so. Else a day without data, or a mistake in
   the policy, would empty the repositories. What came in again since it was refused was allowed then.
3. What differs from what stood is published, each package once, and stands from now on; both in one batch, of which
   there may be several.
4. A refused package that is there all the same is published again: it came back, or nobody could evict it.
5. A package of which nobody can be told is an alarm, and ends nothing for the others.
6. A wheel of one's own has a standing of its own beside a package of the index of the same name and version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from shared import alarms, decision_log
from shared.delivery import Outcome
from shared.errors import Transient
from shared.events import Event, HoldingsListed, VerdictChanged, derive
from shared.held import awaiting, hearing
from shared.held.hearing import Answer, Answers, Session
from shared.held_files import RECORDS, package_id, record_id
from shared.model.holdings import Held, Holdings
from shared.model.package import key_of
from shared.model.value import printable, sentence, sha256
from shared.model.verdict import Decision, Verdicts
from shared.policy.bench import BADNESS
from shared.ports.store import Blobs, Document, Put, Store, Write

STANDING = "standing"
_AGAIN, _AGAIN_KEPT = 3600.0, 86_400.0
"""Seconds after which a refused package that is still there is published again; where nobody may delete it."""
_MAX_REASON = 2000
_AT_ONCE = 200
"""Packages that one batch tells of: a transaction ends at 10 MiB (https://cloud.google.com/firestore/quotas)."""
_LEASE = 60.0
"""Seconds in which one such batch is written."""

_LONG = 900
"""Characters of a purl past which the log shortens it, and two might look alike."""
_Told = tuple[tuple[Write, ...], Event]
"""An event, and what is written in one batch with it."""


@dataclass(frozen=True)
class Bench:
    """What judging again needs from the world."""

    store: Store
    blobs: Blobs
    court: hearing.MakeCourt
    clock: Callable[[], float]


# --- judging ---


def judged_again(event: Event, data: HoldingsListed, bench: Bench) -> Outcome:
    """Everything that is held, judged by what is known now; what has changed is published."""
    holdings = Holdings.read(bench.blobs.get(data.holdings), f"The holdings {data.holdings}")
    now = bench.clock()
    court = hearing.Once.of(holdings, bench.court).court
    sessions = hearing.sessions(holdings, court)
    admitted, troubles = awaiting.judged(event, holdings, data.holdings, court, bench.blobs, now)
    answers = hearing.answers(sessions)
    lacking = [why for found in answers.values() for why in found.lacking.values()]
    unanswered = sum(bool(found.lacking) for found in answers.values())
    words = f"{unanswered} of {len(holdings.held)} packages stay as they were judged last: "
    _alarm(bench, "advisories", words, lacking, now)
    _alarm(bench, "awaited", f"{len(troubles)} runs that wait were not judged again: ", troubles, now)
    told = [
        *_told_of(event, data, holdings, answers, bench, now),
        *((tuple[Write, ...](), one) for one in admitted),
    ]
    rest = [told[start : start + _AT_ONCE] for start in range(0, len(told), _AT_ONCE)]
    for part in rest[:-1]:  # 3
        _commit(event, part, bench, now)
    last = rest[-1] if rest else []
    latest = _latest(data, now, len(holdings.held), len(told), unanswered, (lacking or [""])[0])
    return Outcome(
        (*(write for writes, _ in last for write in writes), latest), tuple(one for _, one in last)
    )


def _told_of(
    event: Event,
    data: HoldingsListed,
    holdings: Holdings,
    answers: Mapping[str, Answers],
    bench: Bench,
    now: float,
) -> Iterator[_Told]:
    """What is to be published, each package with what it writes."""
    standing = _standing(bench.store)
    store = _Stored(data.holdings, bench.blobs)
    for held in holdings.held:
        found = _compared(held, answers[held.key], standing.get(held.key, {}), bench.store, now)
        if found is None:
            continue
        verdicts = store.verdicts(found.told.session)
        try:
            published = VerdictChanged(
                purl=held.purl,
                own_wheel=held.subject.own_wheel,
                before=found.before,
                after=found.after,
                reason=found.reason,
                verdicts=verdicts,
            )
        except ValidationError as error:  # 5
            why = f"{held.key[:300]} is to {found.after} now, and cannot be told: {sentence(error, 'Its event')}"
            alarms.sound(bench.store, "kept", held.key, why, now, "scanner")
            continue
        named = {"package": standing_id(held.key)} if len(held.key) > _LONG or held.subject.own_wheel else {}
        logged = decision_log.entry(
            "verdict-changed",
            held.purl,
            found.reason,
            event,
            now,
            stage="scanner",
            about=verdicts,
            before=found.before,
            after=found.after,
            **named,
        )
        stands = Put(STANDING, standing_id(held.key), found.document(verdicts, now))
        yield (stands, logged), derive(event, "verdict-changed", published, stage="scanner", now=now)


def _commit(event: Event, part: Sequence[_Told], bench: Bench, now: float) -> None:
    """One batch of several. Who dies between two finds the first ones standing; the sweep publishes their events."""
    name = sha256(" ".join([event.id, event.replay_id, *(one.id for _, one in part)]).encode())[7:39]
    claim = bench.store.claim(f"scanner:reevaluation:{name}", now, _LEASE)
    if claim.state == "busy":
        raise Transient("Another worker writes the same changed verdicts.")
    if claim.state == "won":
        writes = [write for written, _ in part for write in written]
        bench.store.finish(claim, writes, [one for _, one in part], now)
        decision_log.witnessed(writes)


# --- comparing ---


@dataclass(frozen=True)
class _Change:
    """One package of which something else is decided than stood."""

    held: Held
    before: Decision
    after: Decision
    decision: Decision
    by_workload: Mapping[str, Decision]
    told: Answer
    reason: str = field(default="")

    def document(self, verdicts: str, now: float) -> Document:
        """What stands from now on."""
        return {
            "purl": self.held.purl,
            "own_wheel": self.held.subject.own_wheel,
            "decision": self.decision,
            "before": self.before,
            "reason": self.reason,
            "until": self.told.verdict.until,
            "by_workload": [
                {"workload": name, "decision": decision}
                for name, decision in sorted(self.by_workload.items())
            ],
            "verdicts": verdicts,
            "since": now,
            "evicted": None,
            "kept": None,
        }


def _compared(
    held: Held, found: Answers, stood: Mapping[str, Any], store: Store, now: float
) -> _Change | None:
    """What has changed about a package; None if nothing has, or nobody answers."""
    if not found.given:  # 2
        return None
    before: Decision = stood.get("decision", "allow")
    earlier: dict[str, Decision] = {
        str(each["workload"]): each["decision"] for each in stood.get("by_workload", ())
    }
    decided = {workload: answer.verdict.decision for workload, answer in found.given.items()}
    moved = [name for name in sorted(decided) if decided[name] != earlier.get(name, before)]
    again = bool(found.lacking) and _came_since(held, stood, store)
    decided |= {name: "allow" if again else earlier.get(name, before) for name in found.lacking}
    after = min(decided.values(), key=BADNESS.__getitem__)
    if after == before and not moved and not (after != "allow" and held.files and _came_back(stood, now)):
        return None
    if after == before and moved:
        said = moved[0]
        was, is_now = earlier.get(said, before), decided[said]
        reason = f"for the workload {said or 'of nobody'}: {found.given[said].verdict.reason}"
    else:
        said = min(sorted(found.given), key=lambda name: BADNESS[decided[name]])
        # What is here although it was refused was let in by somebody.
        was, is_now = (before if after != before else "allow"), after
        reason = found.given[said].verdict.reason
        if decided[said] != after:
            reason = f"for want of data another workload has it as before; for {said or 'nobody'}: {reason}"
    return _Change(held, was, is_now, after, decided, found.given[said], printable(reason, _MAX_REASON))


def _came_since(held: Held, stood: Mapping[str, Any], store: Store) -> bool:  # 2
    """Whether a file of it came in after what stands was decided: it was judged, and allowed, then."""
    if "since" not in stood:
        return False
    found = (store.get(RECORDS, record_id(file.repository, file.sha256)) or {} for file in held.files)
    return any(not each.get("evicted") and each.get("came", 0) > stood["since"] for each in found)


def _came_back(stood: Mapping[str, Any], now: float) -> bool:  # 4
    if stood.get("evicted"):
        return True
    pause = _AGAIN_KEPT if stood.get("kept") else _AGAIN
    return now - float(stood.get("since", now)) > pause


# --- the store ---


def standing_id(key: str) -> str:
    """`key` as `shared.model.holdings.key_of` has it: for all but wheels of one's own the purl."""
    return package_id(key)


def _standing(store: Store) -> dict[str, Document]:
    """By the key of what it is about."""
    decisions: tuple[Decision, ...] = ("allow", "hold", "block")
    return {
        key_of(str(fields["purl"]), bool(fields.get("own_wheel"))): fields
        for decision in decisions
        for _, fields in store.find(STANDING, "decision", decision)
    }


@dataclass
class _Stored:
    """Cases and verdicts of those sessions that changed something: an hour in which nothing did leaves nothing."""

    holdings: str
    blobs: Blobs
    _done: dict[int, str] = field(default_factory=dict)

    def verdicts(self, session: Session) -> str:
        if id(session) not in self._done:
            case = self.blobs.put(session.case.canonical())
            made = Verdicts(manifest=self.holdings, case=case, verdicts=session.verdicts)
            self._done[id(session)] = self.blobs.put(made.canonical())
        return self._done[id(session)]


def _latest(data: HoldingsListed, now: float, packages: int, changed: int, unanswered: int, why: str) -> Put:
    """What people see of the last time that all was judged again."""
    fields = {
        "at": now,
        "holdings": data.holdings,
        "packages": packages,
        "changed": changed,
        "unanswered": unanswered,
        "why": printable(why, 500),
    }
    return Put("reevaluations", "latest", fields)


def _alarm(bench: Bench, subject: str, words: str, troubles: Sequence[str], now: float) -> None:
    """Sounded if there are troubles, else over."""
    if troubles:
        alarms.sound(bench.store, "no-data", subject, f"{words}{troubles[0].rstrip('.')}.", now, "scanner")
    else:
        alarms.over(bench.store, "no-data", subject, now)
