"""Files out of generic repositories, by Artifact Registry's download interface.

https://cloud.google.com/artifact-registry/docs/reference/rest/v1/projects.locations.repositories.files/download
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from shared.guest import web
from shared.guest.config import Config
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata

HOST = "https://artifactregistry.googleapis.com"


def fetch(config: Config, metadata: Metadata, repository: str, file_id: str, sha256: str, to: Path) -> int:
    """Download a file of a generic repository to `to` and hold it to `sha256`; its size."""
    url = (
        f"{HOST}/v1/projects/{config.project}/locations/{config.location}/repositories/{repository}"
        f"/files/{quote(file_id, safe=':')}:download?alt=media"
    )
    found, size = web.download(url, to, metadata.authorization(), patience=180)
    if found != sha256:
        to.unlink()
        raise GuestError(f"{file_id} in the repository {repository} has {found}, not {sha256}: not used.")
    return size
