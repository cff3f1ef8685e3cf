"""One token under appraisal: what came in, and what the checks have learnt of it so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.appraisal.certificates import Chain
from shared.appraisal.keys import TrustedKeys
from shared.model.appraisal import AppraisalPolicy, TokenType
from shared.model.reference import ReferenceValue
from shared.model.value import printable, sha256

_SHOWN = 200
_NOTHING: dict[str, Any] = {}


class Refused(Exception):
    """A check that failed: what it was about, safe to show, and a sentence that says what gave it away."""

    def __init__(self, found: str, why: str) -> None:
        super().__init__(why)
        self.found = found
        self.why = why


class Case:
    """The inputs of an appraisal; below them, what an earlier check leaves to the later ones."""

    # Of the envelope: shared.appraisal.token
    encoded = b""
    parts: Sequence[bytes] = ()
    encoded_header = b""
    header: Mapping[str, Any] = _NOTHING
    payload = b""
    signature = b""
    token_type: TokenType | None = None
    # Of the key: shared.appraisal.chain and shared.appraisal.token
    chain: Chain | None = None
    public_key: RSAPublicKey | None = None
    token_digest = ""
    # Of the claims, believed since the signature held: shared.appraisal.claims
    claims: dict[str, Any] = _NOTHING
    submods: dict[str, Any] = _NOTHING
    container: dict[str, Any] = _NOTHING
    space: dict[str, Any] = _NOTHING
    # Of the image: shared.appraisal.digests
    candidates: Sequence[ReferenceValue] = ()
    reference: ReferenceValue | None = None
    env: Mapping[str, str] = _NOTHING
    args: tuple[str, ...] = ()

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
        self.nonce_digest = None if nonce is None else sha256(nonce.encode(errors="surrogatepass"))
        self.now = now


class Question(NamedTuple):
    """A check before it is asked. Its number is its place in the list."""

    name: str
    ask: Callable[[Case], str]
    """Returns the input that passed, safe to show; raises Refused."""
    holds: str
    """The sentence of a check that passed."""
    ends: bool = False
    """Whether nothing can be asked once this has failed."""
    needs: str = ""
    """The check that must have passed for this one to mean something."""


def shown(value: Any) -> str:
    """A claim for a person: printable and short, whatever its type."""
    if isinstance(value, str):
        return value if len(value) <= _SHOWN and value.isprintable() else printable(value, _SHOWN)
    return printable(repr(value) if not isinstance(value, dict | list) else f"{value}"[: _SHOWN * 4], _SHOWN)
