"""What a VM says that it holds: the claim of the outer VM, and the inventory of the inner one.

Until sync has proved its bytes a manifest is only a claim; `ClaimedManifest` says so in its name.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.model.package import (
    AbsolutePath,
    Architecture,
    DebianName,
    DebianVersion,
    HttpsUrl,
    Package,
    PypiName,
    PypiVersion,
    Release,
    check_place,
)
from shared.model.unreadable import MOST, Unreadable
from shared.model.value import Digest, Value

Tag = Annotated[str, Field(pattern=r"^[a-z0-9_.]+-[a-z0-9_.]+-[a-z0-9_.]+$", max_length=200)]
"""A wheel tag: python-abi-platform (https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/)."""


Stray = Annotated[str, Field(pattern=r"^/[ -~]{1,299}$")]


class DebianPackage(Value):
    """One installed dpkg package."""

    name: DebianName
    version: DebianVersion
    architecture: Architecture
    source_name: DebianName
    source_version: DebianVersion
    archive: Digest | None
    """sha256 of the .deb that it came from, where the VM still knew it."""
    in_base: bool
    """True if the machine held exactly this before the install began."""

    def package(self, release: Release) -> Package:
        return Package(
            ecosystem="debian",
            name=self.name,
            version=self.version,
            architecture=self.architecture,
            distro=f"{release.id}-{release.version_id}",
            source_name=self.source_name,
            source_version=self.source_version,
        )


class DirectUrl(Value):
    """What direct_url.json says (https://packaging.python.org/en/latest/specifications/direct-url/), reduced."""

    url: Annotated[str, Field(max_length=2000)]
    sha256: Digest | None = None


class PythonPackage(Value):
    """One distribution in one Python environment."""

    name: PypiName
    version: PypiVersion
    tags: Annotated[tuple[Tag, ...], Field(max_length=100)]
    """Tags of the WHEEL file; a wheel's file name can be rebuilt from them."""
    build: Annotated[str, Field(pattern=r"^([0-9][a-z0-9_.]*)?$", max_length=64)] = ""
    """Build number of the WHEEL file, empty where there is none."""
    record: Digest | None
    """sha256 over the canonical form of RECORD (see shared/guest/inventory.py), None where RECORD is missing."""
    direct_url: DirectUrl | None = None
    requested: bool
    """True if the user's command named it, False if it came as a dependency (PEP 376 REQUESTED)."""
    requires: Annotated[tuple[Annotated[str, Field(max_length=2000)], ...], Field(max_length=5000)] = ()
    """Requires-Dist lines."""
    in_base: bool

    def package(self) -> Package:
        return Package(ecosystem="pypi", name=self.name, version=self.version)


class Environment(Value):
    """One place where Python packages live: a virtual environment or a system interpreter's site directory."""

    path: AbsolutePath
    """sys.prefix of a virtual environment; the site directory otherwise."""
    python: Annotated[str, Field(pattern=r"^3\.[0-9]{1,2}\.[0-9]{1,2}[a-z0-9+]*$")]
    virtual: bool
    managed_by_dpkg: bool
    """True for what is dpkg's, or came from a wheel that a dpkg package carries: judged there, not here."""
    packages: Annotated[tuple[PythonPackage, ...], Field(max_length=20_000)]
    strays: Annotated[tuple[Stray, ...], Field(max_length=100)] = ()
    """Files that the install put into the site directories and no RECORD lists (see shared/guest/strays.py)."""

    @model_validator(mode="after")
    def _placed(self) -> Self:
        check_place(self.path, self.virtual)
        return self


class GenericFile(Value):
    """A file that the install fetched by URL."""

    url: HttpsUrl
    sha256: Digest
    size: Annotated[int, Field(ge=0)]
    path: AbsolutePath
    interpreter: Annotated[str, Field(pattern=r"^(3\.[0-9]{1,2}\.[0-9]{1,2}[a-z0-9+]*)?$", max_length=32)] = (
        ""
    )
    """Version that Python says it has, if this is the archive of the workload's own interpreter."""

    def package(self) -> Package:
        name = self.url.rsplit("/", 1)[-1].split("?")[0] or "index"
        return Package(ecosystem="generic", name=name, version=self.sha256)


class ClaimedManifest(Value):
    """Everything on a machine after its install, as the machine itself tells it."""

    workload: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    release: Release
    debian: Annotated[tuple[DebianPackage, ...], Field(max_length=20_000)]
    environments: Annotated[tuple[Environment, ...], Field(max_length=100)]
    generic: Annotated[tuple[GenericFile, ...], Field(max_length=10_000)] = ()
    unreadable: Annotated[tuple[Unreadable, ...], Field(max_length=MOST)] = ()
    """Packages that were set aside when the claim came (see shared.model.claim); no machine says this itself."""
