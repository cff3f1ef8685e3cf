"""Fetches OSV's zips into osv-scanner's offline layout (https://google.github.io/osv.dev/data/#data-dumps)."""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

from shared.advisories.archive import prepare
from shared.errors import DmzError, Permanent, Transient

BUCKET = "https://osv-vulnerabilities.storage.googleapis.com"
# A machine without a way out must not wait: its snapshot is at hand.
_TIMEOUT = httpx.Timeout(60, connect=3)
_CHUNK = 1 << 20


def download(
    directory: Path,
    ecosystems: Sequence[str] = ("PyPI", "Debian"),
    url: str = BUCKET,
    max_age_hours: float = 6,
    clock: Callable[[], float] = time.time,
    progress: Callable[[str, int], None] | None = None,
) -> tuple[str, ...]:
    """Put `<directory>/<ecosystem>/all.zip` in place for each ecosystem; those that were fetched now.

    A file younger than `max_age_hours` is kept. A new one replaces the old one whole or not at all. `progress` is told
    the bytes that an ecosystem has so far. Transient if OSV cannot be reached or sends less than a whole zip,
    Permanent if it has no such ecosystem or the disk refuses.
    """
    if not ecosystems:
        raise Permanent("No ecosystem was named for the download of advisories: give at least PyPI.")
    stale = [name for name in ecosystems if not _young(directory / name / "all.zip", max_age_hours, clock())]
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
        for name in stale:
            _replace(
                client, f"{url.rstrip('/')}/{name}/all.zip", directory / name / "all.zip", name, progress
            )
    return tuple(stale)


def _young(path: Path, max_age_hours: float, now: float) -> bool:
    try:
        age = now - path.stat().st_mtime
        return 0 <= age < max_age_hours * 3600 and zipfile.is_zipfile(path)
    except OSError:
        return False  # what is in the way is said when the file is put in place


def _replace(
    client: httpx.Client,
    url: str,
    path: Path,
    ecosystem: str,
    progress: Callable[[str, int], None] | None,
) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its target, so that the replacement is a rename within one file system.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".all.zip.", delete=False) as file:
            temporary = Path(file.name)
            try:
                size = 0
                with client.stream("GET", url) as response:
                    _accept(response, url)
                    for chunk in response.iter_bytes(_CHUNK):
                        size += file.write(chunk)
                        if progress:
                            progress(ecosystem, size)
                file.flush()
                os.fsync(file.fileno())
                _verify(temporary, url)
                temporary.chmod(0o644)
                temporary.replace(path)
                with suppress(DmzError, OSError):  # whoever reads it says what is wrong with it
                    prepare(path, ecosystem)
            finally:
                temporary.unlink(missing_ok=True)
    except httpx.HTTPError as error:
        raise Transient(
            f"The advisories at {url} cannot be reached ({type(error).__name__}: {error})."
        ) from error
    except OSError as error:
        raise Permanent(f"The advisories cannot be stored at {path}: {error.strerror or error}.") from error


def _accept(response: httpx.Response, url: str) -> None:
    if response.status_code in (403, 404):
        raise Permanent(
            f"There are no advisories at {url} (HTTP {response.status_code}): check the ecosystem's name."
        )
    if response.status_code != 200:
        raise Transient(
            f"The advisories at {url} were refused with HTTP {response.status_code}: try again later."
        )


def _verify(path: Path, url: str) -> None:
    """The central directory stands at a zip's end: if it can be read and lists records, the file is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".json")]
    except zipfile.BadZipFile as error:
        raise Transient(f"What {url} sent is not a whole zip ({error}): try again later.") from error
    if not members:
        raise Transient(f"What {url} sent holds no advisory: try again later.")
