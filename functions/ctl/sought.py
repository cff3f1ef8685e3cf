"""Which package somebody means: a purl, a name with or without a version, in whichever way people write it. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from functions.ctl.inputs import BadInput
from shared.model.package import Package
from shared.model.value import printable

_TYPES = {"pypi": "pypi", "deb": "debian", "generic": "generic"}
_NEAR = 5
_LISTED = 8
_LONGEST = 1000


@dataclass(frozen=True)
class Sought:
    """What was asked for; an empty field stands for any."""

    given: str
    name: str
    version: str = ""
    ecosystem: str = ""
    architecture: str = ""

    def matches(self, package: Package) -> bool:
        if self.ecosystem and package.ecosystem != self.ecosystem:
            return False
        if self.architecture and package.architecture != self.architecture:
            return False
        if package.ecosystem == "pypi":
            same = canonicalize_name(self.name) == canonicalize_name(package.name)
            return same and (not self.version or _same_version(self.version, package.version))
        return self.name == package.name and self.version in ("", package.version)


def _same_version(one: str, other: str) -> bool:
    """PEP 440: 3.1.4.0 is 3.1.4; what is no such version is what it is."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def read(given: str) -> Sought:
    """`jinja2`, `jinja2==3.1.4`, `libssl3=3.0-1`, `jinja2@3.1.4` or a purl; BadInput for what is none of them."""
    text = given.strip()
    if not text or len(text) > _LONGEST or not text.isprintable():
        raise BadInput(
            f"'{printable(given, 60)}' names no package: give a purl, or a name like jinja2 or jinja2==3.1.4."
        )
    if not text.startswith("pkg:"):
        name, _, version = re.sub(r"={1,3}|@", " ", text, count=1).partition(" ")
        if not name:
            raise BadInput(
                f"'{printable(given, 60)}' names no package: something must stand before the version."
            )
        return Sought(text, name, version.strip())
    body, _, rest = text[4:].partition("?")
    kind, _, path = body.partition("/")
    if kind not in _TYPES or not path:
        raise BadInput(
            f"'{printable(given, 80)}' is no purl of a kind that is known here: pkg:pypi/, pkg:deb/ or pkg:generic/."
        )
    path, _, version = path.partition("@")
    qualifiers = dict(each.split("=", 1) for each in rest.partition("#")[0].split("&") if "=" in each)
    name = unquote(path.rsplit("/", 1)[-1])
    return Sought(text, name, unquote(version), _TYPES[kind], qualifiers.get("arch", ""))


def choose(sought: Sought, packages: Iterable[Package], where: str) -> Package:
    """The one that is meant; BadInput, with the nearest names, if there is none or are several."""
    there = tuple(packages)
    found = {package.purl: package for package in there if sought.matches(package)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        named = sorted(found)
        more = f" and {len(named) - _LISTED} more" if len(named) > _LISTED else ""
        raise BadInput(
            f"'{printable(sought.given, 80)}' could be several packages of {where}: "
            f"{', '.join(printable(each, 200) for each in named[:_LISTED])}{more}; give one of these purls."
        )
    versions = sorted(
        {each.version for each in there if each.name == sought.name or _same_name(sought, each)}
    )
    if sought.version and versions:
        known = ", ".join(printable(version, 80) for version in versions[:_LISTED])
        raise BadInput(
            f"Of {printable(sought.name, 80)}, {where} knows {known}, not {printable(sought.version, 80)}."
        )
    names = sorted({each.name for each in there})
    near = difflib.get_close_matches(sought.name[:100].lower(), names, _NEAR, 0.6)
    hint = f"; the nearest are {', '.join(printable(each, 100) for each in near)}" if near else ""
    raise BadInput(f"There is no package '{printable(sought.given, 80)}' in {where}{hint}.")


def _same_name(sought: Sought, package: Package) -> bool:
    return Sought(sought.given, sought.name, "", sought.ecosystem, sought.architecture).matches(package)
