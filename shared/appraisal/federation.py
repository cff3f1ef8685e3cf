"""What Google Cloud must be told so that a key is released to exactly the workload that a policy admits.

A Workload Identity pool provider takes Confidential Space's OIDC tokens under a condition (cel.py); a principal set
names the tokens of one image digest; a role on a key is granted to that principal set, with a condition that ends when
the reference value does. As a value that Terraform (`jsondecode(file(…))`) and people read:
google_iam_workload_identity_pool_provider takes `provider` as it is, google_kms_crypto_key_iam_member each of `images`.
https://cloud.google.com/confidential-computing/confidential-space/docs/create-grant-access-confidential-resources

Nothing is exported, numbered at the code: 1. for another issuer than Google's; 2. without an image; 3. from a
reference value of another image, 4. that is disputed or revoked, 5. that is not in force, 6. that too few builders
agreed on, 7. that another one contradicts, 8. whose configuration is not the one that it names; 9. for arguments that
the policy does not take.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from shared.appraisal import cel
from shared.errors import Permanent
from shared.model.appraisal import GOOGLE, AppraisalPolicy, ByDigests, ByReference
from shared.model.reference import ReferenceValue
from shared.model.value import printable, sha256

FORMAT = "package-dmz/attestation-export/v1"
AUDIENCE = "https://sts.googleapis.com"
"""A token for the Security Token Service is asked for by this name, and is none for us."""
_MAPPING = {
    # Of one VM and its image; at most 127 characters
    "google.subject": "'gcpcs::' + assertion.submods.container.image_digest + '::' + "
    "assertion.submods.gce.project_number + '::' + assertion.submods.gce.instance_id",
    "attribute.image_digest": "assertion.submods.container.image_digest",
}
_NUMBER = re.compile(r"[1-9][0-9]{0,19}", re.ASCII)
_POOL = re.compile(r"(?!gcp-)[a-z0-9-]{4,32}", re.ASCII)


def export(
    policy: AppraisalPolicy,
    references: Sequence[ReferenceValue],
    now: float,
    project_number: str = "",
    pool: str = "",
) -> dict[str, Any]:
    """The settings as JSON-like data: the same arguments give the same settings, in whatever order references come.

    `project_number` and `pool` (both or none) name the pool, and with it the principal sets in full.
    """
    if policy.issuer != GOOGLE:  # 1
        raise Permanent(f"The policy's issuer is {policy.issuer}; a pool trusts {GOOGLE} alone.")
    _check_pool(project_number, pool)
    if isinstance(policy.reference, ByDigests):
        if references:
            raise Permanent(
                f"The policy of {policy.service} pins digests itself; leave the reference values out."
            )
        images = [
            cel.Image((each.image_digest,), each.image_id, each.args) for each in policy.reference.images
        ]
        ends: dict[str, ReferenceValue] = {}
    else:
        valid = _valid(policy, policy.reference, references, now)
        images = [cel.Image(_digests(each), each.config, _args(each)) for each in valid]
        ends = {digest: each for each in valid for digest in _digests(each)}
    images = sorted(set(images), key=lambda each: (each.digests, each.config, each.args))
    return {
        "format": FORMAT,
        "service": policy.service,
        "policy": policy.digest,
        "references": sorted({each.digest for each in ends.values()}),
        "provider": {
            "oidc": {"issuer_uri": f"{GOOGLE}/", "allowed_audiences": [AUDIENCE]},
            "attribute_mapping": dict(_MAPPING),
            "attribute_condition": cel.condition(policy, images),
        },
        "images": [
            _grant(digest, each.config, ends.get(digest), project_number, pool)
            for each in images
            for digest in each.digests
        ],
        "left_to_appraisal": list(cel.UNSAID),
    }


def _valid(
    policy: AppraisalPolicy, rule: ByReference, references: Sequence[ReferenceValue], now: float
) -> list[ReferenceValue]:
    if not references:  # 2
        raise Permanent(f"No reference value of {policy.image} was given; the condition would admit nothing.")
    for each in references:
        if each.image != policy.image:  # 3
            raise Permanent(f"{_named(each)} is of another image than the policy's, {policy.image}.")
        if each.state != "agreed":  # 4
            why = printable(each.reason, 500) or "no reason is given"
            raise Permanent(f"{_named(each)} is {each.state}: {why}.")
    for each in references:
        named = _named(each)
        if not each.agreed <= now < each.expires:  # 5
            raise Permanent(
                f"{named} is not in force: it is from {_rfc(each.agreed)} to {_rfc(each.expires)}."
            )
        needed = max(each.threshold, rule.minimum_builders)
        if len(set(each.builders)) < needed:  # 6
            raise Permanent(f"{named} has {len(set(each.builders))} builders; {needed} are needed.")
        for other in references:  # 7
            same = (other.revision, other.lock) == (
                each.revision,
                each.lock,
            ) or other.manifest == each.manifest
            if same and (other.manifest, other.config) != (each.manifest, each.config):
                raise Permanent(f"{named} is contradicted by one with {other.manifest} and {other.config}.")
        if sha256(each.config_json.encode(errors="surrogatepass")) != each.config:  # 8
            raise Permanent(f"{named} holds another configuration than the one that it names.")
        if policy.args not in ("image", _args(each)):  # 9
            raise Permanent(f"{named} starts with other arguments than the policy of {policy.service} takes.")
    return list(references)


def _named(reference: ReferenceValue) -> str:
    return f"The reference value of {reference.image} with the manifest {reference.manifest}"


def _digests(reference: ReferenceValue) -> tuple[str, ...]:
    return tuple(sorted({reference.manifest, *([reference.index] if reference.index else [])}))


def _args(reference: ReferenceValue) -> tuple[str, ...]:
    found = reference.configuration
    return found.entrypoint + found.cmd


def _grant(
    digest: str, config: str, reference: ReferenceValue | None, project_number: str, pool: str
) -> dict[str, Any]:
    attribute = f"attribute.image_digest/{digest}"
    found: dict[str, Any] = {"image_digest": digest, "image_id": config, "principal_attribute": attribute}
    if pool:
        found["principal_set"] = (
            f"principalSet://iam.googleapis.com/projects/{project_number}/locations/global/"
            f"workloadIdentityPools/{pool}/{attribute}"
        )
    if reference:
        found["builders"] = list(reference.builders)
        found["condition"] = {
            "title": "Until the reference value expires",
            "expression": f"request.time < timestamp({cel.literal(_rfc(reference.expires))})",
        }
    return found


def _check_pool(project_number: str, pool: str) -> None:
    if not project_number and not pool:
        return
    if not _NUMBER.fullmatch(project_number):
        raise Permanent(
            f"'{printable(project_number, 60)}' is no project number; give the number, not the id."
        )
    if not _POOL.fullmatch(pool):
        raise Permanent(
            f"'{printable(pool, 60)}' is no pool id: 4 to 32 of a-z, 0-9 and -, and not beginning with gcp-."
        )


def _rfc(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError) as error:
        raise Permanent(f"{seconds} s since 1970 is no time of any calendar.") from error
