"""What the private repositories hold: each package with its files, and whose it is. Data, to be judged again."""

from __future__ import annotations

from typing import Literal

from shared.model.case import Subject
from shared.model.package import Release, key_of
from shared.model.value import Digest, Part, Value


class HeldFile(Part):
    """One file in one repository."""

    repository: str
    name: str
    sha256: Digest


class Held(Part):
    """One package, and every file of it."""

    subject: Subject
    release: Release
    """Of the machine that it was locked for: advisories of distributions are scoped to it."""
    files: tuple[HeldFile, ...]
    workloads: tuple[str, ...]
    """Names of those whose runs hold it; empty if no run that is remembered does."""
    stray: bool = False
    """True if no record says how it came in: what is known of it is what its name says."""

    @property
    def purl(self) -> str:
        return self.subject.package.purl

    @property
    def key(self) -> str:
        return key_of(self.purl, self.subject.own_wheel)


class Awaited(Part):
    """A run that went without packages that were held, and may be had one day."""

    run_id: str
    workload: str
    release: Release
    subjects: tuple[Subject, ...]
    """The held packages, as they were judged."""


class Holdings(Value):
    """The list, by purl. The same repositories and runs give the same bytes."""

    format: Literal["package-dmz/holdings/v1"] = "package-dmz/holdings/v1"
    held: tuple[Held, ...]
    nameless: tuple[HeldFile, ...]
    """Strays of which not even the name tells what they are."""
    awaited: tuple[Awaited, ...] = ()
