"""The credentials that this account has for registries: Google's own token, or what `docker login` stored."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable
from pathlib import Path

import orjson

from shared.errors import Permanent
from shared.image.registry_auth import Login

Logins = Callable[[str], Login | None]
"""The login for a registry's host (with its port), None to go without."""
_GOOGLE = ("-docker.pkg.dev", ".gcr.io")
_USER = "oauth2accesstoken"
"""https://cloud.google.com/artifact-registry/docs/docker/authentication#token"""


def known_logins(host: str) -> Login | None:
    """Google's application default credentials for Google's registries, Docker's configuration for others."""
    if not _is_google(host):
        return _of_docker(host)
    from shared.gcp.tokens import access_token  # Google's libraries: a build without such a base needs none

    return Login(_USER, access_token())


def with_token(token: Callable[[], str]) -> Logins:
    """Logins for Google's registries by access tokens that `token` gives."""
    return lambda host: Login(_USER, token) if _is_google(host) else None


def nobody(_host: str) -> Login | None:
    """No credentials for anyone."""
    return None


def _is_google(host: str) -> bool:
    return host.endswith(_GOOGLE) or host == "gcr.io"


def _of_docker(host: str) -> Login | None:
    """`auths` of Docker's config.json; credential helpers are programs, and are not run.

    https://docs.docker.com/reference/cli/docker/#docker-cli-configuration-file-configjson-properties
    """
    folder = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        entry = orjson.loads((folder / "config.json").read_bytes()).get("auths", {}).get(host, {})
        user, colon, password = base64.b64decode(entry.get("auth", ""), validate=True).decode().partition(":")
    except FileNotFoundError:
        return None
    except (
        OSError,
        orjson.JSONDecodeError,
        AttributeError,
        TypeError,
        binascii.Error,
        UnicodeError,
    ) as error:
        raise Permanent(f"{folder / 'config.json'} has no readable login for {host}; log in anew.") from error
    return Login(user, lambda: password) if colon else None
