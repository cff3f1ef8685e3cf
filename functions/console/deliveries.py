"""The events of a run, found by the ids that follow from what its documents say (`shared.events.derived_id`).

A claim holds who handled an event, how often it was tried and why it was given back; it does not name its run. So the
ids are derived again: each of the chain's events has one that follows from run, type and subject. An event that was
replayed under another `replay-id` is another event, and is not among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.console.words import number
from shared.events import SUBSCRIBERS, derived_id
from shared.readings import Readings

_ON_THE_WAY = ("manifest-published", "verdicts-written", "sync-completed")
_MOST = 400
"""Events that are looked up."""


@dataclass(frozen=True)
class Sent:
    """One event that the run's documents imply."""

    type: str
    id: str
    about: str
    """What tells it from others of its type."""


@dataclass(frozen=True)
class Delivery:
    """One event as one stage took it."""

    event: Sent
    stage: str
    state: str
    """handled, at work, given back."""
    attempt: int
    generation: int
    finished: float | None
    reason: str
    """Why it was given back the last time; stays when a later attempt succeeded."""


def deliveries(readings: Readings, run_id: str, run: Mapping[str, Any]) -> list[Delivery]:
    """In the order in which they were finished; those under way last."""
    sent = list(_sent(readings, run_id, run))[:_MOST]
    keys = {f"{stage}:{each.type}:{each.id}": (stage, each) for each in sent for stage in _takers(each.type)}
    claims = readings.several("claims", list(keys))
    found = [_delivery(*keys[key], claim) for key, claim in claims.items() if key in keys]
    return sorted(found, key=lambda each: (each.finished is None, each.finished or 0.0, each.event.type))


def _sent(readings: Readings, run_id: str, run: Mapping[str, Any]) -> Iterator[Sent]:
    if request := run.get("request"):
        yield Sent("run-requested", str(request), "")
    for _, vm in _of_run(readings, "vms", run_id, ("report", "kind")):
        if vm.get("report"):
            yield Sent(f"{vm.get('kind')}-install-completed", str(vm["report"]), f"{vm.get('kind')} VM")
    for topic in _ON_THE_WAY:
        yield Sent(topic, derived_id(run_id, topic), "")
    for _, sync in _of_run(readings, "syncs", run_id, ("shards", "plan")):
        plan = str(sync.get("plan", ""))
        for shard in range(min(int(number(sync.get("shards")) or 0), _MOST)):
            yield Sent(
                "sync-shard-planned",
                derived_id(run_id, "sync-shard-planned", f"{plan} {shard}"),
                f"shard {shard}",
            )
    yield from _attested(readings, run_id)
    yield Sent("run-failed", derived_id(run_id, "run-failed"), "")


def _attested(readings: Readings, run_id: str) -> Iterator[Sent]:
    nonces = {
        id: str(nonce.get("service", "")) for id, nonce in _of_run(readings, "nonces", run_id, ("service",))
    }
    asked = readings.among("nonce-requests", "nonce_id", list(nonces)[:30], 30) if nonces else ()
    for id, request in asked:  # asked for under a secret, so the id follows from nothing that is stored
        service = nonces.get(str(request.get("nonce_id")), "")
        yield Sent("nonce-requested", id, service)
    fields = ("service", "nonce_id", "token", "result")
    for id, appraisal in _of_run(readings, "appraisals", run_id, fields):
        service = str(appraisal.get("service", ""))
        yield Sent("attestation-requested", id, service)
        subject = f"{appraisal.get('nonce_id')} {appraisal.get('token')} {appraisal.get('result')}"
        yield Sent("attestation-appraised", derived_id(run_id, "attestation-appraised", subject), service)


def _of_run(
    readings: Readings, collection: str, run_id: str, only: Sequence[str]
) -> Sequence[tuple[str, Mapping[str, Any]]]:
    return readings.among(collection, "run_id", [run_id], 50, only)


def _takers(topic: str) -> list[str]:
    return [stage for stage, topics in SUBSCRIBERS.items() if topic in topics]


def _delivery(stage: str, event: Sent, claim: Mapping[str, Any]) -> Delivery:
    done = claim.get("done") is True
    held = (number(claim.get("until")) or 0) > 0
    return Delivery(
        event=event,
        stage=stage,
        state="handled" if done else "at work" if held else "given back",
        attempt=int(number(claim.get("attempt")) or 1),
        generation=int(number(claim.get("generation")) or 1),
        finished=number(claim.get("finished")),
        reason=str(claim.get("reason", "")),
    )
