"""The public side of the attestation service: who verifies tokens gets keys and root here.

Paths as on https://confidentialcomputing.googleapis.com:
/.well-known/openid-configuration, /.well-known/attestation-pki-root, and the JWKS that the former names (on Google
Cloud at www.googleapis.com). Nothing here is secret, and nobody need say who he is.
"""

import json
from typing import Any

from shared.emulators.confidential_space.claims import ISSUER
from shared.emulators.confidential_space.keys import Signer
from shared.emulators.registry.http import Reply, Request
from shared.emulators.registry.problems import Problem, not_found

HOST = "confidentialcomputing.googleapis.com"
JWKS = "/service_accounts/v1/metadata/jwk/signer@confidentialspace-sign.iam.gserviceaccount.com"
DISCOVERY, PKI_ROOT = "/.well-known/openid-configuration", "/.well-known/attestation-pki-root"
ROOT = "/confidential_space_root.crt"
_CACHE = {"Cache-Control": "public, max-age=300"}
_CLAIMS = [
    "sub", "aud", "exp", "iat", "iss", "jti", "nbf", "dbgstat", "eat_nonce", "google_service_accounts", "hwmodel",
    "oemid", "secboot", "submods", "swname", "swversion",
]  # fmt: skip


class Issuer:
    """Answers GET requests. `url`: where this server is reached, without a slash at the end."""

    def __init__(self, signer: Signer, url: str) -> None:
        self._signer, self._url = signer, url

    def __call__(self, request: Request) -> Reply:
        if request.method not in ("GET", "HEAD"):
            raise Problem(405, "The request method is not allowed here.")
        if request.path == "/healthz":
            return Reply(content_type="text/plain", content=b"ok\n")
        if request.path == ROOT:
            return Reply(content_type="application/x-pem-file", content=self._signer.pki.root_pem.encode())
        documents = {
            DISCOVERY: self._discovery,
            PKI_ROOT: lambda: {"issuer": ISSUER, "root_ca_uri": f"{self._url}{ROOT}"},
            JWKS: self._signer.jwks,
        }
        if request.path not in documents:
            raise not_found("The requested URL was not found on this server.")
        content = json.dumps(documents[request.path](), indent=1).encode()
        return Reply(content=content, headers=dict(_CACHE))

    def _discovery(self) -> dict[str, Any]:
        return {
            "claims_supported": _CLAIMS,
            "id_token_signing_alg_values_supported": ["RS256"],
            "issuer": ISSUER,
            "jwks_uri": f"{self._url}{JWKS}",
            "response_types_supported": ["id_token"],
            "scopes_supported": ["openid"],
            "subject_types_supported": ["public"],
        }
