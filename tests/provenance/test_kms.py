"""Signing with Cloud KMS, against a stand-in that really signs and also misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.appraisal import dsse
from shared.appraisal.signer import signed
from shared.errors import Permanent, Transient
from shared.gcp.kms import ATTEMPTS, KmsSigner, crc32c
from tests.provenance.kms_standin import NAME, TOKEN, Kms, running

URI = f"gcpkms://{NAME}"
GET, POST = ("GET", f"/v1/{NAME}/publicKey"), ("POST", f"/v1/{NAME}:asymmetricSign")


@pytest.fixture
def kms() -> Iterator[Kms]:
    with running() as kms:
        yield kms


def signer(kms: Kms, **more: Any) -> KmsSigner:
    return KmsSigner(URI, endpoint=kms.url, **({"token": lambda: TOKEN, "pause": lambda _: None} | more))


def test_an_envelope_signed_by_kms_verifies(kms: Kms) -> None:
    far = signer(kms)
    read = dsse.read(signed(b"payload", far))
    ((keyid, signature),) = read.signatures
    public = dsse.public_key(far.public_pem, "The key")
    assert keyid == public.keyid == far.key_id == dsse.keyid(kms.key.public_key())
    assert public.verifies(signature, b"payload")
    # The key is asked for once, and KMS sees a digest, not the statement.
    assert [(method, path) for method, path, _ in kms.asked] == [POST, GET]
    assert set(kms.asked[0][2] or {}) == {"digest", "digestCrc32c"}


@pytest.mark.parametrize(
    "fault",
    [
        "checksum",
        "unverified",
        "other key",
        "other digest",
        "other name",
        "no base64",
        "no json",
        "503",
        "429",
        "500",
    ],
)
def test_a_fault_that_passes_is_asked_again_and_one_that_stays_is_transient(kms: Kms, fault: str) -> None:
    far = signer(kms)
    assert far.public_pem
    kms.faults = [fault] * (ATTEMPTS - 1)
    assert dsse.read(signed(b"payload", far)).signatures
    kms.faults = [fault] * ATTEMPTS
    with pytest.raises(Transient, match="Signing with"):
        far.sign(b"data")
    assert not kms.faults


@pytest.mark.parametrize("fault", ["key checksum", "other name", "no json", "503"])
def test_a_fault_with_the_public_key(kms: Kms, fault: str) -> None:
    kms.faults = [fault] * (ATTEMPTS - 1)
    assert signer(kms).public_pem
    kms.faults = [fault] * ATTEMPTS
    with pytest.raises(Transient, match="Fetching the public key"):
        _ = signer(kms).key_id


@pytest.mark.parametrize("status", ["400", "403", "404"])
def test_a_refusal_is_final_and_asked_once(kms: Kms, status: str) -> None:
    kms.faults = [status]
    with pytest.raises(Permanent, match=r"refused \(" + status + r"\).*a reason.*signerVerifier"):
        signer(kms).sign(b"data")
    assert len(kms.asked) == 1


def test_a_wrong_token_is_refused(kms: Kms) -> None:
    with pytest.raises(Permanent, match="401"):
        signer(kms, token=lambda: "another").sign(b"data")


def test_a_key_of_another_algorithm_is_refused(kms: Kms) -> None:
    kms.algorithm = "RSA_SIGN_PSS_2048_SHA256"
    with pytest.raises(
        Permanent, match="RSA_SIGN_PSS_2048_SHA256; make a key with the algorithm EC_SIGN_P256_SHA256"
    ):
        _ = signer(kms).key_id


def test_nobody_there(kms: Kms) -> None:
    far = signer(kms)
    far._endpoint = "http://127.0.0.1:9"
    with pytest.raises(Transient, match="broke off"):
        far.sign(b"data")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        NAME,
        f"gcpkms://{NAME.removesuffix('/cryptoKeyVersions/1')}",
        f"gcpkms://{NAME}/",
        f"gcpkms://{NAME}\n",
        "gcpkms://projects/p/locations/global/keyRings/../cryptoKeys/k/cryptoKeyVersions/1?x=",
        URI.replace("/k/", "/k%2Fx/"),
        f"awskms://{NAME}",
    ],
)
def test_a_name_that_is_no_key_version(uri: str) -> None:
    with pytest.raises(Permanent, match="names no key version"):
        KmsSigner(uri)


def test_crc32c_on_the_vectors_of_rfc_3720() -> None:
    # Appendix B.4
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


def test_the_default_credentials_give_the_token(
    kms: Kms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """google-auth's own flow for a service account, its token endpoint on loopback."""
    asked = []

    class Tokens(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps({"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Tokens)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    own = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "client_email": "builder@p.iam.gserviceaccount.com",
        "private_key": own.decode(),
        "token_uri": f"http://127.0.0.1:{server.server_address[1]}/token",
    }
    (tmp_path / "account.json").write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "account.json"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    try:
        far = signer(kms, token=None)
        far.sign(b"data")
        far.sign(b"more")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert len(asked) == 1


def test_without_credentials_one_sentence(kms: Kms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(Permanent, match="Cloud KMS lacks credentials"):
        signer(kms, token=None).sign(b"data")
