"""dmz-fetch URL DEST: how an install script fetches a file by URL, the same line in both VMs.

The outer VM fetches it from the URL and notes what came; the inner VM takes the bytes that its lock names for the URL
out of the private generic repository.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.guest import artifacts, config, inventory, web
from shared.guest.failure import GuestError
from shared.guest.metadata import Metadata

GUEST = inventory.HOME / "guest.pyz"
CONFIG = inventory.HOME / "config.json"
LOCK = inventory.HOME / "lock.json"
TOOL = Path("/usr/local/bin/dmz-fetch")

_URL = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]+)?/[!-~]{0,2000}", re.ASCII)


def install_tool(settings: config.Config) -> None:
    """Put dmz-fetch on PATH."""
    CONFIG.write_text(settings.to_json(), encoding="utf-8")
    CONFIG.chmod(0o600)
    TOOL.write_text(f'#!/bin/sh\nexec /usr/bin/python3 -I {GUEST} fetch "$@"\n', encoding="utf-8")
    TOOL.chmod(0o755)


def main(arguments: Sequence[str]) -> int:
    """The tool itself; its exit code."""
    try:
        entry = _fetch(arguments)
    except (GuestError, OSError) as error:
        print(f"dmz-fetch: {error}", file=sys.stderr)
        return 1
    print(f"dmz-fetch: {entry['path']} has {entry['size']} bytes, {entry['sha256']}")
    return 0


def _fetch(arguments: Sequence[str]) -> inventory.Entry:
    if len(arguments) != 2:
        raise GuestError("dmz-fetch takes a URL and the path of the file to write.")
    url, to = arguments[0], Path(arguments[1]).resolve()
    if not _URL.fullmatch(url):
        raise GuestError(f"dmz-fetch fetches https URLs in printable ASCII only, not {url[:200]!r}.")
    settings = config.parse(CONFIG.read_text("utf-8"))
    if settings.role == "outer":
        return from_internet(url, to, inventory.FETCHED)
    return from_lock(settings, Metadata(), url, to)


def from_internet(url: str, to: Path, journal: Path) -> inventory.Entry:
    """Fetch `url` and note in the journal what came."""
    sha256, size = web.download(url, to, patience=120)
    return _note(url, sha256, size, to, journal)


def from_lock(settings: config.Config, metadata: Metadata, url: str, to: Path) -> inventory.Entry:
    """Fetch what the lock names for `url` from the private generic repository, held to its hash."""
    locked = json.loads(LOCK.read_text("utf-8"))
    for each in locked["generic"]:
        if each["url"] == url and settings.repositories is not None:
            repository = settings.repositories.generic
            size = artifacts.fetch(
                settings, metadata, repository, config.generic_id(each["sha256"]), each["sha256"], to
            )
            return _note(url, each["sha256"], size, to, inventory.FETCHED)
    raise GuestError(f"The lock holds nothing for {url}: the outer VM's install did not fetch it.")


def _note(url: str, sha256: str, size: int, to: Path, journal: Path) -> inventory.Entry:
    entry = {"url": url, "sha256": sha256, "size": size, "path": str(to)}
    note(entry, journal)
    return entry


def note(entry: inventory.Entry, journal: Path) -> None:
    """Write down what came: the last entry about a place and its URL counts."""
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
