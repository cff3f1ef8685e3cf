"""The lock: exactly the files that the inner VM installs, each with its hash, per environment.

What was judged is what is shipped is what is installed: a lock names bytes, not versions alone.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.model.apt_source import AptPin
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
from shared.model.value import Digest, Value

Filename = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+!~%-]*$", max_length=255)]


class LockedPython(Value):
    """A wheel or source distribution, by hash."""

    name: PypiName
    version: PypiVersion
    filename: Filename
    sha256: Digest
    url: str
    """Upstream, or `own:<sha256>` for a wheel of the user's own."""
    record: Digest | None
    """RECORD's canonical digest: as the outer VM had it, and proved from the bytes of what only the resolver chose.

    None for a source distribution, and for what is needed only to build one.
    """
    build: tuple[LockedPython, ...] = ()
    """For a source distribution: everything that its build needs, pinned like the rest."""
    provenance: Annotated[str, Field(max_length=2001)] = ""
    """Where the index said that the file's attestations are (PEP 740); empty if it named none."""

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")


class LockedEnvironment(Value):
    path: AbsolutePath
    python: str
    virtual: bool
    packages: tuple[LockedPython, ...]

    @model_validator(mode="after")
    def _placed(self) -> Self:
        check_place(self.path, self.virtual)
        return self


class LockedArchive(Value):
    """A .deb, by hash."""

    name: DebianName
    version: DebianVersion
    architecture: Architecture
    source_name: DebianName
    source_version: DebianVersion
    filename: Filename
    """The file's own name in the pool."""
    url: HttpsUrl | Annotated[str, Field(pattern=r"^http://[A-Za-z0-9.:-]+/[!-~]+$")]
    sha256: Digest
    size: Annotated[int, Field(ge=0)]
    suite: str
    """The suite whose signed Release vouches for it, like trixie-security."""
    source: AptPin | None = None
    """The repository whose key vouches for it, if it is not the distribution's."""


class LockedGeneric(Value):
    url: HttpsUrl
    sha256: Digest
    size: Annotated[int, Field(ge=0)]


ChangeKind = Literal["replaced", "moved", "added", "dropped"]
"""Refused itself; moved along with what is; new, because a replacement needs it; gone, because nothing needs it."""


class Change(Value):
    """One difference between what the outer VM had and what the inner one gets."""

    kind: ChangeKind = "replaced"
    before: Package
    """Of something added the same as `after`."""
    after: Package
    """Of something dropped, with the version `none`."""
    advisories: tuple[str, ...]
    """Those about what is replaced; none if a rule of another kind refused it, or it was not refused itself."""
    required_by: tuple[str, ...]
    reason: str
    environment: AbsolutePath | Literal[""] = ""
    """Where, of a Python package; the same one may be in several environments."""
    yielded: tuple[str, ...] = ()
    """Constraints of the workload that pin what is refused, and so could not be kept."""


class Lock(Value):
    format: Literal["package-dmz/lock/v1"] = "package-dmz/lock/v1"
    workload: str
    manifest: Digest
    release: Release
    environments: tuple[LockedEnvironment, ...]
    debian: tuple[LockedArchive, ...]
    generic: tuple[LockedGeneric, ...]
    changes: tuple[Change, ...]
