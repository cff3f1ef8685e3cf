"""What a source distribution says about its dependencies without being run.

https://packaging.python.org/en/latest/specifications/core-metadata/#dynamic: from metadata version 2.2 on, a field of
PKG-INFO that is not listed as Dynamic is what every wheel built from it will have.

Older ones say so less firmly: setuptools wrote down in the egg-info what setup.py asked for on its author's machine
(https://setuptools.pypa.io/en/latest/deprecated/python_eggs.html#requires-txt). That serves to choose versions; a
package whose setup.py asks for something else elsewhere then lacks it in the inner VM, which its smoke test shows.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import compat32
from pathlib import Path

from packaging.requirements import InvalidRequirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from shared.errors import Permanent
from shared.model.requirement import requirement
from shared.model.value import printable

_FIXED = ("requires-dist", "requires-python", "provides-extra")


@dataclass(frozen=True)
class StaticMetadata:
    """Name, version and dependencies of a distribution."""

    name: str
    version: str
    requires: tuple[str, ...]
    requires_python: str = ""
    extras: tuple[str, ...] = ()


def from_pkg_info(pkg_info: bytes) -> StaticMetadata | None:
    """The metadata in PKG-INFO, or None if only a build would tell the dependencies."""
    headers = BytesHeaderParser(policy=compat32).parsebytes(pkg_info)
    try:
        if Version(str(headers.get("Metadata-Version"))) < Version("2.2"):
            return None
        version = Version(str(headers.get("Version")))
    except InvalidVersion:
        return None
    dynamic = {str(field).strip().lower() for field in headers.get_all("Dynamic", [])}
    if dynamic.intersection(_FIXED):
        return None
    return StaticMetadata(
        name=canonicalize_name(str(headers.get("Name"))),
        version=str(version),
        requires=tuple(" ".join(str(line).split()) for line in headers.get_all("Requires-Dist", [])),
        requires_python=str(headers.get("Requires-Python") or "").strip(),
        extras=tuple(str(extra).strip() for extra in headers.get_all("Provides-Extra", [])),
    )


def from_egg_info(pkg_info: bytes, requires_txt: bytes) -> StaticMetadata | None:
    """The metadata as setuptools wrote it down when the source distribution was made; None if unreadable."""
    headers = BytesHeaderParser(policy=compat32).parsebytes(pkg_info)
    requires: list[str] = []
    extras: set[str] = set()
    marker = ""
    for line in map(str.strip, requires_txt.decode("utf-8", "replace").splitlines()):
        if line.startswith("[") and line.endswith("]"):
            extra, _, condition = line[1:-1].partition(":")
            extras |= {extra} if extra else set()
            both = [f"({condition})"] if condition else []
            marker = " and ".join([*both, *([f"extra == '{extra}'"] if extra else [])])
        elif line and not line.startswith("#"):
            requires.append(f"{line} ; {marker}" if marker else line)
    metadata = StaticMetadata(
        name=canonicalize_name(str(headers.get("Name"))),
        version=str(headers.get("Version")).strip(),
        requires=tuple(requires),
        requires_python=str(headers.get("Requires-Python") or "").strip(),
        extras=tuple(sorted(extras)),
    )
    try:
        _checked(metadata)
    except Permanent:
        return None
    return metadata


def write_empty_wheel(metadata: StaticMetadata, directory: Path) -> None:
    """A wheel with this metadata and nothing else, for a resolver to read. Permanent if the metadata is malformed."""
    stem, lines = _checked(metadata)
    with zipfile.ZipFile(directory / f"{stem}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n\n")
        wheel.writestr(
            f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{stem}.dist-info/RECORD", "")


def _checked(metadata: StaticMetadata) -> tuple[str, list[str]]:
    """The wheel's stem and the lines of its METADATA; every value has been parsed and is written anew."""
    what = printable(f"{metadata.name} {metadata.version}", 120)
    try:
        name = canonicalize_name(metadata.name, validate=True)
        version = Version(metadata.version)
        requires = [str(requirement(line)) for line in metadata.requires]
        python = str(SpecifierSet(metadata.requires_python))
        extras = [canonicalize_name(extra, validate=True) for extra in metadata.extras]
    except (ValueError, InvalidVersion, InvalidRequirement, InvalidSpecifier) as error:
        raise Permanent(
            f"The metadata of the source distribution {what} is malformed: {printable(str(error), 120)}."
        ) from error
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {python}"] if python else []
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {line}" for line in requires]
    return f"{name.replace('-', '_')}-{version}", lines
