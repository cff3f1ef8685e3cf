"""Names and versions of packages, held to what their ecosystems allow.

A manifest comes from a hostile machine: a name that is not exactly what its ecosystem permits is refused here,
before it can become part of a path, a URL or a log line.
"""

from __future__ import annotations

import posixpath
import re
from typing import Annotated, Literal
from urllib.parse import quote

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator

from shared.model import debian_version
from shared.model.value import Value

Ecosystem = Literal["pypi", "debian", "generic"]

# https://packaging.python.org/en/latest/specifications/name-normalization/
_PYPI_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?", re.ASCII)
# PEP 440 has no length limit; 128 is far beyond any published version.
_PYPI_VERSION = re.compile(r"[0-9A-Za-z.!+_-]{1,128}", re.ASCII)
# https://www.debian.org/doc/debian-policy/ch-controlfields.html#source and #version
_DEBIAN_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}", re.ASCII)
_DEBIAN_VERSION = re.compile(r"(?:[0-9]{1,10}:)?[0-9][A-Za-z0-9.+~-]{0,127}", re.ASCII)
_ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]{1,31}", re.ASCII)
_RESERVED = ("/boot", "/dev", "/etc", "/opt/dmz", "/proc", "/run", "/sys")
_INTERPRETER = "/opt/dmz/python/"
"""Where the guest unpacks the interpreter that a workload brings."""
_SHARED = frozenset(
    ["/", "/tmp", "/usr", "/usr/local"]  # noqa: S108 - nothing is written there
    + [
        f"/{name}"
        for name in ("bin", "home", "lib", "lib64", "media", "mnt", "opt", "root", "sbin", "srv", "var")
    ]
    + [f"/usr/{name}" for name in ("bin", "lib", "lib64", "libexec", "sbin", "share")]
    + [f"/usr/local/{name}" for name in ("bin", "lib", "sbin", "share")]
    + [f"/var/{name}" for name in ("cache", "lib", "lock", "log", "run", "tmp")]
)
_PATH = re.compile(r"/[A-Za-z0-9._+@/-]{0,255}", re.ASCII)


def _pypi_name(text: str) -> str:
    if not _PYPI_NAME.fullmatch(text):
        raise ValueError("a Python package's name has ASCII letters, digits and . _ - only (PEP 508)")
    return canonicalize_name(text)


def normal_version(text: str) -> str:
    """The one spelling of a Python version: METADATA may say 2024.07, an index and a resolver say 2024.7 (PEP 440)."""
    try:
        return str(Version(text))
    except InvalidVersion:
        return text


def _pypi_version(text: str) -> str:
    if not _PYPI_VERSION.fullmatch(text):
        raise ValueError("a Python version has the characters of PEP 440 only")
    return normal_version(text)


def _debian_version(text: str) -> str:
    try:
        debian_version.key(
            text
        )  # what cannot be compared is no version: an epoch that dpkg finds too big, `1-`
    except ValueError:
        text = ""
    if not _DEBIAN_VERSION.fullmatch(text):
        raise ValueError("a Debian version is [epoch:]upstream[-revision] (policy 5.6.12)")
    return text


def _matching(pattern: re.Pattern[str], rule: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(rule)
        return text

    return AfterValidator(check)


def _absolute(text: str) -> str:
    # Two spellings of one place would be two places to every comparison.
    if not _PATH.fullmatch(text) or text.startswith("//") or posixpath.normpath(text) != text:
        raise ValueError("a path is absolute, plain ASCII, in its shortest form, at most 256 characters")
    return text


def check_place(path: str, virtual: bool) -> None:
    """Whether Python packages may lie in `path`; ValueError if not. The inner VM's root writes there.

    1. Not in what belongs to the system's configuration, to the kernel or to the guest, but for the site directories of
    the interpreter that the guest has unpacked. 2. A virtual environment has a directory of its own. 3. Everything else
    is a site directory.
    """
    own = not virtual and in_interpreter(path)
    if not own and any(path == each or path.startswith(f"{each}/") for each in _RESERVED):  # 1
        raise ValueError(f"no Python environment is kept in {path}")
    if virtual and path in _SHARED:  # 2
        raise ValueError(f"a virtual environment has a directory of its own, {path} is the system's")
    if not virtual and path.rsplit("/", 1)[-1] not in ("site-packages", "dist-packages"):  # 3
        raise ValueError(f"a site directory is named site-packages or dist-packages, not {path}")


def in_interpreter(path: str) -> bool:
    """True for the site directories of the interpreter that a workload brings."""
    return path.startswith(_INTERPRETER)


def _https(text: str) -> str:
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+(:[0-9]+)?/[!-~]{0,2000}", text, re.ASCII):
        raise ValueError("a URL is https, with a plain host name and printable ASCII only")
    return text


PypiName = Annotated[str, AfterValidator(_pypi_name)]
"""Normalized on entry (PEP 503)."""
PypiVersion = Annotated[str, AfterValidator(_pypi_version)]
"""Normalized on entry (PEP 440); what is no version of PEP 440 stays as it is, and no file of an index can be it."""
DebianName = Annotated[
    str, _matching(_DEBIAN_NAME, "a Debian name is lower-case ASCII with + - . (policy 5.6.1)")
]
DebianVersion = Annotated[str, AfterValidator(_debian_version)]
Architecture = Annotated[str, _matching(_ARCHITECTURE, "an architecture is one of dpkg's, like amd64 or all")]
AbsolutePath = Annotated[str, AfterValidator(_absolute)]
HttpsUrl = Annotated[str, AfterValidator(_https)]


CODENAMES = {"12": "bookworm", "13": "trixie", "22.04": "jammy", "24.04": "noble"}
"""The supported releases of Debian and Ubuntu: those whose archive keys are pinned."""


class Release(Value):
    """The distribution that a machine runs, as /etc/os-release says."""

    id: Literal["debian", "ubuntu"]
    version_id: Annotated[
        str, _matching(re.compile(r"[0-9]{1,3}(\.[0-9]{2})?"), "a release is like 13 or 22.04")
    ]
    codename: Annotated[str, _matching(re.compile(r"[a-z]{2,20}"), "a code name is lower-case letters")]
    architecture: Architecture

    @property
    def osv_ecosystem(self) -> str:
        """OSV's release-scoped name (https://ossf.github.io/osv-schema/#affectedpackage-field)."""
        return f"{self.id.capitalize()}:{self.version_id}"


class Package(Value):
    """A name and a version in an ecosystem; for Debian also what it was built from."""

    ecosystem: Ecosystem
    name: str
    version: str
    architecture: str = ""
    distro: str = ""
    """`debian-13`, `ubuntu-22.04`; empty outside Debian and Ubuntu."""
    source_name: str = ""
    source_version: str = ""

    @property
    def purl(self) -> str:
        """https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst"""
        name, version = quote(self.name, safe=""), quote(self.version, safe="+~.-!")
        if self.ecosystem == "debian":
            vendor = self.distro.split("-")[0] or "debian"
            return f"pkg:deb/{vendor}/{name}@{version}?arch={self.architecture}&distro={self.distro}"
        return f"pkg:{self.ecosystem}/{name}@{version}"


def key_of(purl: str, own_wheel: bool) -> str:
    """By what a held package is told from all others: a wheel of one's own may have the purl of one of the index."""
    return f"{purl} (own wheel)" if own_wheel else purl
