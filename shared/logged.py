"""Which entries of the decision log a stage's decisions come to: each goes into the batch of the decision itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from shared.decision_log import ended, entry
from shared.delivery import Outcome
from shared.events import DeadLetterDropped, Event
from shared.model.case import Case
from shared.model.lock import Change, Lock
from shared.model.value import Digest
from shared.model.verdict import Verdict, Verdicts
from shared.ports.store import Create, Document, Put, Store, Write

_REFUSALS = 200
"""Refused packages with an entry of their own, the blocked ones first; the stored verdicts name all."""
_WORST_FIRST = {"block": 0, "hold": 1}


def judged(
    event: Event, case: Case, stored: Verdicts, digest: Digest, store: Store, now: float
) -> tuple[Write, ...]:
    """The scanner has judged a manifest."""
    counts = Counter(verdict.decision for verdict in stored.verdicts)
    refused = sorted(
        (verdict for verdict in stored.verdicts if verdict.decision != "allow"),
        key=lambda verdict: (_WORST_FIRST[verdict.decision], verdict.package.purl),
    )
    source = case.source
    summary = entry(
        "verdicts",
        case.workload or event.run_id,
        f"{counts['allow']} packages may enter, {counts['hold']} are held, {counts['block']} are blocked",
        event,
        now,
        stage="scanner",
        about=digest,
        allow=counts["allow"],
        hold=counts["hold"],
        block=counts["block"],
        refusals_with_an_entry=min(len(refused), _REFUSALS),
        policy=case.policy.digest,
        policy_name=case.policy.name,
        case=stored.case,
        advisories=source.digest,
        advisories_source=source.source,
        advisories_date=source.date,
    )
    return (
        *_policy(event, case, store.get("policies", "current"), now),
        summary,
        *(_refusal(event, verdict, digest, now) for verdict in refused[:_REFUSALS]),
        *leaning(event, stored.verdicts, digest, "scanner", now),
    )


def _policy(event: Event, case: Case, before: Document | None, now: float) -> tuple[Write, ...]:
    """Nobody announces a policy: it is a file. That another one counts is noticed when it is first judged by."""
    policy = case.policy
    if before and before.get("digest") == policy.digest:
        return ()
    last = f"instead of {before.get('name')}" if before else "the first one"
    said = entry(
        "policy-changed",
        policy.name,
        f"from now on packages are judged by the policy {policy.name}, {last}",
        event,
        now,
        stage="scanner",
        about=policy.digest,
        before=str(before.get("digest", "")) if before else "",
    )
    fields = {"digest": policy.digest, "name": policy.name, "since": now}
    return Put("policies", "current", fields), said


def _refusal(event: Event, verdict: Verdict, digest: Digest, now: float) -> Create:
    return entry(
        "refusal",
        verdict.package.purl,
        verdict.reason,
        event,
        now,
        stage="scanner",
        about=digest,
        decision=verdict.decision,
        advisories=tuple(finding.id for finding in verdict.findings),
        until=verdict.until,
    )


def leaning(
    event: Event, verdicts: Iterable[Verdict], digest: Digest, stage: str, now: float
) -> tuple[Create, ...]:
    """An entry for each waiver by which a package got in."""
    used: dict[str, list[str]] = defaultdict(list)
    for verdict in verdicts:
        for waiver in verdict.waivers if verdict.decision == "allow" else ():
            used[waiver].append(verdict.package.purl)
    return tuple(
        entry(
            "waiver-used",
            waiver,
            f"it lets {len(purls)} packages in",
            event,
            now,
            stage=stage,
            about=digest,
            packages=tuple(purls),
        )
        for waiver, purls in sorted(used.items())
    )


def locked(event: Event, lock: Lock, judged: Mapping[str, Verdict], now: float) -> tuple[Create, ...]:
    """The sync stage has made a lock: an entry for each replacement.

    `judged`: by purl, what was looked at on the way, if waivers are in force.
    """
    changes = {(change.before.purl, change.after.purl): change for change in lock.changes}
    brought = [judged[after] for _, after in changes if after in judged]
    return (
        *(
            entry(
                "replacement",
                before,
                f"{_instead(change)}: {change.reason}",
                event,
                now,
                stage="sync",
                about=lock.digest,
                after=after,
                advisories=change.advisories,
                required_by=change.required_by,
            )
            for (before, after), change in sorted(changes.items(), key=lambda item: item[0])
        ),
        *leaning(event, {each.package.purl: each for each in brought}.values(), lock.digest, "sync", now),
    )


def _instead(change: Change) -> str:
    """What becomes of a package, for people."""
    if change.kind == "added":
        return "it comes in besides"
    return "nothing takes its place" if change.kind == "dropped" else f"{change.after.purl} takes its place"


def run_ended(
    event: Event, run_id: str, state: str, reason: str, store: Store, now: float, new: Iterable[Write] = ()
) -> tuple[Create, ...]:
    """The last entry of a run, once. `new` are writes of the same batch: entries among them are listed, too."""
    last = f"{run_id}-ended"
    if not run_id or store.get("decisions", last):
        return ()
    found: list[Mapping[str, Any]] = [fields for _, fields in store.find("decisions", "run_id", run_id)]
    found += [each.fields for each in new if isinstance(each, Create) and each.collection == "decisions"]
    return (ended(run_id, state, reason, found, cause=event, now=now),)


def dropped(event: Event, data: DeadLetterDropped, now: float) -> Create:
    """A person has dropped a dead letter. It belongs to no run: what stands in a run that has ended is closed."""
    return entry(
        "dead-letter-dropped",
        f"{data.topic} {data.message}",
        data.reason,
        event,
        now,
        actor=data.by,
        about=data.body,
        run_id="",
        run=data.run,
        failure=data.failure,
    )


def with_end(outcome: Outcome, ending: Iterable[Create]) -> Outcome:
    """The outcome, and the entry that belongs into its batch."""
    return Outcome((*outcome.writes, *ending), outcome.events, outcome.told)
