"""`appraise`: may this Confidential Space token be believed, and does its machine run what was built from source?

The one public function of this room. It is pure: the token, the policy, the keys, the reference values, the nonce and
the time are arguments; nothing is fetched, stored or logged. Fetch keys with shared.upstream.jwks; the nonce must come
from whoever issued it, never from the token's sender.

The checks are CHECKS, in order; a check's number is its place, from 1. Each is asked of every token that got so far:
1-8 the envelope, 9-16 the key and the signature, 17-18 the payload, 19-40 the claims, 41-47 the image.
The first eighteen end the appraisal when they fail (what comes later would read what nobody signed); from 19 on all are
asked, so that a refusal names everything that is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from shared.appraisal import chain, claims, digests, overrides
from shared.appraisal import token as envelope
from shared.appraisal.case import Case, Question, Refused, shown
from shared.appraisal.keys import TrustedKeys
from shared.errors import Permanent
from shared.model.appraisal import AppraisalPolicy, AppraisalResult, Check
from shared.model.reference import ReferenceValue
from shared.model.value import Part

CHECKS: tuple[Question, ...] = (
    # 1-8: the envelope
    Question("size", envelope.size, "The token has a size that is read.", ends=True),
    Question("form", envelope.form, "Header, payload and signature are there.", ends=True),
    Question("encoding", envelope.encoding, "Each part is canonical base64url.", ends=True),
    Question("header", envelope.header_json, "The header is strict JSON.", ends=True),
    Question("algorithm", envelope.algorithm, "The algorithm is RS256.", ends=True),
    Question("type", envelope.kind, "The type is JWT.", ends=True),
    Question("header fields", envelope.header_fields, "The header has its fields and no others.", ends=True),
    Question("token type", envelope.token_type, "The policy takes this type of token.", ends=True),
    # 9-16: the key and the signature
    Question("certificates", chain.certificates, "Three certificates can be read.", ends=True),
    Question("pinned root", chain.pinned_root, "The root is the pinned one.", ends=True),
    Question("strength", chain.strength, "Keys and signatures are strong enough.", ends=True),
    Question("authorities", chain.authorities, "Authorities are, and the leaf is none.", ends=True),
    Question("order", chain.order, "Leaf, intermediate and root are a chain.", ends=True),
    Question("chain validity", chain.validity, "Every certificate is valid now.", ends=True),
    Question("key id", envelope.key_id, "The key id names the key.", ends=True),
    Question("signature", envelope.signature, "The signature holds.", ends=True),
    # 17-18: the payload
    Question("payload", claims.payload_json, "The payload is strict JSON.", ends=True),
    Question("layout", claims.layout, "The claims are where they belong.", ends=True),
    # 19-40: the claims
    Question("issuer", claims.issuer, "The issuer is the policy's."),
    Question("audience", claims.audience, "The token was made for us."),
    Question("times", claims.times, "The times are times, and in order."),
    Question("lifetime", claims.lifetime, "The token does not live too long.", needs="times"),
    Question("current", claims.current, "The token has begun and not expired.", needs="times"),
    Question("age", claims.age, "The token is young enough.", needs="times"),
    Question("nonce", claims.nonce, "The nonce rule is kept."),
    Question("hardware", claims.hardware, "The machine is of a kind that the policy takes."),
    Question("software", claims.software, "The machine runs Confidential Space."),
    Question("debugging", claims.debugging, "Debugging has been off since boot."),
    Question("secure boot", claims.secure_boot, "Secure boot is on."),
    Question("maker", claims.maker, "The machine is Google's."),
    Question("support", claims.support, "The Confidential Space image is a supported one."),
    Question("software version", claims.software_version, "The Confidential Space image is recent enough."),
    Question("trusted base", claims.trusted_base, "The firmware's state is one that the policy takes."),
    Question("GPU", claims.gpu, "The GPU, or its absence, is as the policy wants it."),
    Question("monitoring", claims.monitoring, "Monitoring is as the policy wants it."),
    Question("place", claims.place, "The machine is in a project and zone that the policy takes."),
    Question("service accounts", claims.accounts, "The workload runs as an allowed account."),
    Question("environment overrides", overrides.environment, "No variable was overridden that may not be."),
    Question("command override", overrides.command, "The command was not overridden."),
    Question("signers", claims.signers, "As many allowed keys signed the image as are asked for."),
    # 41-47: the image
    Question("image digest", digests.image_digest, "The image is a known one."),
    Question("image id", digests.image_id, "Its configuration is the known one.", needs="image digest"),
    Question("agreement", digests.agreement, "Nobody says otherwise about this image.", needs="image id"),
    Question(
        "reference expiry",
        digests.expiry,
        "The reference value is in force, if there is one.",
        needs="image id",
    ),
    Question(
        "reference digest",
        digests.own_digest,
        "The reference value proves itself, if there is one.",
        needs="reference expiry",
    ),
    Question("environment", digests.environment, "The environment is the image's.", needs="reference digest"),
    Question("arguments", digests.arguments, "The arguments are the image's.", needs="reference digest"),
)


P = TypeVar("P", bound=Part)
_SET = object.__setattr__
_FIELDS: dict[type[Part], set[str]] = {each: set(each.model_fields) for each in (AppraisalResult, Check)}
NOT_REACHED = "Not asked, since an earlier check failed."
DEFECT = "The check itself failed on this token, so it is refused; please report it."
_REMEMBERED = 1024


def appraise(
    token: str | bytes,
    policy: AppraisalPolicy,
    keys: TrustedKeys,
    references: Sequence[ReferenceValue],
    nonce: str | None,
    now: float,
) -> AppraisalResult:
    """The answer about `token`, with every check, its input and a sentence; never an exception for a bad token.

    `token`: a JWT in compact form, without white space around it.
    `policy`: what it is held to (shared.appraisal.policy.read reads one from YAML).
    `keys`: who is believed (shared.appraisal.keys: `google`, `read_jwks`, `read_root`).
    `references`: reference values, of this image or of any; not looked at if the policy pins digests itself.
    `nonce`: the one that was issued for this token and not used before; None if none was.
    `now`: seconds since 1970.
    """
    if not math.isfinite(now) or now < 0:
        raise Permanent("The time of an appraisal must be a number of seconds since 1970.")
    case = Case(token, policy, keys, references, nonce, now)
    checks = _ask(case)
    accepted = checks is not None
    if checks is None:
        case = Case(token, policy, keys, references, nonce, now)
        checks = _ask_one_by_one(case)
        accepted = all(check.answer == "passed" for check in checks)
    stated = case.container.get
    reference = case.reference
    ends = case.claims["exp"] if accepted else 0
    return _made(
        AppraisalResult,
        {
            "format": "package-dmz/appraisal/v1",
            "decision": "accepted" if accepted else "refused",
            "service": policy.service,
            "image": policy.image,
            "token": case.token_digest or envelope.fingerprint(token),
            "token_type": case.token_type,
            "policy": policy.digest,
            "reference": reference.digest if reference else None,
            "builders": reference.builders if reference else (),
            "key_id": _key_id(case),
            "image_digest": stated("image_digest") if accepted else _stated(case, "image_digest"),
            "image_id": stated("image_id") if accepted else _stated(case, "image_id"),
            "nonce": case.nonce_digest,
            "appraised_at": int(now),
            "valid_until": min(ends, reference.expires) if reference else ends,
            "checks": tuple(checks),
        },
    )


def _ask(case: Case) -> list[Check] | None:
    """The answers if all are good, else None. Most tokens of a service are good, and there are many."""
    try:
        found = [ask(case) for ask in _ASKS]
    except Exception:
        return None
    checks = list(map(dict.get, _GOOD, found))
    for place, check in enumerate(checks):
        if check is None:
            checks[place] = _good(place, found[place])
    return checks  # type: ignore[return-value] # no place is None any more


_ASKS = tuple(question.ask for question in CHECKS)
_GOOD: tuple[dict[str, Check], ...] = tuple({} for _ in CHECKS)
"""Good answers given before, by their input and at the check's place: a service's tokens are much alike."""


def _good(place: int, found: str) -> Check:
    known, question = _GOOD[place], CHECKS[place]
    check = _check(place + 1, question.name, "passed", found, question.holds)
    if len(known) >= _REMEMBERED:
        known.clear()
    known[found] = check
    return check


def _ask_one_by_one(case: Case) -> list[Check]:
    """The answers for a token that is not good, from the first check again."""
    answered: list[Check] = []
    failed: set[str] = set()
    ended = False
    for number, (name, ask, holds, ends, needs) in enumerate(CHECKS, 1):
        if ended or needs in failed:
            failed.add(name)  # so that what needs this one is not asked either
            answered.append(_check(number, name, "not reached", "", NOT_REACHED))
            continue
        try:
            answered.append(_check(number, name, "passed", ask(case), holds))
            continue
        except Refused as refused:
            found, why = refused.found, refused.why
        except Exception as error:  # a defect here must not become an acceptance, nor end the stage
            found, why = type(error).__name__, DEFECT
        answered.append(_check(number, name, "failed", found, why))
        failed.add(name)
        ended = ends
    return answered


def _check(
    number: int, name: str, answer: Literal["passed", "failed", "not reached"], found: str, why: str
) -> Check:
    return _made(Check, {"number": number, "name": name, "input": found, "answer": answer, "sentence": why})


def _made(kind: type[P], fields: dict[str, Any]) -> P:
    """As `kind.model_construct(**fields)`, at a seventh of its cost: all fields are there, and made here.

    Validation would take as long as the rest of an appraisal. Tests read results back through it.
    """
    value = kind.__new__(kind)
    _SET(value, "__dict__", fields)
    _SET(value, "__pydantic_fields_set__", _FIELDS[kind])
    _SET(value, "__pydantic_extra__", None)
    _SET(value, "__pydantic_private__", None)
    return value


def _key_id(case: Case) -> str:
    if case.public_key is None or not case.claims:
        return ""
    return case.chain.thumbprint if case.chain else str(case.header["kid"])


def _stated(case: Case, name: str) -> str:
    found = case.container.get(name)
    return "" if found is None else shown(found)
