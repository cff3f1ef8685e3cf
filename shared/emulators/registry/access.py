"""Who calls, and what may they do.

Tokens come as `Authorization: Bearer TOKEN` or as Basic with the user `oauth2accesstoken`, as pip and apt send them:
https://cloud.google.com/artifact-registry/docs/python/authentication. Roles are Google's predefined ones and nest:
https://cloud.google.com/artifact-registry/docs/access-control#roles (reader reads, writer adds, repoAdmin deletes).
"""

import base64
import binascii
import time

from shared.emulators import tokens
from shared.emulators.registry.config import Config
from shared.emulators.registry.problems import Problem
from shared.errors import Permanent

_READ = {
    "artifactregistry.repositories.get",
    "artifactregistry.repositories.list",
    "artifactregistry.repositories.downloadArtifacts",
    "artifactregistry.packages.get",
    "artifactregistry.packages.list",
    "artifactregistry.versions.get",
    "artifactregistry.versions.list",
    "artifactregistry.files.get",
    "artifactregistry.files.list",
    "artifactregistry.dockerimages.get",
    "artifactregistry.dockerimages.list",
}
_WRITE = _READ | {
    "artifactregistry.repositories.uploadArtifacts",
    "artifactregistry.aptartifacts.create",
}
_ADMIN = _WRITE | {
    "artifactregistry.packages.delete",
    "artifactregistry.versions.delete",
    "artifactregistry.files.delete",
}
_GRANTS = {
    "reader": _READ,
    "writer": _WRITE,
    "repoAdmin": _ADMIN,
    # Our own custom role (terraform/inner/crossing.tf): what no predefined one is narrow enough for.
    "packageDmzEvictor": {"artifactregistry.versions.delete"},
}
PERMISSIONS = frozenset(_ADMIN)


class Access:
    """Checks callers against the platform's tokens and the configured roles."""

    def __init__(self, config: Config) -> None:
        self._key = tokens.load_key(config.token_key)
        self._config = config

    def caller(self, authorization: str | None, challenge: str) -> str:
        """The e-mail address of who calls; 401 without a valid token, with `challenge` as WWW-Authenticate."""
        headers = {"WWW-Authenticate": challenge}
        if not authorization:
            raise Problem(
                401,
                "Request is missing required authentication credential. Expected OAuth 2 access token, "
                "login cookie or other valid authentication credential.",
                headers=headers,
            )
        try:
            return tokens.verify(self._key, _token(authorization), time.time())
        except Permanent as error:
            raise Problem(
                401, f"Request had invalid authentication credentials. {error}", headers=headers
            ) from error

    def token(self, authorization: str) -> str:
        """The access token in a header that `caller` has taken."""
        return _token(authorization)

    def require(self, email: str, repository: str, permission: str) -> None:
        """403 unless `email` holds `permission` on `repository` (a name that need not exist: Google hides that)."""
        if not self.allowed(email, repository, permission):
            resource = (
                f"projects/{self._config.project}/locations/{self._config.location}/repositories/{repository}"
            )
            raise Problem(
                403, f"Permission '{permission}' denied on resource '{resource}' (or it may not exist)."
            )

    def allowed(self, email: str, repository: str, permission: str) -> bool:
        """Whether one of the roles of `email`, on the project or on `repository`, grants `permission`."""
        return any(
            email in members and permission in _GRANTS[role]
            for place in ("*", repository)
            for role, members in self._config.iam.get(place, {}).items()
        )


def _token(authorization: str) -> str:
    """The access token in an Authorization header; Permanent if there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        token = value.strip()
    elif scheme.lower() == "basic":
        try:
            user, _, token = base64.b64decode(value.strip(), validate=True).decode("ascii").partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Permanent("The Basic credentials are not base64.") from error
        if user != "oauth2accesstoken":
            raise Permanent("The user of Basic credentials must be oauth2accesstoken.")
    else:
        raise Permanent(f"The authorization scheme {scheme[:20]!r} is unknown; use Bearer or Basic.")
    if not token or not token.isascii():
        raise Permanent("The access token is empty or not ASCII.")
    return token
