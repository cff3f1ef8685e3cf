"""Installs the locked Debian archives. apt has no mode that requires hashes, so it takes three steps:
download only, compare each file's sha256 with the lock, install without downloading.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.guest import dpkg_inventory, process
from shared.guest.failure import GuestError

DOWNLOADS = Path("/opt/dmz/archives")

Archive = Mapping[str, Any]


def install(
    archives: Sequence[Archive], native: str, environment: Mapping[str, str], on_line: Callable[[str], None]
) -> None:
    """Install exactly `archives`; GuestError if the repository lacks one or has other bytes under its name."""
    if not archives:
        return
    process.check(["apt-get", "update"], environment, on_line)
    shutil.rmtree(DOWNLOADS, ignore_errors=True)
    DOWNLOADS.mkdir(parents=True)
    shutil.chown(DOWNLOADS, "_apt")  # apt's download methods drop root for this user
    wanted = [_name(each, native) for each in archives]
    process.check(["apt-get", "download", "--", *wanted], environment, on_line, cwd=DOWNLOADS)
    shutil.chown(DOWNLOADS, "root")
    compare(archives, dpkg_inventory.archive_hashes(DOWNLOADS))
    cache = dpkg_inventory.ARCHIVES
    cache.mkdir(parents=True, exist_ok=True)
    files = [str(path.replace(cache / path.name)) for path in sorted(DOWNLOADS.glob("*.deb"))]
    # A dependency outside the lock cannot be had: without a download apt stops and names it.
    argv = ["apt-get", "install", "--yes", "--no-download", "--no-install-recommends", "--allow-downgrades"]
    process.check([*argv, "--", *files], environment, on_line)


def compare(archives: Sequence[Archive], found: Mapping[tuple[str, str, str], str]) -> None:
    """Hold every downloaded archive to the lock: none missing, none changed, none more."""
    left = dict(found)
    for each in archives:
        key = each["name"], each["version"], each["architecture"]
        have = left.pop(key, None)
        title = f"{each['name']} {each['version']} ({each['architecture']})"
        if have is None:
            raise GuestError(f"The apt repository did not give the locked archive {title}.")
        if have != each["sha256"]:
            raise GuestError(
                f"The archive {title} has {have}, the lock says {each['sha256']}: not installed."
            )
    if left:
        raise GuestError(f"apt downloaded {sorted(left)[0][0]}, which is not in the lock.")


def _name(archive: Archive, native: str) -> str:
    qualifier = "" if archive["architecture"] in ("all", native) else f":{archive['architecture']}"
    return f"{archive['name']}{qualifier}={archive['version']}"
