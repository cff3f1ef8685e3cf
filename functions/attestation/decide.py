"""Pure decisions of the attestation stage: nonces, freshness, and what builders' votes come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.appraisal import votes
from shared.appraisal.builders import Builders
from shared.appraisal.votes import Dispute, Undecided, Vote
from shared.errors import Permanent
from shared.events import (
    AttestationAppraised,
    AttestationRequested,
    Event,
    NonceIssued,
    ReferenceChanged,
)
from shared.model.appraisal import AppraisalPolicy, AppraisalResult, Check
from shared.model.provenance import Source
from shared.model.reference import ReferenceValue
from shared.model.value import Digest, sha256
from shared.ports.store import Document, Put

Configs = Callable[[Digest], str]
"""An image configuration by its digest."""


# --- reference values -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """What is known of one image built from one source and lock."""

    source: Source
    outcome: ReferenceValue | Undecided | Dispute
    references: tuple[ReferenceValue, ...]
    """What an appraisal compares with: also those that block, with why."""


def standings(
    cast: Sequence[Vote], revocations: Sequence[Document], builders: Builders, configs: Configs, now: float
) -> tuple[Standing, ...]:
    """All votes on one image, tallied source by source. `revocations`: {manifest, reason} of that image."""
    revoked = {str(each["manifest"]): str(each["reason"]) for each in revocations}
    groups = votes.grouped(cast)
    return tuple(
        _standing(source, groups[source], revoked, builders, configs, now) for source in sorted(groups)
    )


def _standing(
    source: Source,
    group: Sequence[Vote],
    revoked: dict[str, str],
    builders: Builders,
    configs: Configs,
    now: float,
) -> Standing:
    outcome = _tallied(group, builders, configs, now)
    match outcome:
        case ReferenceValue():
            if outcome.manifest in revoked:
                outcome = votes.revoked(outcome, revoked[outcome.manifest])
            references: tuple[ReferenceValue, ...] = (outcome,)
        case Dispute():
            counted = [vote for vote in group if vote.build.manifest in outcome.manifests]
            references = tuple(_disputed(vote, outcome, builders, configs) for vote in counted)
        case _:
            references = ()
    return Standing(source, outcome, references)


def _tallied(
    group: Sequence[Vote], builders: Builders, configs: Configs, now: float
) -> ReferenceValue | Undecided | Dispute:
    """A vote that no longer counts may have brought another configuration: the one that was agreed on is among them."""
    trouble = Permanent("Nobody has voted.")
    for config in sorted({vote.build.config for vote in group}):
        try:
            return votes.tally(group, builders, configs(config), now)
        except Permanent as error:
            trouble = error
    raise trouble


def _disputed(vote: Vote, dispute: Dispute, builders: Builders, configs: Configs) -> ReferenceValue:
    """One of the digests that builders disagree about: whoever runs it is refused, and told why."""
    build = vote.build
    return ReferenceValue(
        image=build.image,
        revision=build.revision,
        lock=build.lock,
        manifest=build.manifest,
        config=build.config,
        config_json=configs(build.config),
        builders=dispute.builders,
        threshold=builders.threshold,
        statements=(build.statement,),
        agreed=build.finished,
        expires=build.finished + builders.validity_seconds,
        state="disputed",
        reason=dispute.reason,
    )


def reference_id(source: Source) -> str:
    return sha256(" ".join(source).encode())[7:39]


def reference_document(standing: Standing) -> Document:
    """What people and the console read; an appraisal tallies the votes again."""
    source, outcome = standing.source, standing.outcome
    fields: Document = {"image": source.image, "revision": source.revision, "lock": source.lock}
    fields |= {"manifest": None, "config": None, "agreed": None, "expires": None}
    match outcome:
        case ReferenceValue():
            known = {"state", "manifest", "config", "reason", "agreed", "expires"}
            fields |= outcome.model_dump(mode="json", include=known)
        case Dispute():
            fields |= {"state": "disputed", "reason": outcome.reason}
        case Undecided():
            fields |= {"state": "undecided", "reason": outcome.reason}
    return fields | {"builders": list(outcome.builders)}


def changed(standing: Standing) -> ReferenceChanged | None:
    """What the world hears; nothing as long as too few builders have spoken."""
    outcome = standing.outcome
    if isinstance(outcome, Undecided):
        return None
    about = {"image": standing.source.image, "revision": standing.source.revision}
    if isinstance(outcome, Dispute):
        return ReferenceChanged(**about, state="disputed", builders=outcome.builders, reason=outcome.reason)
    return ReferenceChanged(
        **about,
        state=outcome.state,
        manifest=outcome.manifest,
        config=outcome.config,
        builders=outcome.builders,
        reason=outcome.reason,
    )


# --- nonces and freshness ---------------------------------------------------------------------------------------


def waits(run: Document | None, service: str) -> bool:
    """Whether a run is waiting for this service to be appraised."""
    attesting = (run or {}).get("attesting") or {}
    return (run or {}).get("state") == "running" and attesting.get("service") == service


def nonce_document(
    service: str, run_id: str, nonce: str, policy: AppraisalPolicy, kind: str | None, now: float, seconds: int
) -> Document:
    """Permanent if the policy takes no token of that kind."""
    kind = kind or policy.token_types[0]
    if kind not in policy.token_types:
        raise Permanent(
            f"The policy of {service} takes tokens of the kind {' or '.join(policy.token_types)}, not {kind}; ask for "
            "one of those."
        )
    return {
        "service": service,
        "run_id": run_id,
        "nonce": nonce,
        "audience": policy.audience,
        "token_type": kind,
        "issued": int(now),
        "expires": int(now) + seconds,
    }


def issued(name: str, document: Document) -> NonceIssued:
    fields = {key: value for key, value in document.items() if key != "issued"}
    return NonceIssued.check(fields | {"nonce_id": name}, "The stored nonce")


def answers(asked: Document | None, data: AttestationRequested, now: float) -> tuple[str, str, str]:
    """(name, input, why not) of the first thing that keeps a nonce from being used here; why not is empty if none.

    1. We know the nonce. 2. It was issued to this service. 3. And for this run, if the request names one.
    4. Its time is not over.
    """
    name = "nonce issued"
    if asked is None:  # 1
        return (
            name,
            data.nonce_id,
            "we neither issued nor registered this nonce: ask for one by nonce-requested",
        )
    if asked["service"] != data.service:  # 2
        return (
            name,
            data.nonce_id,
            f"the nonce was issued to the service {asked['service']}, not to {data.service}",
        )
    if data.run_id not in ("", asked["run_id"]):  # 3
        return (
            name,
            data.nonce_id,
            f"the nonce was issued for {asked['run_id'] or 'no run'}, not for {data.run_id}",
        )
    if now > asked["expires"]:  # 4
        late = now - float(asked["expires"])
        return name, data.nonce_id, f"the nonce expired {late:.0f} s ago: ask for a new one"
    return name, data.nonce_id, ""


def with_freshness(result: AppraisalResult, asked: Sequence[tuple[str, str, str]]) -> AppraisalResult:
    """The result with the checks that need the store; `asked` holds (name, input, why not)."""
    checks = list(result.checks)
    for name, given, trouble in asked:
        checks.append(
            Check(
                number=len(checks) + 1,
                name=name,
                input=given,
                answer="failed" if trouble else "passed",
                sentence=trouble or "Holds.",
            )
        )
    accepted = all(check.answer == "passed" for check in checks)
    fields = result.model_dump(mode="json") | {
        "decision": "accepted" if accepted else "refused",
        "valid_until": result.valid_until if accepted else 0,
        "checks": [check.model_dump(mode="json") for check in checks],
    }
    return AppraisalResult.check(fields, "The appraisal")


def appraised(
    data: AttestationRequested, run_id: str, result: AppraisalResult, stored: Digest, summary: Digest | None
) -> AttestationAppraised:
    return AttestationAppraised(
        run_id=run_id,
        service=data.service,
        nonce_id=data.nonce_id,
        decision=result.decision,
        failed_checks=tuple(
            f"{check.number} {check.name}: {check.sentence}"[:1000] for check in result.failed
        ),
        image_digest=result.image_digest[:200],
        builders=result.builders,
        token=result.token,
        result=stored,
        summary=summary,
        checks=len(result.checks),
    )


def told(result: AppraisalResult, run_id: str) -> tuple[str, dict[str, str | bool | list[str]]]:
    """The log line about an appraisal, its sentence and its fields.

    Checks by number and name alone: their sentences quote the token, and a nonce that is spent here may be good
    elsewhere.
    """
    failed = [f"{check.number} {check.name}" for check in result.failed]
    accepted = result.decision == "accepted"
    why = f": {', '.join(failed)}" if failed else ""
    sentence = f"The data service {result.service} was {result.decision}{why}."
    fields: dict[str, str | bool | list[str]] = {
        "accepted": accepted,
        "service": result.service,
        "policy": result.policy,
        "failed_checks": failed,
        "run_id": run_id,
    }
    return sentence, fields


def record(event: Event, data: AttestationAppraised, now: float) -> Put:
    """The appraisal's document, by the event that asked for it."""
    return Put("appraisals", event.id, data.model_dump(mode="json") | {"at": now})
