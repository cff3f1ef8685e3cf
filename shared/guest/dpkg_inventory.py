"""Debian packages on this machine, as dpkg knows them, and the archives that they came from."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

from shared.guest import process
from shared.guest.failure import GuestError

ARCHIVES = Path("/var/cache/apt/archives")
_INFO = Path("/var/lib/dpkg/info")
_FIELDS = ("Package", "Version", "Architecture", "source:Package", "source:Version", "db:Status-Status")
_ABSENT = {"config-files", "not-installed"}

Entry = dict[str, Any]


def release() -> dict[str, str]:
    """What /etc/os-release and dpkg say of the distribution."""
    values = platform.freedesktop_os_release()
    try:
        return {
            "id": values["ID"],
            "version_id": values["VERSION_ID"],
            "codename": values["VERSION_CODENAME"],
            "architecture": process.output(["dpkg", "--print-architecture"]).strip(),
        }
    except KeyError as error:
        raise GuestError(
            f"/etc/os-release lacks {error}; only Debian and Ubuntu releases are known."
        ) from error


def packages(archives: Path = ARCHIVES) -> list[Entry]:
    """Every package of which files are on the machine, sorted; `archive` where its .deb is still in the cache."""
    line = "\\t".join(f"${{{name}}}" for name in _FIELDS) + "\\n"
    found = []
    cached = archive_hashes(archives)
    for row in process.output(["dpkg-query", "--show", f"--showformat={line}"]).splitlines():
        name, version, architecture, source_name, source_version, status = row.split("\t")
        if status in _ABSENT:
            continue
        found.append(
            {
                "name": name,
                "version": version,
                "architecture": architecture,
                "source_name": source_name,
                "source_version": source_version,
                "archive": cached.get((name, version, architecture)),
            }
        )
    return sorted(found, key=lambda each: (each["name"], each["architecture"]))


def archive_hashes(archives: Path) -> dict[tuple[str, str, str], str]:
    """(name, version, architecture) to sha256 for the cached archives.

    apt names them `name_version_arch.deb` with the colon of an epoch as %3a (apt's QuoteString over "_:").
    """
    hashes = {}
    for path in archives.glob("*.deb") if archives.is_dir() else ():
        parts = path.name[: -len(".deb")].split("_")
        if len(parts) == 3 and path.is_file() and not path.is_symlink():
            name, version, architecture = (unquote(part) for part in parts)
            hashes[name, version, architecture] = file_hash(path)
    return hashes


def unquote(text: str) -> str:
    """Undo apt's %XX."""
    head, *rest = text.split("%")
    return head + "".join(chr(int(part[:2], 16)) + part[2:] for part in rest)


def file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return "sha256:" + digest.hexdigest()


def owned_metadata(info: Path = _INFO) -> frozenset[str]:
    """Paths below a dist-info or egg-info, or such a file itself, that belong to a dpkg package."""
    owned = set()
    for listing in info.glob("*.list"):
        for line in listing.read_text("utf-8", "surrogateescape").splitlines():
            if "-packages/" in line and (".dist-info" in line or ".egg-info" in line):
                owned.add(os.path.realpath(line))
    return frozenset(owned)
