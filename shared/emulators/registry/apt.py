"""Apt repositories: upload through the API, and what `REGION-apt.pkg.dev` serves.

Upload: https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.aptArtifacts/upload
("Imported artifacts that conflict with existing resources are ignored": the operation succeeds, names no artifact, and
the repository keeps what it had.) The signing key is published to everybody, armored: `/doc/repo-signing-key.gpg`, see
https://github.com/GoogleCloudPlatform/artifact-registry-apt-transport/issues/10.
"""

import base64
import re
from typing import Any
from urllib.parse import unquote

from shared.emulators.registry.apt_index import AptIndexes, pool_name
from shared.emulators.registry.blobs import Staged
from shared.emulators.registry.debs import read_control
from shared.emulators.registry.http import Reply
from shared.emulators.registry.openpgp import SigningKey
from shared.emulators.registry.problems import not_found
from shared.emulators.registry.store import NewFile, Store

KEY_PATH = "/doc/repo-signing-key.gpg"
_DISTS = re.compile(r"dists/([^/]+)/(.+)")
_POOL = re.compile(r"pool/([^/]+)/([^/]+)")


def store_artifact(store: Store, repository: str, parent: str, staged: Staged) -> list[dict[str, Any]]:
    """Add the package; returns the AptArtifacts added: none if one of its name, version and architecture is there.

    Problem 400 if the upload is not a Debian package.
    """
    control = read_control(staged.path)
    identity = f"{control.package}={control.version}:{control.architecture}"
    new = NewFile(
        f"pool/{pool_name(control, staged.md5)}",
        control.package,
        control.version,
        {"architecture": control.architecture, "control": control.text},
        identity,
    )
    if store.add(repository, new, staged) is None:
        return []
    return [
        {
            "name": f"{parent}/aptArtifacts/{control.package}:{control.version}:{control.architecture}",
            "packageName": control.package,
            "packageType": "BINARY",
            "architecture": control.architecture,
            "component": "main",
            "controlFile": base64.b64encode(control.text.encode()).decode(),
        }
    ]


class AptFiles:
    """Serves the paths below `https://REGION-apt.pkg.dev/projects/PROJECT/`."""

    def __init__(self, store: Store, key: SigningKey) -> None:
        self._store = store
        self._key = key
        self._indexes = AptIndexes(store, key)

    def signing_key(self) -> Reply:
        """The public key, for everybody."""
        return Reply(content_type="application/pgp-keys", content=self._key.public_key())

    @staticmethod
    def repository(path: str) -> str:
        """The repository that `path` (below the project) belongs to; 404 if it is none of this layout."""
        match = _DISTS.fullmatch(path) or _POOL.fullmatch(path)
        if not match:
            raise not_found()
        return match[1]

    def serve(self, path: str) -> Reply:
        """The index or pool file at `path`, below the project; 404 if there is none."""
        if match := _DISTS.fullmatch(path):
            content = self._indexes.current(match[1]).files.get(unquote(match[2]))
            if content is None:
                raise not_found()
            kind = "application/gzip" if path.endswith(".gz") else "text/plain; charset=utf-8"
            return Reply(content_type=kind, content=content, headers={"Cache-Control": "no-cache"})
        match = _POOL.fullmatch(path)
        file = self._store.file(match[1], f"pool/{unquote(match[2])}") if match else None
        if file is None:
            raise not_found()
        return Reply(
            content_type="application/vnd.debian.binary-package", path=self._store.blobs.path(file.sha256)
        )
