"""Fetches what is publicly known: OSV's zips, CISA's catalogue and FIRST's estimates, beside each other.

The zips come in osv-scanner's offline layout (https://google.github.io/osv.dev/data/#data-dumps). A new file replaces
the old one after it was verified, whole or not at all.
"""

from __future__ import annotations

import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

from shared.advisories.archive import prepare
from shared.advisories.exploitation import MAX_FILE, read_exploited, read_predictions
from shared.advisories.joined import EPSS_FILES, EPSS_URL, KEV_FILE, KEV_URL
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
            path = directory / name / "all.zip"
            _replace(client, _Wanted(f"{url.rstrip('/')}/{name}/all.zip", path, _whole_zip), name, progress)
            with suppress(DmzError, OSError):  # whoever reads it says what is wrong with it
                prepare(path, name)
    return tuple(stale)


def download_exploitation(
    directory: Path,
    kev: str = KEV_URL,
    epss: str = EPSS_URL,
    max_age_hours: float = 6,
    clock: Callable[[], float] = time.time,
    progress: Callable[[str, int], None] | None = None,
) -> None:
    """As `download`, CISA's catalogue and FIRST's estimates to where `shared.advisories.joined` looks for them.

    One of them that fails does not keep the other from being fetched; the first failure is raised then.
    """
    wanted = {
        "CISA KEV": _Wanted(kev, directory / KEV_FILE, lambda path, _: read_exploited(path)),
        "FIRST EPSS": _Wanted(epss, directory / EPSS_FILES[0], lambda path, _: read_predictions(path)),
    }
    failed: list[DmzError] = []
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True) as client:
        for name, one in wanted.items():
            if 0 <= clock() - _modified(one.path) < max_age_hours * 3600:
                continue
            try:
                _replace(client, one, name, progress, MAX_FILE)
            except DmzError as error:
                failed.append(error)
    if failed:
        raise failed[0]


@dataclass(frozen=True)
class _Wanted:
    """A file to fetch."""

    url: str
    path: Path
    verify: Callable[[Path, str], object]
    """Raises if the file at the path is not what the address should have sent."""


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return float("-inf")  # what is in the way is said when the file is put in place


def _young(path: Path, max_age_hours: float, now: float) -> bool:
    return 0 <= now - _modified(path) < max_age_hours * 3600 and zipfile.is_zipfile(path)


def _replace(
    client: httpx.Client,
    wanted: _Wanted,
    name: str,
    progress: Callable[[str, int], None] | None,
    most: int | None = None,
) -> None:
    url, path = wanted.url, wanted.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Beside its target, so that the replacement is a rename within one file system.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            try:
                size = 0
                with client.stream("GET", url) as response:
                    _accept(response, url)
                    for chunk in response.iter_bytes(_CHUNK):
                        size += file.write(chunk)
                        if most is not None and size > most:
                            raise Permanent(
                                f"{url} sends more than {most} bytes, which {name} does not have."
                            )
                        if progress:
                            progress(name, size)
                file.flush()
                os.fsync(file.fileno())
                wanted.verify(temporary, url)
                temporary.chmod(0o644)
                temporary.replace(path)
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
            f"There are no advisories at {url} (HTTP {response.status_code}): check address and ecosystem."
        )
    if response.status_code != 200:
        raise Transient(
            f"The advisories at {url} were refused with HTTP {response.status_code}: try again later."
        )


def _whole_zip(path: Path, url: str) -> None:
    """The central directory stands at a zip's end: if it can be read and lists records, the file is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.endswith(".json")]
    except zipfile.BadZipFile as error:
        raise Transient(f"What {url} sent is not a whole zip ({error}): try again later.") from error
    if not members:
        raise Transient(f"What {url} sent holds no advisory: try again later.")
