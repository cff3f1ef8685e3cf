"""The certificates of a PKI token's `x5c`, read once: facts about each, and whether each signed the one before.

Nothing here decides; shared.appraisal.chain does. Reading is remembered: the same chain signs tokens for months.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from shared.appraisal.encoding import from_base64
from shared.appraisal.keys import thumbprint
from shared.model.value import sha256

T = TypeVar("T", bound=x509.ExtensionType)

_KNOWN_CRITICAL = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})
"""What is looked at here. A critical extension that a reader does not process ends the path (RFC 5280, 4.2)."""

_ODD = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library says of certificates that nobody should have made."""


class Unreadable(ValueError):
    """What is wrong with a certificate, as the end of a sentence."""


@dataclass(frozen=True)
class Certificate:
    """What an appraisal asks of a certificate."""

    fingerprint: str
    """sha256 of its DER."""
    key: RSAPublicKey | None
    """None if it is no RSA key."""
    bits: int
    exponent: int
    rsa_sha256: bool
    """Whether it is signed by RSASSA-PKCS1-v1_5 with SHA-256."""
    version3: bool
    authority: bool
    """basicConstraints says CA."""
    path_length: int | None
    signs_certificates: bool
    """keyUsage, where there is one, allows it to sign certificates."""
    signs_data: bool
    """keyUsage, where there is one, allows it to sign anything else."""
    unknown_critical: bool
    not_before: float
    not_after: float


@dataclass(frozen=True, eq=False)
class Chain:
    """Leaf, intermediate, root, in the order that the token gives. There is one of each: `read` remembers them."""

    certificates: tuple[Certificate, Certificate, Certificate]
    linked: tuple[bool, bool, bool]
    """Whether each names the next as its issuer and bears its signature; the last, its own."""
    thumbprint: str
    """RFC 7638, of the leaf's key; empty if it is no RSA key."""
    begins: float
    ends: float
    """When all three are valid."""


@lru_cache(maxsize=64)
def read(x5c: tuple[str, str, str]) -> Chain:
    """The chain in `x5c` (RFC 7515, section 4.1.6); Unreadable with what is wrong."""
    parsed = [_parse(text, number) for number, text in enumerate(x5c, 1)]
    facts = tuple(_facts(each, number) for number, each in enumerate(parsed, 1))
    leaf, intermediate, root = parsed
    return Chain(
        certificates=(facts[0], facts[1], facts[2]),
        linked=(_issued(leaf, intermediate), _issued(intermediate, root), _issued(root, root)),
        thumbprint=thumbprint(facts[0].key) if facts[0].key else "",
        begins=max(each.not_before for each in facts),
        ends=min(each.not_after for each in facts),
    )


def _parse(text: str, number: int) -> x509.Certificate:
    der = from_base64(text)
    if der is None:
        raise Unreadable(f"certificate {number} is not canonical base64")
    try:
        certificate = x509.load_der_x509_certificate(der)
    except _ODD as error:
        raise Unreadable(f"certificate {number} is no X.509 certificate in DER") from error
    # Of its bit string's unused bits no reader takes notice, so a signature would have two spellings.
    if certificate.public_bytes(Encoding.DER) != der or der[-len(certificate.signature) - 1] != 0:
        raise Unreadable(f"certificate {number} is not canonical DER")
    return certificate


def _facts(certificate: x509.Certificate, number: int) -> Certificate:
    try:
        key = certificate.public_key()
        extensions = certificate.extensions
        algorithm = certificate.signature_algorithm_parameters
        rsa_sha256 = isinstance(certificate.signature_hash_algorithm, SHA256) and isinstance(
            algorithm, padding.PKCS1v15
        )
    except _ODD as error:
        raise Unreadable(f"certificate {number} has a key or an extension that cannot be read") from error
    rsa = key if isinstance(key, RSAPublicKey) else None
    constraints = _extension(extensions, x509.BasicConstraints)
    usage = _extension(extensions, x509.KeyUsage)
    return Certificate(
        fingerprint=sha256(certificate.public_bytes(Encoding.DER)),
        key=rsa,
        bits=rsa.key_size if rsa else 0,
        exponent=rsa.public_numbers().e if rsa else 0,
        rsa_sha256=rsa_sha256,
        version3=certificate.version is x509.Version.v3,
        authority=constraints is not None and constraints.ca,
        path_length=constraints.path_length if constraints else None,
        signs_certificates=usage is None or usage.key_cert_sign,
        signs_data=usage is None or usage.digital_signature,
        unknown_critical=any(each.critical and each.oid not in _KNOWN_CRITICAL for each in extensions),
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
    )


def _extension(extensions: x509.Extensions, kind: type[T]) -> T | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """RFC 5280, 6.1.3 (a)(1) and (a)(4)."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*_ODD, InvalidSignature):
        return False
    return True
