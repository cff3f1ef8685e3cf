"""Which wheels a machine can install, told from its manifest alone."""

from __future__ import annotations

import re
from collections.abc import Sequence

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from shared.model.manifest import ClaimedManifest
from shared.ports import IndexFile

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def supported(manifest: ClaimedManifest, python: str) -> tuple[Tag, ...]:
    """Tags for CPython `python` (like 3.13.5) on the manifest's machine, best first (PEP 425, PEP 600)."""
    machine = _MACHINES.get(manifest.release.architecture, manifest.release.architecture)
    libc = next((p.version for p in manifest.debian if p.name == "libc6"), "2.28")
    found = re.match(r"(\d+)\.(\d+)", libc)
    minor = int(found[2]) if found else 28
    platforms = [f"manylinux_2_{n}_{machine}" for n in range(minor, 4, -1)]
    platforms += [
        f"manylinux2014_{machine}",
        f"manylinux2010_{machine}",
        f"manylinux1_{machine}",
        f"linux_{machine}",
    ]
    version = tuple(int(part) for part in python.split(".")[:2])
    interpreter = f"cp{version[0]}{version[1]}"
    return (
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter=interpreter, platforms=platforms),
    )


def version_of(filename: str) -> Version | None:
    """Version in a wheel's or source distribution's file name; None if it is neither."""
    try:
        return (parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename)(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


def best(files: Sequence[IndexFile], version: str, tags: Sequence[Tag]) -> IndexFile | None:
    """The file that an installer would take: the best-tagged wheel, else a source distribution."""
    order = {tag: rank for rank, tag in enumerate(tags)}
    wanted = Version(version)
    of_version = [file for file in files if version_of(file.filename) == wanted and not file.yanked]

    def rank(file: IndexFile) -> int:
        *_, its_tags = parse_wheel_filename(file.filename)
        return min((order[tag] for tag in its_tags if tag in order), default=len(order))

    wheels = [file for file in of_version if file.filename.endswith(".whl") and rank(file) < len(order)]
    if wheels:
        return min(wheels, key=lambda file: (rank(file), file.filename))
    sources = [file for file in of_version if file.filename.endswith(".tar.gz")]
    return sources[0] if sources else None
