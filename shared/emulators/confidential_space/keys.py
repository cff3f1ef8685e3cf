"""The keys of the local attestation service, and the two ways in which it signs.

OIDC tokens: RS256 under one of the keys of a JWKS, named by `kid`. PKI tokens: RS256 under a leaf certificate that
the header brings along (`x5c`: leaf, intermediate, root; RFC 7515 section 4.1.6), whose `kid` is the RFC 7638
thumbprint of the leaf's key. The certificates have the real ones' names, sizes and extensions: a leaf without
alternative names, key usage or extended key usage, an intermediate with the usage 2.23.133.8.1.

Root and intermediate are kept (`ca_dir`): who appraises tokens pins the root. The rest is made anew by each process.
"""

import base64
import datetime
import hashlib
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

_ROOT, _INTERMEDIATE = "root", "intermediate"
ROOT_CERTIFICATE = "confidential_space_root.pem"
_EK_CERTIFICATE = ObjectIdentifier(
    "2.23.133.8.1"
)  # TCG: tcg-kp-EKCertificate, as the real intermediate has it
_KEPT = 2
"""Keys in the JWKS: the one that signs, and the one before."""
Private = rsa.RSAPrivateKey


@dataclass(frozen=True)
class Authority:
    """A chain that signs PKI tokens."""

    leaf_key: Private
    chain: tuple[x509.Certificate, ...]
    """Leaf, intermediate, root."""

    @property
    def root_pem(self) -> str:
        return self.chain[-1].public_bytes(serialization.Encoding.PEM).decode()


def authority(directory: Path, now: datetime.datetime) -> Authority:
    """A fresh leaf under the root and intermediate in `directory`, which are made if they are missing or spent."""
    root_key, root = _kept(directory, _ROOT, now, None)
    intermediate_key, intermediate = _kept(directory, _INTERMEDIATE, now, (root.subject, root_key))
    leaf_key, day = _key(2048), datetime.timedelta(days=1)
    leaf = _certified(
        "Confidential Space Leaf Certificate",
        leaf_key,
        (intermediate.subject, intermediate_key),
        (now - day, now + 60 * day),
        ((x509.BasicConstraints(ca=False, path_length=None), True),),
    )
    return Authority(leaf_key, (leaf, intermediate, root))


class Signer:
    """Signs tokens; safe to call from any thread."""

    def __init__(self, pki: Authority) -> None:
        self.pki = pki
        self._lock = threading.Lock()
        self._keys: list[Private] = [_key(2048)]

    def rotate(self) -> None:
        """A new key signs from now on; the one before stays in the JWKS, older ones go."""
        with self._lock:
            self._keys = [_key(2048), *self._keys][:_KEPT]

    def jwks(self) -> dict[str, Any]:
        """The JWK set that verifies OIDC tokens, RFC 7517."""
        with self._lock:
            keys = list(self._keys)
        return {
            "keys": [
                {"alg": "RS256", "e": numbers[0], "kid": _key_id(key), "kty": "RSA", "n": numbers[1], "use": "sig"}
                for key in keys
                for numbers in (_numbers(key),)
            ]
        }  # fmt: skip

    def oidc(self, claims: Mapping[str, Any]) -> str:
        with self._lock:
            key = self._keys[0]
        return _sign(key, {"alg": "RS256", "kid": _key_id(key), "typ": "JWT"}, claims)

    def pki_token(self, claims: Mapping[str, Any]) -> str:
        encoding = serialization.Encoding.DER
        chain = [
            base64.b64encode(certificate.public_bytes(encoding)).decode() for certificate in self.pki.chain
        ]
        header = {"alg": "RS256", "kid": thumbprint(self.pki.leaf_key), "typ": "JWT", "x5c": chain}
        return _sign(self.pki.leaf_key, header, claims)


def thumbprint(key: Private) -> str:
    """RFC 7638, section 3: SHA-256 over the required members in lexicographic order without white space."""
    exponent, modulus = _numbers(key)
    members = json.dumps({"e": exponent, "kty": "RSA", "n": modulus}, separators=(",", ":"))
    return _encode(hashlib.sha256(members.encode()).digest())


def _key_id(key: Private) -> str:
    """Google's JWKS names keys by 40 hex digits; which, is not published: here a hash of the key."""
    return hashlib.sha256(thumbprint(key).encode()).hexdigest()[:40]


def _numbers(key: Private) -> tuple[str, str]:
    """Exponent and modulus, as RFC 7518, section 6.3.1 has them."""
    public = key.public_key().public_numbers()
    return _encode(_octets(public.e)), _encode(_octets(public.n))


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _sign(key: Private, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
    signed = ".".join(map(_encode, parts))
    return f"{signed}.{_encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _key(bits: int) -> Private:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def _kept(
    directory: Path, name: str, now: datetime.datetime, issuer: tuple[x509.Name, Private] | None
) -> tuple[Private, x509.Certificate]:
    """Key and certificate of the authority `name` from `directory`; made there, by `issuer` or by itself."""
    stem, common_name, usage, days = _AUTHORITIES[name]
    key_file, file = directory / f"{stem}.key", directory / f"{stem}.pem"
    if key_file.exists() and file.exists():
        kept = serialization.load_pem_private_key(key_file.read_bytes(), None)
        found = x509.load_pem_x509_certificate(file.read_bytes())
        by_this = issuer is None or found.extensions.get_extension_for_class(
            x509.AuthorityKeyIdentifier
        ).value == x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
        spent = found.not_valid_after_utc < now + datetime.timedelta(days=1)
        if isinstance(kept, rsa.RSAPrivateKey) and by_this and not spent:
            return kept, found
    directory.mkdir(parents=True, exist_ok=True)
    key, day = _key(4096), datetime.timedelta(days=1)
    lasts = (now - day, now + days * day)
    made = _certified(common_name, key, issuer or (_name(common_name), key), lasts, usage)
    key_file.touch(mode=0o600)
    form, clear = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, clear))
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return key, made


def _certified(
    name: str,
    key: Private,
    issuer: tuple[x509.Name, Private],
    lasts: tuple[datetime.datetime, datetime.datetime],
    extensions: Sequence[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    """A certificate with `extensions` (and whether each is critical) before its key identifiers."""
    public = key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer[0])
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(lasts[0])
        .not_valid_after(lasts[1])
    )
    identifiers = (
        x509.SubjectKeyIdentifier.from_public_key(public),
        x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key()),
    )
    for extension, critical in (*extensions, *((each, False) for each in identifiers)):
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer[1], hashes.SHA256())


def _name(common_name: str) -> x509.Name:
    """The real names say Google LLC; these say whose they are."""
    attributes = {
        NameOID.COUNTRY_NAME: "US",
        NameOID.STATE_OR_PROVINCE_NAME: "California",
        NameOID.LOCALITY_NAME: "Mountain View",
        NameOID.ORGANIZATION_NAME: "Package DMZ local platform",
        NameOID.ORGANIZATIONAL_UNIT_NAME: "Not Google Cloud",
        NameOID.COMMON_NAME: common_name,
    }
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes.items()])


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_CA = (x509.BasicConstraints(ca=True, path_length=None), True)
_AUTHORITIES: dict[str, tuple[str, str, tuple[tuple[x509.ExtensionType, bool], ...], int]] = {
    _ROOT: ("confidential_space_root", "Confidential Space Root CA", ((_SIGNS, True), _CA), 3650),
    _INTERMEDIATE: (
        "confidential_space_intermediate",
        "Confidential Space Intermediate CA",
        ((_SIGNS, True), (x509.ExtendedKeyUsage([_EK_CERTIFICATE]), False), _CA),
        365,
    ),
}
"""File name, subject, extensions with whether each is critical, and days of validity."""
