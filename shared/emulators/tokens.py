"""Access tokens of the local platform.

Google's are opaque and checked by its front ends. Ours carry the service account and the expiry, signed with a key
that only the platform's own processes can read, so that each emulator checks them without asking another.
Shape: `ya29.<base64url(JSON {"email","exp"})>.<base64url(HMAC-SHA256)>`.
"""

import base64
import hashlib
import hmac
import json
import secrets
from pathlib import Path

from shared.errors import Permanent

_PREFIX = "ya29."


def load_key(path: Path) -> bytes:
    """The platform's signing key, 32 bytes; made on first use, readable by its owner only."""
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            file.write(secrets.token_bytes(32))
    except FileExistsError:
        pass
    return path.read_bytes()


def mint(key: bytes, email: str, now: float, lifetime: int = 3600) -> str:
    """A bearer token for `email`, valid from `now` (seconds since 1970) for `lifetime` seconds."""
    claims = _encode(json.dumps({"email": email, "exp": int(now) + lifetime}).encode())
    return f"{_PREFIX}{claims}.{_encode(_sign(key, claims))}"


def verify(key: bytes, token: str, now: float) -> str:
    """The service account that `token` was minted for; Permanent if it is forged, malformed or expired."""
    claims, _, signature = token.removeprefix(_PREFIX).partition(".")
    if not token.startswith(_PREFIX) or not hmac.compare_digest(_encode(_sign(key, claims)), signature):
        raise Permanent(
            "The access token was not issued by this platform; fetch one from the metadata server."
        )
    content = json.loads(_decode(claims))
    if content["exp"] <= now:
        raise Permanent(
            f"The access token of {content['email']} has expired; fetch a new one from the metadata server."
        )
    return str(content["email"])


def _sign(key: bytes, claims: str) -> bytes:
    return hmac.digest(key, claims.encode(), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
