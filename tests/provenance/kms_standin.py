"""Cloud KMS on loopback, as far as signing goes: it really signs, and misbehaves on demand.

Answers as https://cloud.google.com/kms/docs/reference/rest/v1/projects.locations.keyRings.cryptoKeys.cryptoKeyVersions
describes them; int64 values are strings there.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.provenance.makers import public_pem

NAME = "projects/p/locations/global/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
TOKEN = "a token"


def crc32c(data: bytes) -> int:
    """Bit by bit, unlike the product's."""
    found = 0xFFFFFFFF
    for byte in data:
        found ^= byte
        for _ in range(8):
            found = (found >> 1) ^ (0x82F63B78 * (found & 1))
    return found ^ 0xFFFFFFFF


class Kms:
    """What the stand-in does. `faults` are spent one by one, an answer each."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.faults: list[str] = []
        self.asked: list[tuple[str, str, dict[str, Any] | None]] = []
        self.algorithm = "EC_SIGN_P256_SHA256"
        self.url = ""

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, bytes]:
        self.asked.append((method, path, json.loads(body) if body else None))
        fault = self.faults.pop(0) if self.faults else ""
        if token != f"Bearer {TOKEN}":
            return 401, b'{"error": {"code": 401, "status": "UNAUTHENTICATED"}}'
        if fault.isdigit():
            return int(fault), json.dumps({"error": {"code": int(fault), "message": "a reason"}}).encode()
        if fault == "no json":
            return 200, b"<html>"
        if (method, path) == ("GET", f"/v1/{NAME}/publicKey"):
            found = self._public(fault)
        elif (method, path) == ("POST", f"/v1/{NAME}:asymmetricSign"):
            found = self._sign(json.loads(body), fault)
        else:
            return 404, b'{"error": {"code": 404, "status": "NOT_FOUND"}}'
        if fault == "other name":
            found["name"] = NAME[:-1] + "2"
        return 200, json.dumps(found).encode()

    def _public(self, fault: str) -> dict[str, Any]:
        pem = public_pem(self.key.public_key())
        return {
            "pem": pem,
            "algorithm": self.algorithm,
            "pemCrc32c": str(crc32c(pem.encode()) ^ (fault == "key checksum")),
            "name": NAME,
            "protectionLevel": "SOFTWARE",
        }

    def _sign(self, asked: dict[str, Any], fault: str) -> dict[str, Any]:
        digest = base64.b64decode(asked["digest"]["sha256"])
        right = asked.get("digestCrc32c") == str(crc32c(digest))
        key = ec.generate_private_key(ec.SECP256R1()) if fault == "other key" else self.key
        if fault == "other digest":
            digest = bytes(32)
        signature = key.sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        return {
            "signature": "!" if fault == "no base64" else base64.b64encode(signature).decode(),
            "signatureCrc32c": str(crc32c(signature) ^ (fault == "checksum")),
            "verifiedDigestCrc32c": right and fault != "unverified",
            "name": NAME,
            "protectionLevel": "SOFTWARE",
        }


@contextmanager
def running() -> Iterator[Kms]:
    kms = Kms()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = kms.answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _serve

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    kms.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield kms
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
