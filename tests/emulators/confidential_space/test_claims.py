"""Our tokens against real ones: the same claims in the same order, of the same types, however deep."""

from __future__ import annotations

import base64
import datetime
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import ExtensionOID

from shared.appraisal import keys as trusted
from shared.appraisal.appraise import appraise
from shared.emulators.confidential_space import keys
from shared.emulators.confidential_space.claims import Instance, Workload, claims
from shared.emulators.confidential_space.keys import Signer
from shared.emulators.confidential_space.launch_spec import Monitoring
from shared.emulators.vm.spec import Place
from shared.model.appraisal import AppraisalPolicy
from tests.emulators.confidential_space.conftest import claims_of, header_of

REAL = Path(__file__).parents[2] / "appraisal" / "data"
NOW = 1_757_060_250
PLACE = Place("oak-examples-477357", 724467010559, "us-west1-b", 3087957179640521392)
PRODUCTION = Instance(
    name="ctf-sha2-test",
    place=PLACE,
    technology="TDX",
    secure_boot=True,
    debug=False,
    version="250800",
    support=("LATEST", "STABLE", "USABLE"),
    service_accounts=("724467010559-compute@developer.gserviceaccount.com",),
)
DEBUG = Instance(
    name="cs-attestation-vm",
    place=Place("synd-db-testing", 297985297894, "us-central1-a", 6549194765718711860),
    technology="SEV",
    secure_boot=True,
    debug=True,
    version="251001",
    support=("LATEST", "STABLE", "USABLE"),
    service_accounts=("cs-attestation-workload@synd-db-testing.iam.gserviceaccount.com",),
)


def real(name: str) -> str:
    return (REAL / name).read_text(encoding="ascii").strip()


def workload(said: dict[str, Any]) -> Workload:
    """The workload that a real token describes."""
    container = said["submods"]["container"]
    return Workload(
        reference=container["image_reference"],
        digest=container["image_digest"],
        image_id=container["image_id"],
        restart_policy=container["restart_policy"],
        args=tuple(container["args"]),
        env=container["env"],
        env_override=container.get("env_override"),
    )


@pytest.mark.parametrize(
    ("name", "instance"),
    [
        ("production-tdx-pki.jwt", PRODUCTION),
        ("debug-sev-oidc.jwt", DEBUG),
        ("debug-sev-oidc-nonce.jwt", DEBUG),
    ],
)
def test_ours_are_the_real_claims_to_the_byte(name: str, instance: Instance) -> None:
    said = claims_of(real(name))
    nonces = [said["eat_nonce"]] if "eat_nonce" in said else []
    ours = claims(instance, workload(said), said["aud"], nonces, said["iat"])
    assert json.dumps(ours) == json.dumps(said)


def test_several_nonces_are_a_list_and_overrides_are_named() -> None:
    done = Workload("r", "d", "i", "Never", ("/x", "y"), {"A": "1"}, ("y",), {"A": "1"})
    said = claims(PRODUCTION, done, "aud", ["first-nonce", "other-nonce"], NOW)
    assert said["eat_nonce"] == ["first-nonce", "other-nonce"]
    assert said["submods"]["container"]["cmd_override"] == ["y"]
    assert said["submods"]["container"]["env_override"] == {"A": "1"}


@pytest.mark.parametrize("kind", list(Monitoring))
def test_memory_monitoring_is_said_as_the_launcher_measures_it(kind: Monitoring) -> None:
    instance = Instance(**{**vars(PRODUCTION), "monitoring": kind})
    said = claims(instance, Workload("r", "d", "i", "Never", ("/x",), {}), "aud", [], NOW)
    expected = {"memory": kind is Monitoring.MEMORY_ONLY}
    assert said["submods"]["confidential_space"]["monitoring_enabled"] == expected


@pytest.fixture(scope="module")
def signer(authority: keys.Authority) -> Signer:
    return Signer(authority)


def _extensions(certificate: x509.Certificate) -> list[tuple[x509.ObjectIdentifier, bool]]:
    """In order; without those that lead to Google's servers."""
    elsewhere = (ExtensionOID.AUTHORITY_INFORMATION_ACCESS, ExtensionOID.CRL_DISTRIBUTION_POINTS)
    return [(each.oid, each.critical) for each in certificate.extensions if each.oid not in elsewhere]


def test_pki_tokens_have_the_real_header_and_chain(signer: Signer) -> None:
    token = signer.pki_token({"aud": "x"})
    header, genuine = header_of(token), header_of(real("production-tdx-pki.jwt"))
    assert list(header) == list(genuine)
    ours, theirs = (
        [x509.load_der_x509_certificate(base64.b64decode(each)) for each in one["x5c"]]
        for one in (header, genuine)
    )
    for mine, its in zip(ours, theirs, strict=True):
        assert _extensions(mine) == _extensions(its)
        assert mine.version == its.version
        key, real_key = mine.public_key(), its.public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        assert isinstance(real_key, rsa.RSAPublicKey)
        assert key.key_size == real_key.key_size
        assert mine.signature_algorithm_oid == its.signature_algorithm_oid
    for certificate, issuer in pairwise(ours):
        certificate.verify_directly_issued_by(issuer)
    assert header["kid"] == keys.thumbprint(signer.pki.leaf_key)
    signed, _, signature = token.rpartition(".")
    public = ours[0].public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    decoded = base64.urlsafe_b64decode(signature + "==")
    hash_ = ours[0].signature_hash_algorithm
    assert hash_
    public.verify(decoded, signed.encode(), padding.PKCS1v15(), hash_)


def test_the_key_id_is_the_thumbprint_by_which_the_real_leaf_is_named() -> None:
    header = header_of(real("production-tdx-pki.jwt"))
    leaf = x509.load_der_x509_certificate(base64.b64decode(header["x5c"][0]))
    public = leaf.public_key()
    assert isinstance(public, rsa.RSAPublicKey)

    class Holder:
        def public_key(self) -> rsa.RSAPublicKey:
            return public

    assert keys.thumbprint(Holder()) == header["kid"]  # type: ignore[arg-type]


def policy(kind: str) -> AppraisalPolicy:
    pinned = {
        "image_digest": f"sha256:{'a' * 64}",
        "image_id": f"sha256:{'b' * 64}",
        "env": {"A": "1"},
        "args": ["/x"],
    }
    return AppraisalPolicy.model_validate_json(json.dumps({
        "format": "package-dmz/appraisal-policy/v1",
        "service": "sample",
        "image": "sample",
        "audience": "https://appraiser.example",
        "token_types": [kind],
        "hwmodel": ["GCP_INTEL_TDX"],
        "swversion_minimum": 250800,
        "projects": [{"id": PLACE.project, "number": str(PLACE.numeric_project)}],
        "service_accounts": list(PRODUCTION.service_accounts),
        "reference": {"rule": "digests", "images": [pinned]},
    }))  # fmt: skip


@pytest.mark.parametrize("kind", ["OIDC", "PKI"])
@pytest.mark.parametrize("debug", [False, True])
def test_an_appraiser_takes_ours_as_it_takes_googles(signer: Signer, kind: str, debug: bool) -> None:
    now = datetime.datetime.now(datetime.UTC).timestamp()
    instance = Instance(**{**vars(PRODUCTION), "debug": debug})
    done = Workload(
        "h.example/i:v",
        f"sha256:{'a' * 64}",
        f"sha256:{'b' * 64}",
        "Never",
        ("/x",),
        {"A": "1", "HOSTNAME": "ctf-sha2-test"},
    )
    said = claims(instance, done, "https://appraiser.example", ["0123456789abcdef"], int(now))
    if kind == "PKI":
        token, believed = signer.pki_token(said), trusted.read_root(signer.pki.root_pem.encode(), "root")
    else:
        token = signer.oidc(said)
        believed = trusted.read_jwks(json.dumps(signer.jwks()).encode(), "jwks")
    result = appraise(token, policy(kind), believed, (), "0123456789abcdef", now)
    failed = [check.name for check in result.checks if check.answer == "failed"]
    if debug:
        assert result.decision == "refused"
        assert {"debugging", "support"} <= set(failed)
    else:
        assert (result.decision, failed) == ("accepted", [])


def test_a_rotated_key_signs_and_the_one_before_still_verifies(authority: keys.Authority) -> None:
    signer = Signer(authority)
    before = header_of(signer.oidc({}))["kid"]
    signer.rotate()
    after = header_of(signer.oidc({}))["kid"]
    assert after != before
    assert [key["kid"] for key in signer.jwks()["keys"]] == [after, before]
    signer.rotate()
    assert before not in [key["kid"] for key in signer.jwks()["keys"]]
    assert all(set(key) == {"alg", "e", "kid", "kty", "n", "use"} for key in signer.jwks()["keys"])


def test_the_root_is_kept_and_its_key_is_private(tmp_path: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    first = keys.authority(tmp_path, now)
    again = keys.authority(tmp_path, now)
    assert first.root_pem == again.root_pem == (tmp_path / keys.ROOT_CERTIFICATE).read_text()
    assert first.chain[0].public_bytes(serialization.Encoding.DER) != again.chain[0].public_bytes(
        serialization.Encoding.DER
    )
    assert (tmp_path / "confidential_space_root.key").stat().st_mode & 0o777 == 0o600
