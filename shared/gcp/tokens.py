"""Access tokens of the account that this process runs as, for Google's interfaces that have no client library."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from shared.gcp.errors import translated

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def access_token() -> Callable[[], str]:
    """Gives the application default credentials' token, a new one when the old has run out.

    Nothing is asked for before the first call. Permanent if there are no credentials, Transient if Google cannot be
    reached.
    """
    lock = threading.Lock()
    found: list[Any] = []

    def token() -> str:
        import google.auth
        from google.auth.transport.requests import Request

        with lock, translated("Google's login"):
            if not found:
                found.append(google.auth.default(scopes=[_SCOPE])[0])
            (credentials,) = found
            if not credentials.valid:
                credentials.refresh(Request())
            return str(credentials.token)

    return token
