"""The data services of a run: each must be appraised before the run is completed, one after the other. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shared.events import AttestationAppraised, Event, NonceRequested, derive
from shared.ports import Document, Put, Write

_SHOWN = 5


@dataclass(frozen=True)
class Waiting:
    """What a run waits for, and what it is completed with."""

    service: str
    deadline: float
    lock: str
    vm: str


def waited_for(run: Document) -> Waiting | None:
    """None unless the run goes on and waits for a data service."""
    found = run.get("attesting")
    if run.get("state") != "running" or run.get("stage") != "attestation" or not found:
        return None
    return Waiting(str(found["service"]), float(found["deadline"]), str(found["lock"]), str(found["vm"]))


def first(run_id: str, service: str, lock: str, vm: str, now: float, patience: float) -> tuple[Write, ...]:
    """The inner VM is done; `patience` in seconds."""
    stages = {"inner": {"ended": now}, "attestation": {"started": now}}
    fields = {"stage": "attestation", "stages": stages}
    return Put("runs", run_id, fields, merge=True), wait(run_id, service, lock, vm, now, patience)


def wait(run_id: str, service: str, lock: str, vm: str, now: float, patience: float) -> Put:
    fields = {"service": service, "deadline": now + patience, "lock": lock, "vm": vm}
    return Put("runs", run_id, {"attesting": fields}, merge=True)


def question(event: Event, service: str, now: float) -> Event:
    """Asks for a nonce, which the service must answer."""
    data = NonceRequested(run_id=event.run_id, service=service)
    return derive(event, "nonce-requested", data, stage="inner", now=now)


def following(services: Sequence[str], service: str) -> str:
    """The next one; empty after the last."""
    place = list(services).index(service) + 1
    return services[place] if place < len(services) else ""


def appraised(data: AttestationAppraised) -> Put:
    """What the run's document learns."""
    fields = data.model_dump(mode="json", exclude={"run_id", "service", "nonce_id"})
    return Put("runs", data.run_id, {"attestation": {data.service: fields}}, merge=True)


def refusal(data: AttestationAppraised) -> str:
    more = len(data.failed_checks) - _SHOWN
    checks = "; ".join(data.failed_checks[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    return f"The data service {data.service} is not what it should be: {checks or 'no check passed'}."


def silence(run: Document, now: float) -> str:
    """Why a run that waits for a data service waits in vain; empty if it may still wait."""
    waiting = waited_for(run)
    if waiting is None or now <= waiting.deadline:
        return ""
    return (
        f"The data service {waiting.service} did not hand in a token in time; see that its workload runs and may read "
        f"its subscription {waiting.service}--nonce-issued, then request the run again."
    )
