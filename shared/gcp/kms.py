"""Signing with Cloud KMS: the private key never leaves it.

https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions/asymmetricSign
and /getPublicKey; integrity as https://cloud.google.com/kms/docs/data-integrity-guidelines asks for it.

What an answer must show, numbered at the code:
1. It names the key version that was asked. 2. The public key's checksum holds, and its algorithm is
EC_SIGN_P256_SHA256. 3. KMS says that the digest's checksum reached it and held. 4. The signature's checksum holds.
5. The signature verifies under the public key.
A wrong checksum or signature is a fault on the way: asked again, ATTEMPTS times in all, as are passing refusals.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar

import google.auth
import httpx
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from google.auth.transport.requests import Request

from shared.appraisal import dsse
from shared.errors import Permanent, Transient
from shared.gcp.errors import translated
from shared.model.value import printable

ENDPOINT = "https://cloudkms.googleapis.com"
SCHEME = "gcpkms://"
ATTEMPTS = 4
_ALGORITHM = "EC_SIGN_P256_SHA256"
_SCOPE = "https://www.googleapis.com/auth/cloudkms"
_PART = r"[A-Za-z0-9_.:-]{1,100}"
_NAME = re.compile(
    rf"projects/{_PART}/locations/{_PART}/keyRings/{_PART}/cryptoKeys/{_PART}/cryptoKeyVersions/[0-9]{{1,10}}",
    re.ASCII,
)
_MAX_ANSWER = 64 * 1024
_T = TypeVar("_T")


class KmsSigner:
    """`Signer` of one key version.

    `uri` is `gcpkms://projects/P/locations/L/keyRings/R/cryptoKeys/K/cryptoKeyVersions/V`: a version is one key for
    good, what a key's primary version is changes. `token` gives a bearer token; without it, the default credentials do.
    """

    def __init__(
        self,
        uri: str,
        *,
        endpoint: str = ENDPOINT,
        token: Callable[[], str] | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._name = uri.removeprefix(SCHEME)
        if not uri.startswith(SCHEME) or not _NAME.fullmatch(self._name):
            raise Permanent(
                f"'{printable(uri, 300)}' names no key version; write {SCHEME}projects/PROJECT/locations/LOCATION/"
                "keyRings/RING/cryptoKeys/KEY/cryptoKeyVersions/VERSION."
            )
        self._endpoint, self._token, self._pause = endpoint, token or self._default_token, pause

    @property
    def key_id(self) -> str:
        return dsse.keyid(self._public)

    @property
    def public_pem(self) -> str:
        return self._public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ).decode()

    def sign(self, data: bytes) -> bytes:
        """ECDSA on P-256 over the SHA-256 of `data`, in DER."""
        return self._tried(lambda: self._sign(hashlib.sha256(data).digest()))

    def _sign(self, digest: bytes) -> bytes:
        what = f"Signing with {self._name}"
        body = {
            "digest": {"sha256": base64.b64encode(digest).decode()},
            "digestCrc32c": str(crc32c(digest)),
        }
        answer = self._ask("POST", f"{self._name}:asymmetricSign", what, body)
        if answer.get("verifiedDigestCrc32c") is not True:  # 3
            raise Transient(f"{what} failed: Cloud KMS does not confirm that the digest reached it unharmed.")
        signature = _bytes(answer.get("signature"), what)
        if answer.get("signatureCrc32c") != str(crc32c(signature)):  # 4
            raise Transient(f"{what} failed: the signature does not have the checksum that came with it.")
        try:
            self._public.verify(signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        except InvalidSignature as error:  # 5
            raise Transient(
                f"{what} failed: the signature is not of this key version, or of another digest."
            ) from error
        return signature

    @cached_property
    def _public(self) -> ec.EllipticCurvePublicKey:
        return self._tried(self._fetch)

    def _fetch(self) -> ec.EllipticCurvePublicKey:
        what = f"Fetching the public key of {self._name}"
        answer = self._ask("GET", f"{self._name}/publicKey", what)
        pem, algorithm = str(answer.get("pem")), str(answer.get("algorithm"))
        if answer.get("pemCrc32c") != str(crc32c(pem.encode())):  # 2
            raise Transient(f"{what} failed: the key does not have the checksum that came with it.")
        if algorithm != _ALGORITHM:
            raise Permanent(
                f"{self._name} signs with {printable(algorithm, 60)}; make a key with the algorithm {_ALGORITHM}."
            )
        dsse.public_key(pem, f"The public key of {self._name}")
        key = serialization.load_pem_public_key(pem.strip().encode())
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise Permanent(f"{self._name} says {_ALGORITHM}, but its public key is of another kind.")
        return key

    def _tried(self, call: Callable[[], _T]) -> _T:
        for attempt in range(1, ATTEMPTS):
            try:
                return call()
            except Transient:
                self._pause(0.5 * 2**attempt)
        return call()

    def _ask(self, method: str, path: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = self._http.request(
                method,
                f"{self._endpoint}/v1/{path}",
                json=body,
                headers={"Authorization": f"Bearer {self._token()}"},
            )
        except httpx.HTTPError as error:
            raise Transient(f"{what} broke off: {error or type(error).__name__}.") from error
        if answer.status_code != 200:
            words = printable(" ".join(answer.text[:_MAX_ANSWER].split()), 300)
            if answer.status_code in (408, 429) or answer.status_code >= 500:
                raise Transient(f"{what} did not succeed for now ({answer.status_code}): {words}.")
            raise Permanent(
                f"{what} was refused ({answer.status_code}): {words}. It takes the role roles/cloudkms.signerVerifier."
            )
        try:
            found = answer.json()
        except (ValueError, RecursionError) as error:
            raise Transient(f"{what} was answered with something that is no JSON.") from error
        if not isinstance(found, dict) or found.get("name") != self._name:  # 1
            raise Transient(f"{what} was answered for another key version.")
        return found

    @cached_property
    def _http(self) -> httpx.Client:
        # No proxy of the user's stands before a stand-in on this machine.
        return httpx.Client(timeout=httpx.Timeout(60, connect=10), trust_env=self._endpoint == ENDPOINT)

    @cached_property
    def _credentials(self) -> Any:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
        return credentials

    def _default_token(self) -> str:
        with translated("Cloud KMS"):
            if not self._credentials.valid:
                self._credentials.refresh(Request())
        return str(self._credentials.token)


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli; RFC 3720, 12.1 and appendix B.4)."""
    found = 0xFFFFFFFF
    for byte in data:
        found = _TABLE[(found ^ byte) & 0xFF] ^ (found >> 8)
    return found ^ 0xFFFFFFFF


def _row(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)  # the polynomial, bits reversed
    return value


_TABLE = tuple(_row(value) for value in range(256))


def _bytes(text: object, what: str) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Transient(f"{what} was answered with a signature that is no base64.") from error
