"""What the events of images and attestation carry."""

from __future__ import annotations

import json
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.model.appraisal import TokenType
from shared.model.image import ImageName
from shared.model.payloads import Count, Payload
from shared.model.reference import Builder, Revision, Seconds
from shared.model.value import Digest, canonical, sha256

OptionalRun = Annotated[
    str, Field(pattern=r"^(run-[0-9a-f]{12})?$", description="The run that waits for it; empty if none does.")
]
NonceId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
Nonce = Annotated[str, Field(pattern=r"^[!-~]{10,74}$")]
"""Confidential Space takes 10 to 74 bytes
(https://cloud.google.com/confidential-computing/confidential-space/docs/connect-external-resources)."""


class ImageBuilt(Payload):
    """A builder states what came of a build: one vote for an image's digests."""

    image: ImageName
    """Name of the image's spec."""
    envelope: Annotated[str, Field(max_length=200_000)]
    """The signed statement: in-toto and SLSA provenance in a DSSE envelope, as JSON text."""
    config: Annotated[str, Field(max_length=100_000)]
    """The image's configuration, whose digest the statement names."""

    @property
    def subject(self) -> str:
        return sha256(canonical([self.image, self.envelope, self.config]))


class ReferenceChanged(Payload):
    """The reference value of an image came to be, was disputed or was revoked. `disputed` is an alarm."""

    image: ImageName
    """Name of the image's spec."""
    state: Literal["agreed", "disputed", "revoked"]
    """What became of it."""
    revision: Revision | Literal[""] = ""
    """Of the source."""
    manifest: Digest | None = None
    """The image's digest, if there is one that this is about."""
    config: Digest | None = None
    """The digest of its configuration."""
    builders: tuple[Builder, ...] = ()
    """Who agreed, or who disagrees."""
    reason: Annotated[str, Field(max_length=4000)] = ""
    """In one sentence."""

    @property
    def subject(self) -> str:
        return sha256(self.canonical())


class ReferenceRevoked(Payload):
    """An operator takes an image's digest back: tokens of workloads that run it are refused from now on."""

    entry: ClassVar[bool] = True

    image: ImageName
    """Name of the image's spec."""
    manifest: Digest
    """The image's digest."""
    reason: Annotated[str, Field(min_length=1, max_length=2000)]
    """Shown wherever a token is refused for it."""


class NonceRequested(Payload):
    """Somebody wants a data service to prove what it is, now."""

    run_id: OptionalRun = ""
    service: ImageName
    """Name of the appraisal policy."""
    token_type: TokenType | None = None
    """The kind of token that is asked for; null leaves it to the policy."""

    @property
    def subject(self) -> str:
        return self.service


class NonceRegistered(Payload):
    """A relying party brings a nonce of its own, to be used once."""

    entry: ClassVar[bool] = True

    service: ImageName
    """Name of the appraisal policy."""
    nonce_id: NonceId
    """By which the request names it."""
    nonce: Nonce
    """What the token must carry as eat_nonce."""
    seconds: Annotated[int, Field(ge=1, le=3600)] = 300
    """How long it may be used."""


class NonceIssued(Payload):
    """A nonce for one token of one data service, which answers with attestation-requested."""

    run_id: OptionalRun = ""
    service: ImageName
    """Who is to answer."""
    nonce_id: NonceId
    """To be sent back with the token."""
    nonce: Nonce
    """To be asked for in the token."""
    audience: Annotated[str, Field(min_length=1, max_length=512)]
    """To be asked for in the token."""
    token_type: TokenType
    """The kind of token that is asked for."""
    expires: Seconds
    """Unix time in seconds after which the nonce is worthless."""

    @property
    def subject(self) -> str:
        return self.nonce_id

    @property
    def marks(self) -> dict[str, str]:
        """Each service's subscription takes its own nonces alone: another service could use them up."""
        return {"service": self.service}


class AttestationRequested(Payload):
    """A workload hands in its token. The token is a credential: nothing but this message holds it."""

    entry: ClassVar[bool] = True

    run_id: OptionalRun = ""
    service: ImageName
    """Name of the appraisal policy."""
    nonce_id: NonceId
    """As the event nonce-issued gave it."""
    token: str
    """The Confidential Space token, as the launcher gave it."""

    def kept(self) -> bytes:
        kept = self.model_dump(mode="json") | {
            "token": f"hidden {sha256(self.token.encode(errors='replace'))}"
        }
        return canonical(kept)


class AttestationAppraised(Payload):
    """The answer about a token."""

    run_id: OptionalRun = ""
    service: ImageName
    """Whose token it was."""
    nonce_id: NonceId
    """As it was handed in."""
    decision: Literal["accepted", "refused"]
    """Whether the workload is what it should be."""
    failed_checks: Annotated[tuple[Annotated[str, Field(max_length=1000)], ...], Field(max_length=100)]
    """Number, name and reason of each check that failed; empty if accepted."""
    image_digest: Annotated[str, Field(max_length=200)]
    """As the token states it; empty if it could not be read."""
    builders: tuple[Builder, ...]
    """Who agreed on the image; empty if no reference value holds."""
    token: Digest
    """sha256 of the token."""
    result: Digest
    """The stored result, check by check."""
    summary: Digest | None
    """The stored verification summary (SLSA) in its signed envelope; null if the stage has no key to sign with."""
    checks: Count
    """How many checks were made."""

    @property
    def subject(self) -> str:
        return f"{self.nonce_id} {self.token} {self.result}"


def hidden(body: bytes) -> bytes:
    """What may be kept of a body that could hold a token and could not be read."""
    return json.dumps({"hidden": sha256(body), "bytes": len(body)}).encode()
