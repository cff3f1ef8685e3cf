"""A certificate authority, a key set and a mint of tokens: Google's side of Confidential Space, and an attacker's."""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from shared.appraisal import appraise as room
from shared.appraisal.case import Question
from shared.appraisal.keys import OidcKey, TrustedKeys, thumbprint
from shared.model.appraisal import AppraisalPolicy
from shared.model.reference import ReferenceValue
from shared.model.value import sha256

NOW = 1_790_000_000
NONCE = "an issued nonce of 33 characters."
KID = "d6d5071ab75246a42acfa46d29316311cdab51f7"
SIGNERS = tuple(hashlib.sha256(name).hexdigest() for name in (b"first", b"second", b"third"))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG = json.dumps(
    {
        "config": {
            "Entrypoint": ["java", "-jar"],
            "Cmd": ["aggregator_application.jar"],
            "Env": [f"PATH={PATH}", "LANG=C.UTF-8"],
            "Labels": {"tee.launch_policy.allow_env_override": "FCP_OPTS"},
        }
    }
)
MANIFEST, INDEX, CONFIG_DIGEST = sha256(b"manifest"), sha256(b"index"), sha256(CONFIG.encode())
POLICY: dict[str, Any] = {
    "format": "package-dmz/appraisal-policy/v1",
    "service": "aggregator",
    "image": "aggregator",
    "audience": "https://dmz.example.com/attestation",
    "token_types": ["OIDC", "PKI"],
    "hwmodel": ["GCP_INTEL_TDX", "GCP_AMD_SEV"],
    "swversion_minimum": 250800,
    "projects": [{"id": "dmz-inner", "number": "123456789012"}],
    "zones": ["us-central1-a"],
    "service_accounts": ["aggregator@dmz-inner.iam.gserviceaccount.com"],
    "env_overrides": {"FCP_OPTS": "[a-z ]{0,40}"},
    "signers": {"key_ids": list(SIGNERS[:2]), "minimum": 2},
    "reference": {"rule": "reference", "minimum_builders": 2},
}
CLAIMS: dict[str, Any] = {
    "aud": POLICY["audience"],
    "exp": NOW + 3590,
    "iat": NOW - 10,
    "iss": "https://confidentialcomputing.googleapis.com",
    "nbf": NOW - 10,
    "sub": "https://www.googleapis.com/compute/v1/projects/dmz-inner/zones/us-central1-a/instances/aggregator-1",
    "eat_nonce": NONCE,
    "eat_profile": "https://cloud.google.com/confidential-computing/confidential-space/docs/reference/token-claims",
    "secboot": True,
    "oemid": 11129,
    "hwmodel": "GCP_INTEL_TDX",
    "swname": "CONFIDENTIAL_SPACE",
    "swversion": ["250800"],
    "attester_tcb": ["INTEL"],
    "dbgstat": "disabled-since-boot",
    "submods": {
        "confidential_space": {
            "support_attributes": ["LATEST", "STABLE", "USABLE"],
            "monitoring_enabled": {"memory": False},
        },
        "container": {
            "image_reference": f"us-docker.pkg.dev/dmz-inner/images/aggregator@{MANIFEST}",
            "image_digest": MANIFEST,
            "restart_policy": "Never",
            "image_id": CONFIG_DIGEST,
            "env_override": {"FCP_OPTS": "a b"},
            "env": {"FCP_OPTS": "a b", "HOSTNAME": "aggregator-1", "LANG": "C.UTF-8", "PATH": PATH},
            "args": ["java", "-jar", "aggregator_application.jar"],
            "image_signatures": [
                {"key_id": key, "signature": "AAAA", "signature_algorithm": "ECDSA_P256_SHA256"}
                for key in SIGNERS[:2]
            ],
        },
        "gce": {
            "zone": "us-central1-a",
            "project_id": "dmz-inner",
            "project_number": "123456789012",
            "instance_name": "aggregator-1",
            "instance_id": "3087957179640521392",
        },
    },
    "tdx": {"gcp_attester_tcb_status": "UpToDate", "gcp_attester_tcb_date": "2024-03-13T00:00:00Z"},
    "google_service_accounts": ["aggregator@dmz-inner.iam.gserviceaccount.com"],
}


@dataclass(frozen=True)
class Inputs:
    """The arguments of one appraisal."""

    token: str | bytes
    policy: AppraisalPolicy
    keys: TrustedKeys
    references: Sequence[ReferenceValue]
    nonce: str | None = NONCE
    now: float = NOW

    def all(self) -> tuple[Any, ...]:
        return self.token, self.policy, self.keys, self.references, self.nonce, self.now


@functools.cache
def key(name: str, bits: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    """One key for each name, made once per test run."""
    return rsa.generate_private_key(exponent, bits)


@functools.cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Spec:
    """A certificate to be made."""

    name: str
    key: Key
    ca: bool | None = True
    """None: no basicConstraints."""
    path_length: int | None = None
    cert_sign: bool | None = True
    """None: no keyUsage."""
    digital_signature: bool = False
    begins: int = -30
    ends: int = 30
    """Days from NOW."""
    hash: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    pss: bool = False
    critical: bool = False
    """An extension that nobody knows."""


def certificate(spec: Spec, issuer: Spec) -> x509.Certificate:
    now = datetime.datetime.fromtimestamp(NOW, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, spec.name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer.name)]))
        .public_key(spec.key.public_key())
        .serial_number(1 + int.from_bytes(hashlib.sha256(repr(spec).encode()).digest()[:8]))
        .not_valid_before(now + spec.begins * DAY)
        .not_valid_after(now + spec.ends * DAY)
    )
    if spec.ca is not None:
        constraints = x509.BasicConstraints(spec.ca, spec.path_length if spec.ca else None)
        builder = builder.add_extension(constraints, critical=True)
    if spec.cert_sign is not None:
        off = dict.fromkeys(
            ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        usage = x509.KeyUsage(
            digital_signature=spec.digital_signature,
            key_cert_sign=spec.cert_sign,
            crl_sign=spec.cert_sign,
            encipher_only=False,
            decipher_only=False,
            **off,
        )
        builder = builder.add_extension(usage, critical=True)
    if spec.critical:
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
        builder = builder.add_extension(unknown, critical=True)
    if spec.pss:
        salted = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
        return builder.sign(issuer.key, hashes.SHA256(), rsa_padding=salted)
    return builder.sign(issuer.key, issuer_hash(spec, issuer))


def issuer_hash(spec: Spec, issuer: Spec) -> Any:
    return hashes.SHA256() if isinstance(issuer.key, ec.EllipticCurvePrivateKey) else spec.hash


@functools.cache
def root() -> Spec:
    return Spec("Root CA", key("root"))


@functools.cache
def intermediate() -> Spec:
    return Spec("Intermediate CA", key("intermediate"))


@functools.cache
def leaf() -> Spec:
    return Spec("Leaf", key("leaf"), ca=False, cert_sign=None)


def der(certificate: x509.Certificate) -> str:
    return base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()


def chain(leaf: Spec, intermediate: Spec, root: Spec) -> list[str]:
    return [
        der(certificate(leaf, intermediate)),
        der(certificate(intermediate, root)),
        der(certificate(root, root)),
    ]


@functools.cache
def good_chain() -> tuple[str, ...]:
    return tuple(chain(leaf(), intermediate(), root()))


def pin(x5c: Sequence[str]) -> str:
    return sha256(base64.b64decode(x5c[-1]))


@functools.cache
def keys() -> TrustedKeys:
    numbers = key("oidc").public_key().public_numbers()
    other = key("other-oidc").public_key().public_numbers()
    return TrustedKeys(
        oidc=(
            OidcKey(kid=KID, n=url64(numbers.n.to_bytes(256))),
            OidcKey(kid="f86c2ed71ca6b8af769c54f6c472ca30fd38055c", n=url64(other.n.to_bytes(256))),
        ),
        roots=(pin(good_chain()),),
    )


@functools.cache
def policy(**changes: Any) -> AppraisalPolicy:
    return AppraisalPolicy.check(POLICY, "The policy")


def policy_with(**changes: Any) -> AppraisalPolicy:
    return AppraisalPolicy.check({**POLICY, **changes}, "The policy")


def reference(**changes: Any) -> ReferenceValue:
    value = {
        "image": "aggregator",
        "revision": "c0ffee",
        "lock": sha256(b"lock"),
        "manifest": MANIFEST,
        "config": CONFIG_DIGEST,
        "config_json": CONFIG,
        "builders": ["https://builders.example/a", "https://builders.example/b"],
        "threshold": 2,
        "statements": [sha256(b"one"), sha256(b"two")],
        "agreed": NOW - 1000,
        "expires": NOW + 100_000,
        "state": "agreed",
    }
    return ReferenceValue.check({**value, **changes}, "The reference value")


def url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def sign(signing: rsa.RSAPrivateKey, header: str, payload: str) -> str:
    """The compact form of two encoded parts, signed by RS256 whatever the header says."""
    signature = signing.sign(f"{header}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{header}.{payload}.{url64(signature)}"


def oidc_header() -> dict[str, Any]:
    return {"alg": "RS256", "kid": KID, "typ": "JWT"}


def pki_header(x5c: Sequence[str] | None = None, kid: str | None = None) -> dict[str, Any]:
    x5c = list(good_chain() if x5c is None else x5c)
    return {
        "alg": "RS256",
        "kid": thumbprint(key("leaf").public_key()) if kid is None else kid,
        "typ": "JWT",
        "x5c": x5c,
    }


def claims(change: Callable[[dict[str, Any]], None] | None = None) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(CLAIMS))
    if change:
        change(copy)
    return copy


def oidc(
    content: Mapping[str, Any] | bytes | None = None,
    header: Mapping[str, Any] | bytes | None = None,
    signing: rsa.RSAPrivateKey | None = None,
) -> str:
    header = oidc_header() if header is None else header
    content = claims() if content is None else content
    parts = [url64(part if isinstance(part, bytes) else dumps(part)) for part in (header, content)]
    return sign(signing or key("oidc"), parts[0], parts[1])


def pki(
    content: Mapping[str, Any] | None = None,
    header: Mapping[str, Any] | None = None,
    signing: rsa.RSAPrivateKey | None = None,
) -> str:
    return oidc(content, pki_header() if header is None else header, signing or key("leaf"))


def good(token: str | bytes | None = None, **changes: Any) -> Inputs:
    """Inputs that are accepted, with `changes`."""
    inputs = Inputs(oidc() if token is None else token, policy(), keys(), (reference(),))
    return replace(inputs, **changes)


def asked(monkeypatch: pytest.MonkeyPatch, checks: tuple[Question, ...]) -> None:
    """From now on `checks` are asked instead of the real ones."""
    monkeypatch.setattr(room, "CHECKS", checks)
    monkeypatch.setattr(room, "_ASKS", tuple(each.ask for each in checks))
