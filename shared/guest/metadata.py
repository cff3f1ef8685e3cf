"""The metadata server (https://cloud.google.com/compute/docs/metadata/overview): attributes and access tokens."""

from __future__ import annotations

import json
import threading
import time

from shared.guest import web
from shared.guest.failure import GuestError

SERVER = "http://metadata.google.internal/computeMetadata/v1/instance"
_HEADERS = {"Metadata-Flavor": "Google"}
# The server hands out a new token five minutes before the old one expires.
_EARLY = 240


class Metadata:
    """Attributes and tokens of this VM. Safe to share among threads."""

    def __init__(self, server: str = SERVER) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._token, self._expires = "", 0.0

    def attribute(self, name: str) -> str:
        return web.request(f"{self._server}/attributes/{name}", _HEADERS, patience=120).decode()

    def optional(self, name: str) -> str | None:
        """None if there is no such attribute; GuestError if the server does not say."""
        listing = web.request(f"{self._server}/attributes/", _HEADERS, patience=120).decode()
        return self.attribute(name) if name in listing.split() else None

    def name(self) -> str:
        return web.request(f"{self._server}/name", _HEADERS).decode()

    def token(self) -> str:
        """An access token of the VM's service account, good for some minutes at least."""
        with self._lock:
            if time.monotonic() < self._expires:
                return self._token
            answer = web.request(f"{self._server}/service-accounts/default/token", _HEADERS, patience=120)
            try:
                content = json.loads(answer)
                self._token = str(content["access_token"])
                self._expires = time.monotonic() + float(content["expires_in"]) - _EARLY
            except (ValueError, KeyError, TypeError) as error:
                raise GuestError("The metadata server's answer holds no access token.") from error
            return self._token

    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token()}"}
