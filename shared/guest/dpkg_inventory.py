"""Debian packages on this machine, as dpkg knows them, and the archives that they came from."""

from __future__ import annotations

import hashlib
import os
import platform
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.guest import process, record
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


@dataclass(frozen=True)
class Owned:
    """What of Python's world belongs to dpkg: judged as Debian packages, not as PyPI's."""

    metadata: frozenset[str] = frozenset()
    """Paths of METADATA or PKG-INFO files (or of an egg-info that is a file)."""
    wheels: frozenset[str] = frozenset()
    """RECORD digests of the wheels that ensurepip copies into new environments. Debian's pip is patched: it has the
    version of PyPI's, but other bytes."""


def owned(info: Path = _INFO) -> Owned:
    metadata, wheels = set(), set()
    for listing in info.glob("*.list"):
        for line in listing.read_text("utf-8", "surrogateescape").splitlines():
            if "-packages/" in line and (".dist-info" in line or ".egg-info" in line):
                metadata.add(os.path.realpath(line))
            elif line.endswith(".whl"):
                wheels.add(_wheel_digest(line))
    return Owned(frozenset(metadata), frozenset(wheels) - {""})


def _wheel_digest(path: str) -> str:
    try:
        with zipfile.ZipFile(path) as wheel:
            for name in wheel.namelist():
                folder, _, file = name.rpartition("/")
                if file == "RECORD" and folder.endswith(".dist-info") and "/" not in folder:
                    return record.from_wheel(wheel.read(name).decode(), folder)
    except (OSError, ValueError, zipfile.BadZipFile):
        pass
    return ""
