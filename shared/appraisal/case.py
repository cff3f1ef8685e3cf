"""One token under appraisal: what came in, and what the checks have learnt of it so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.appraisal.certificates import Chain
from shared.appraisal.keys import TrustedKeys
from shared.model.appraisal import AppraisalPolicy, TokenType
from shared.model.reference import ReferenceValue
from shared.model.value import printable

_SHOWN = 200


class Refused(Exception):
    """A check that failed: what it was about, safe to show, and a sentence that says what gave it away."""

    def __init__(self, found: str, why: str) -> None:
        super().__init__(why)
        self.found = found
        self.why = why


class Case:
    """The inputs of an appraisal; below them, what an earlier check leaves to the later ones."""

    __slots__ = (
        "args",
        "candidates",
        "chain",
        "claims",
        "container",
        "encoded",
        "env",
        "expires",
        "header",
        "keys",
        "nonce",
        "now",
        "parts",
        "payload",
        "policy",
        "public_key",
        "reference",
        "references",
        "signature",
        "space",
        "submods",
        "token",
        "token_type",
    )

    def __init__(
        self,
        token: str | bytes,
        policy: AppraisalPolicy,
        keys: TrustedKeys,
        references: Sequence[ReferenceValue],
        nonce: str | None,
        now: float,
    ) -> None:
        self.token = token
        self.policy = policy
        self.keys = keys
        self.references = references
        self.nonce = nonce
        self.now = now
        # Of the envelope: shared.appraisal.token
        self.encoded = b""
        self.parts: list[bytes] = []
        self.header: dict[str, Any] = {}
        self.payload = b""
        self.signature = b""
        self.token_type: TokenType | None = None
        # Of the key: shared.appraisal.chain and shared.appraisal.token
        self.chain: Chain | None = None
        self.public_key: RSAPublicKey | None = None
        # Of the claims, believed since the signature held: shared.appraisal.claims
        self.claims: dict[str, Any] = {}
        self.submods: dict[str, Any] = {}
        self.container: dict[str, Any] = {}
        self.space: dict[str, Any] = {}
        # Of the image: shared.appraisal.digests
        self.candidates: list[ReferenceValue] = []
        self.reference: ReferenceValue | None = None
        self.env: dict[str, str] = {}
        self.args: tuple[str, ...] = ()
        self.expires = 0


@dataclass(frozen=True)
class Question:
    """A check before it is asked. Its number is its place in the list."""

    name: str
    ask: Callable[[Case], str]
    """Returns the input that passed, safe to show; raises Refused."""
    holds: str
    """The sentence of a check that passed."""
    only: Literal["", "PKI"] = ""
    """The kind of token that it is about."""
    ends: bool = False
    """Whether nothing can be asked once this has failed."""
    needs: str = ""
    """The check that must have passed for this one to mean something."""


def shown(value: Any) -> str:
    """A claim for a person: printable and short, whatever its type."""
    if isinstance(value, str):
        return printable(value, _SHOWN)
    return printable(repr(value) if not isinstance(value, dict | list) else f"{value}"[: _SHOWN * 4], _SHOWN)
