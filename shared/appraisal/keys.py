"""The keys that tokens are believed by: a JSON Web Key Set for OIDC tokens, pinned roots for PKI tokens.

A key set is read as Google publishes it (RFC 7517), and refused as a whole if any of it is different:
1. JSON as shared.appraisal.strict_json has it, of at most MAX_JWKS bytes.
2. An object with `keys` alone, a list of 1 to MAX_KEYS objects with kid, kty, use, alg, n and e alone.
3. kty RSA, use sig, alg RS256.
4. n and e in canonical base64url, n of 2048 to 8192 bits, e 65537.
5. Every kid printable, without blanks, and there once.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from pydantic import Field, field_validator

from shared.appraisal.encoding import from_base64url, to_base64url
from shared.appraisal.strict_json import BadJson, parse
from shared.errors import Permanent
from shared.model.value import Digest, Part, Value, printable, sha256

GOOGLE_ROOT = "sha256:148b293821bb0c6a317f413c8ba475814091cb22d49b9e3c94198db8e8f86c39"
"""Of the root that Google publishes at confidentialcomputing.googleapis.com/.well-known/confidential_space_root.crt."""
JWKS_URL = (
    "https://www.googleapis.com/service_accounts/v1/metadata/jwk/"
    "signer@confidentialspace-sign.iam.gserviceaccount.com"
)
"""As https://confidentialcomputing.googleapis.com/.well-known/openid-configuration names it."""
MAX_JWKS = 64 * 1024
MAX_KEYS = 16
MIN_BITS, MAX_BITS = 2048, 8192
EXPONENT = 65537
_ROOT_FILE = Path(__file__).parent.parent / "data" / "attestation" / "google-root.pem"
_FIELDS = {"kid": "", "kty": "RSA", "use": "sig", "alg": "RS256", "n": "", "e": ""}
_MAX_PEM = 16 * 1024


class OidcKey(Part):
    """An RSA public key under the name that a token's header gives for it."""

    kid: Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
    n: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{300,1500}$")]
    """The modulus in base64url; the exponent is 65537."""


class TrustedKeys(Value):
    """Who is believed. With neither keys nor roots: nobody."""

    oidc: tuple[OidcKey, ...] = ()
    roots: tuple[Digest, ...] = ()
    """sha256 of the DER of root certificates."""

    @field_validator("oidc")
    @classmethod
    def _sound(cls, keys: tuple[OidcKey, ...]) -> tuple[OidcKey, ...]:
        if len({key.kid for key in keys}) != len(keys):
            raise ValueError("two keys have one kid")
        for key in keys:
            bits = int.from_bytes(from_base64url(key.n.encode()) or b"").bit_length()
            if not MIN_BITS <= bits <= MAX_BITS:
                raise ValueError(f"the key has {bits} bits; {MIN_BITS} to {MAX_BITS} are taken")
        return keys

    @cached_property
    def by_kid(self) -> dict[str, RSAPublicKey]:
        """Each OIDC key, ready to verify."""
        return {
            key.kid: RSAPublicNumbers(
                EXPONENT, int.from_bytes(from_base64url(key.n.encode()) or b"")
            ).public_key()
            for key in self.oidc
        }


def google() -> TrustedKeys:
    """Google's pinned root, for PKI tokens alone: OIDC keys change and must be fetched."""
    keys = read_root(_ROOT_FILE.read_bytes(), "The root certificate that comes with the project")
    if keys.roots != (GOOGLE_ROOT,):
        raise Permanent("The root certificate that comes with the project is not Google's: restore the file.")
    return keys


def read_root(pem: bytes, what: str) -> TrustedKeys:
    """The one root certificate in `pem`; Permanent with what is wrong."""
    if len(pem) > _MAX_PEM or pem.count(b"-----BEGIN ") != 1:
        raise Permanent(f"{what} must hold one certificate in PEM form, and nothing else.")
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise Permanent(f"{what} is no certificate in PEM form: {printable(str(error), 200)}.") from error
    return TrustedKeys(roots=(sha256(certificate.public_bytes(serialization.Encoding.DER)),))


def read_jwks(data: bytes, what: str) -> TrustedKeys:
    """The keys of a JSON Web Key Set; Permanent with what is wrong. The numbers are this module's."""
    if len(data) > MAX_JWKS:  # 1
        raise Permanent(f"{what} has {len(data)} bytes; at most {MAX_JWKS} are read.")
    try:
        keys = parse(data.strip(b" \t\r\n")).copy()
    except BadJson as error:
        raise Permanent(f"{what} {error}.") from error
    listed = keys.pop("keys", None)
    if keys or not isinstance(listed, list) or not 1 <= len(listed) <= MAX_KEYS:  # 2
        raise Permanent(
            f"{what} must be an object with a list 'keys' of 1 to {MAX_KEYS} keys, and nothing else."
        )
    found = [
        _key(each, f"Key {number} of {what[:1].lower()}{what[1:]}") for number, each in enumerate(listed, 1)
    ]
    return TrustedKeys.check({"oidc": found}, what)  # 4, 5: sizes and names


def _key(key: Any, what: str) -> dict[str, str]:
    if not isinstance(key, dict) or set(key) != set(_FIELDS):  # 2
        raise Permanent(f"{what} must have the fields {', '.join(_FIELDS)}, and no others.")
    for name, wanted in _FIELDS.items():  # 3
        if not isinstance(key[name], str) or (wanted and key[name] != wanted):
            raise Permanent(f"{what} has a wrong '{name}': {wanted or 'text'} is taken.")
    modulus, exponent = from_base64url(key["n"].encode()), from_base64url(key["e"].encode())
    if not modulus or modulus[0] == 0 or exponent != EXPONENT.to_bytes(3):  # 4
        raise Permanent(f"{what} has an n that is not canonical, or an e that is not {EXPONENT} (AQAB).")
    return {"kid": key["kid"], "n": key["n"]}


def thumbprint(key: RSAPublicKey) -> str:
    """RFC 7638: base64url of sha256 over the key's required members in order."""
    numbers = key.public_numbers()
    members = {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}
    data = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    return to_base64url(hashlib.sha256(data).digest()).decode()


def _number(value: int) -> str:
    return to_base64url(value.to_bytes((value.bit_length() + 7) // 8)).decode()
