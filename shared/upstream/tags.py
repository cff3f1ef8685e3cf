"""Which files of an index a machine can install, told from its architecture, its glibc and its Python alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from shared.model.manifest import ClaimedManifest
from shared.ports.upstream import IndexFile

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_LEGACY = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
"""glibc's minor version to the older name of the same platform (PEP 600)."""
_OLDEST, _NEWEST = 5, 99


def supported(manifest: ClaimedManifest, python: str) -> tuple[Tag, ...]:
    """Tags for CPython `python` (like 3.13.5) on the manifest's machine, best first (PEP 425, PEP 600)."""
    libc = next((p.version for p in manifest.debian if p.name == "libc6"), "2.28")
    return for_machine(manifest.release.architecture, libc, python)


def for_machine(architecture: str, libc: str, python: str) -> tuple[Tag, ...]:
    """Tags for CPython `python` where the package libc6 has the version `libc`, best first."""
    machine = _MACHINES.get(architecture, architecture)
    found = re.match(r"2\.([0-9]{1,9})", libc)
    # A manifest is a claim: a glibc 2.999999999 must not become a list as long.
    platforms = list(_platforms(min(int(found[1]), _NEWEST) if found else 28, machine))
    version = tuple(int(part) for part in python.split(".")[:2])
    interpreter = f"cp{version[0]}{version[1]}"
    return (
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter=interpreter, platforms=platforms),
    )


def _platforms(minor: int, machine: str) -> Iterator[str]:
    for each in range(minor, _OLDEST - 1, -1):
        yield f"manylinux_2_{each}_{machine}"
        if each in _LEGACY:
            yield f"{_LEGACY[each]}_{machine}"
    yield f"linux_{machine}"


def version_of(filename: str) -> Version | None:
    """Version in a wheel's or source distribution's file name; None if it is neither."""
    try:
        return (parse_wheel_filename if filename.endswith(".whl") else parse_sdist_filename)(filename)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None


def best(files: Sequence[IndexFile], version: str, tags: Sequence[Tag], python: str) -> IndexFile | None:
    """The file that an installer on Python `python` would take: the best-tagged wheel, else a source distribution.

    None if there is none, or only what the index has withdrawn (PEP 592) or made for other Pythons.
    """
    order = {tag: rank for rank, tag in enumerate(tags)}
    wanted = Version(version)
    offered = [
        file
        for file in files
        if version_of(file.filename) == wanted and not file.yanked and _runs(file.requires_python, python)
    ]

    def rank(file: IndexFile) -> int:
        *_, its_tags = parse_wheel_filename(file.filename)
        return min((order[tag] for tag in its_tags if tag in order), default=len(order))

    wheels = [file for file in offered if file.filename.endswith(".whl") and rank(file) < len(order)]
    if wheels:
        return min(wheels, key=lambda file: (rank(file), file.filename))
    return next((file for file in offered if file.filename.endswith(".tar.gz")), None)


def _runs(requires_python: str, python: str) -> bool:
    try:
        return SpecifierSet(requires_python).contains(python, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return False
