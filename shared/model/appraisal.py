"""The appraisal of a Confidential Space token: the policy that it is held to, and the answer.

Claims: https://cloud.google.com/confidential-computing/confidential-space/docs/reference/token-claims
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from shared.model.image import ImageName, Text, Variable
from shared.model.overrides import forbidden
from shared.model.reference import Builder, Seconds
from shared.model.value import Digest, Part, Value, canonical, sha256

GOOGLE = "https://confidentialcomputing.googleapis.com"
"""Google Cloud Attestation, which issues the tokens."""
_STS = "https://sts.googleapis.com"

TokenType = Literal["OIDC", "PKI"]
Hardware = Literal["GCP_AMD_SEV", "GCP_AMD_SEV_ES", "GCP_INTEL_TDX"]
"""GCP_SHIELDED_VM encrypts no memory: a policy cannot name it."""


def _pattern(text: str) -> str:
    try:
        re.compile(text, re.ASCII)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"this is no regular expression ({error})") from error
    return text


def _overridable(name: str) -> str:
    if forbidden(name):
        raise ValueError(f"{name} runs code or redirects trust, so no policy may let it be overridden")
    return name


def _own_audience(text: str) -> str:
    if text.rstrip("/").lower() == _STS or text.startswith("//iam.googleapis.com/"):
        raise ValueError(f"{text} is Google's audience, whose tokens are not for us: name one of your own")
    return text


Audience = Annotated[str, Field(pattern=r"^[!-~]{1,512}$"), AfterValidator(_own_audience)]
KeyId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of the signer's public key in DER, hexadecimal, as `container.image_signatures[].key_id` has it."""
Account = Annotated[str, Field(pattern=r"^[a-z0-9.-]{1,128}@[a-z0-9.-]{1,128}$")]


class NonceRule(Part):
    """The nonce must be one that we issued and kept: one that only the token names proves nothing."""

    required: bool = True
    alone: bool = True
    """Whether the token may carry no other nonce beside ours."""
    min_length: Annotated[int, Field(ge=10, le=74)] = 10
    max_length: Annotated[int, Field(ge=10, le=74)] = 74
    """Bytes. Confidential Space took 10 to 74 when its real tokens here were made; its documentation of November
    2025 has 8 to 88. We keep to what both take."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.min_length > self.max_length:
            raise ValueError("min_length is above max_length, so no nonce would do")
        return self


class Project(Part):
    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.:-]{4,98}[a-z0-9]$")]
    number: Annotated[str, Field(pattern=r"^[1-9][0-9]{0,19}$")]
    """In quotes: the token carries it as text."""


class Signers(Part):
    """Signatures of the container image that Confidential Space itself found and verified."""

    key_ids: Annotated[tuple[KeyId, ...], Field(min_length=1)]
    minimum: Annotated[int, Field(ge=1)]
    """So many different keys of `key_ids` must have signed."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if len(set(self.key_ids)) != len(self.key_ids):
            raise ValueError("a key stands twice in key_ids: give it once, it counts once")
        if self.minimum > len(self.key_ids):
            raise ValueError("minimum is above the number of key_ids, so no image would do")
        return self


class PinnedImage(Part):
    """An image by its digests, with all of its configuration that an operator could override."""

    image_digest: Digest
    image_id: Digest
    env: dict[Variable, Text]
    args: Annotated[tuple[Text, ...], Field(min_length=1)]


class ByReference(Part):
    """The image is one that independent builders agreed on: its reference value is an argument of the appraisal."""

    rule: Literal["reference"] = "reference"
    minimum_builders: Annotated[int, Field(ge=1)] = 1
    """So many different builders must have agreed, whatever threshold the reference value was made under."""


class ByDigests(Part):
    """The image is one of these, which somebody vouches for without reference values: a vendor's, say.

    Nobody rebuilt it, so this proves *which* image runs and not what it was built from.
    """

    rule: Literal["digests"]
    images: Annotated[tuple[PinnedImage, ...], Field(min_length=1)]


class AppraisalPolicy(Value):
    """What a data service's token must say. Everything not allowed here is refused."""

    format: Literal["package-dmz/appraisal-policy/v1"]
    service: ImageName
    image: ImageName
    """Name of the image's spec, under which its reference values stand."""
    issuer: Annotated[str, Field(pattern=r"^https://[!-~]{1,200}$")] = GOOGLE
    audience: Audience
    """Ours: the token must have been asked for with exactly this one."""
    token_types: Annotated[tuple[TokenType, ...], Field(min_length=1)]
    nonce: NonceRule = NonceRule()
    hwmodel: Annotated[tuple[Hardware, ...], Field(min_length=1)]
    support_attributes: Annotated[tuple[Literal["STABLE", "USABLE", "LATEST"], ...], Field(min_length=1)] = (
        "STABLE",
    )
    """All of them must be there; STABLE always, EXPERIMENTAL never."""
    dbgstat: Literal["disabled-since-boot"] = "disabled-since-boot"
    """The debug value is spelled in more than one way, so the good one is what is asked for. Likewise below."""
    secboot: Literal[True] = True
    oemid: Literal[11129] = 11129
    """Google's private enterprise number (IANA)."""
    swname: Literal["CONFIDENTIAL_SPACE"] = "CONFIDENTIAL_SPACE"
    swversion_minimum: Annotated[int, Field(ge=230100, le=999999)]
    """YYMMNN, as a number."""
    tdx_tcb_status: Annotated[
        tuple[
            Literal[
                "UpToDate",
                "SWHardeningNeeded",
                "ConfigurationNeeded",
                "ConfigurationAndSWHardeningNeeded",
            ],
            ...,
        ],
        Field(min_length=1),
    ] = ("UpToDate",)
    """`tdx.gcp_attester_tcb_status`, asked for on GCP_INTEL_TDX. OutOfDate and Revoked cannot be allowed."""
    gpu: Literal["none", "confidential"] = "none"
    """`nvidia_gpu.cc_mode`: no GPU, or one in mode ON (OFF and DEVTOOLS protect nothing)."""
    memory_monitoring: Literal["forbidden", "allowed"] = "forbidden"
    projects: Annotated[tuple[Project, ...], Field(min_length=1)]
    zones: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")], ...] | None, Field(min_length=1)
    ] = None
    """Any, if it is left out."""
    service_accounts: Annotated[tuple[Account, ...], Field(min_length=1)]
    """The workload may run as these and no others."""
    env_overrides: dict[
        Annotated[Variable, AfterValidator(_overridable)],
        Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_pattern)],
    ] = {}
    """Variables that the VM's operator may set, each with a regular expression for the whole value."""
    args: Literal["image"] | Annotated[tuple[Text, ...], Field(min_length=1)] = "image"
    """Arguments are always as the image has them; a list here holds the image to them too."""
    signers: Signers | None = None
    max_age: Annotated[int, Field(ge=1, le=3600)] = 600
    """Seconds since the token was issued."""
    max_lifetime: Annotated[int, Field(ge=1, le=3600)] = 3600
    """Seconds between issue and expiry. Confidential Space gives an hour."""
    leeway: Annotated[int, Field(ge=0, le=60)] = 30
    """Seconds by which clocks may differ."""
    reference: Annotated[ByReference | ByDigests, Field(discriminator="rule")] = ByReference()

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if "STABLE" not in self.support_attributes:
            raise ValueError("support_attributes must hold STABLE: other images get no security fixes")
        for name, given in self.model_dump(include={"token_types", "hwmodel", "service_accounts"}).items():
            if len(set(given)) != len(given):
                raise ValueError(f"{name} names something twice")
        return self

    @cached_property
    def digest(self) -> str:
        """As every value's; kept, since each appraisal states it."""
        return sha256(self.canonical())


class Check(Part):
    """One numbered question about a token."""

    number: Annotated[int, Field(ge=1)]
    name: str
    input: str
    """What the token said, or what was known about it. Never a part of the token itself."""
    answer: Literal["passed", "failed", "not reached"]
    sentence: str


class AppraisalResult(Value):
    """The answer about one token, with every check that was made. The same inputs give the same bytes."""

    format: Literal["package-dmz/appraisal/v1"] = "package-dmz/appraisal/v1"
    decision: Literal["accepted", "refused"]
    service: ImageName
    image: ImageName
    token: Digest
    """sha256 of the token's bytes: the token itself is a credential and stands nowhere."""
    token_type: TokenType | None
    policy: Digest
    reference: Digest | None
    """Of the reference value that the image was found in; none under a policy that pins digests itself."""
    builders: tuple[Builder, ...]
    """Who agreed on that reference value."""
    key_id: str
    """Of the key that the token's signature was verified with; empty if there was none."""
    image_digest: str
    image_id: str
    """As the signed token states them; empty if it was not read so far."""
    nonce: Digest | None
    """sha256 of the nonce that was asked for."""
    appraised_at: Seconds
    valid_until: Seconds
    """Unix time when an acceptance ends (the token's or the reference value's expiry); 0 if it was refused."""
    checks: Annotated[tuple[Check, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _follows(self) -> Self:
        passed = {check.answer for check in self.checks} == {"passed"}
        if passed != (self.decision == "accepted"):
            raise ValueError("the decision does not follow from the checks")
        return self

    @property
    def failed(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.answer == "failed")

    def summary(self, verifier: str = "urn:package-dmz:appraisal") -> dict[str, object]:
        """An in-toto statement with a verification summary; see shared.model.appraisal_summary."""
        from shared.model.appraisal_summary import summary

        return summary(self, verifier)

    def summary_bytes(self, verifier: str = "urn:package-dmz:appraisal") -> bytes:
        """The same as canonical JSON."""
        return canonical(self.summary(verifier))
