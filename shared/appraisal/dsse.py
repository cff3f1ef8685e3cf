"""Signed envelopes: DSSE v1 (https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md and envelope.md).

A signature covers PAE(payload type, payload): the exact bytes, so nothing is parsed before it is proved.
The key id is `sha256:` and the hexadecimal SHA-256 of the public key's SubjectPublicKeyInfo in DER (RFC 5280, 4.1.2.7):
everybody computes the same one from the same key. It only says which key to try; a signature proves itself.

What `read` refuses, numbered at the code:
1. An envelope above MAX_ENVELOPE bytes. 2. Unknown, missing or doubled fields, and more than MAX_SIGNATURES.
3. Any payload type but in-toto's. 4. base64 that is not the standard alphabet, padded, and the only encoding of its
bytes (the DSSE text also allows the URL-safe alphabet; no builder of ours writes it, and one spelling has no double).
5. An empty or oversize payload or signature. 6. Two signatures under one key id.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Annotated, Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from pydantic import Field

from shared.errors import Permanent
from shared.model.value import Digest, Part, printable, sha256

PAYLOAD_TYPE = "application/vnd.in-toto+json"
"""https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/envelope.md"""
MAX_PAYLOAD = 140_000
"""Bytes. A statement names each input of its lock: some 250 bytes for each of some hundred."""
MAX_ENVELOPE = 200_000
"""Bytes; as much as the event `image-built` carries."""
MAX_SIGNATURES = 8
_MAX_SIGNATURE = 128
"""Bytes: Ed25519 has 64, P-256 in DER at most 72."""
_MAX_PEM = 2_000


class _Signature(Part):
    keyid: Digest
    sig: str


class _Envelope(Part):
    payload: str
    payloadType: Literal["application/vnd.in-toto+json"]  # 3
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=MAX_SIGNATURES)]


@dataclass(frozen=True)
class Envelope:
    """An envelope as read: well-formed, and nothing in it proved yet."""

    unverified_payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    """Key id and signature."""


@dataclass(frozen=True)
class PublicKey:
    """A key of one of the two kinds that count here."""

    keyid: str
    _key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey

    def verifies(self, signature: bytes, payload: bytes) -> bool:
        """Whether `signature` is this key's over the envelope of `payload`."""
        data = pae(payload)
        try:
            if isinstance(self._key, ed25519.Ed25519PublicKey):
                self._key.verify(signature, data)
            else:
                self._key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def pae(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Pre-authentication encoding: what is signed (protocol.md, "Signature Definition")."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def envelope(payload: bytes, signatures: tuple[tuple[str, bytes], ...]) -> str:
    """The JSON text of an envelope; `signatures` are key ids and signatures over `pae(payload)`."""
    return (
        _Envelope(
            payload=base64.b64encode(payload).decode(),
            payloadType="application/vnd.in-toto+json",
            signatures=tuple(
                _Signature(keyid=keyid, sig=base64.b64encode(sig).decode()) for keyid, sig in signatures
            ),
        )
        .canonical()
        .decode()
    )


def read(text: str | bytes, what: str = "The envelope") -> Envelope:
    """A well-formed envelope; Permanent with what is wrong. See the module for the numbered checks."""
    size = len(text.encode(errors="surrogatepass") if isinstance(text, str) else text)
    if size > MAX_ENVELOPE:  # 1
        raise Permanent(f"{what} has {size} bytes; at most {MAX_ENVELOPE} are read.")
    found = _Envelope.read(text, what)  # 2, 3
    payload = _decoded(found.payload, MAX_PAYLOAD, f"The payload of {_inside(what)}")
    signatures = tuple(
        (each.keyid, _decoded(each.sig, _MAX_SIGNATURE, f"A signature of {_inside(what)}"))
        for each in found.signatures
    )
    if len({keyid for keyid, _ in signatures}) != len(signatures):  # 6
        raise Permanent(f"{what} has two signatures under one key id; one counts, so send one.")
    return Envelope(payload, signatures)


def public_key(pem: str, what: str) -> PublicKey:
    """A key from its PEM (`-----BEGIN PUBLIC KEY-----`): Ed25519 or ECDSA on P-256, nothing else.

    RSA is refused: no builder needs it, and each padding more is one more way to verify wrongly.
    """
    text = pem.strip()
    if len(text) > _MAX_PEM or text.count("-----BEGIN ") != 1 or not text.startswith("-----BEGIN PUBLIC KEY"):
        raise Permanent(f"{what} is not one public key in PEM; give one -----BEGIN PUBLIC KEY----- block.")
    try:
        key = serialization.load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Permanent(f"{what} cannot be read as a public key: {printable(str(error), 200)}.") from error
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return PublicKey(keyid(key), key)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return PublicKey(keyid(key), key)
    raise Permanent(f"{what} is neither an Ed25519 key nor an ECDSA key on P-256; only these are taken.")


def keyid(key: ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey) -> str:
    """`sha256:` and the SHA-256 of the key's SubjectPublicKeyInfo in DER."""
    return sha256(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def _decoded(text: str, limit: int, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Permanent(f"{what} is not standard base64 with padding.") from error
    if base64.b64encode(data).decode() != text:  # 4: unused bits that are not zero
        raise Permanent(f"{what} is base64 in a form that no encoder writes.")
    if not data or len(data) > limit:  # 5
        raise Permanent(f"{what} has {len(data)} bytes; 1 to {limit} are read.")
    return data


def _inside(what: str) -> str:
    return what[:1].lower() + what[1:]
