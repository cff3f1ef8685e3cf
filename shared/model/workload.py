"""A workload: what to install, how, and how to see that it works. Data that a user writes, one small file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from packaging.requirements import InvalidRequirement, Requirement
from pydantic import AfterValidator, Field, field_validator, model_validator

from shared.model import yaml_file
from shared.model.apt_source import AptPin, AptSource
from shared.model.image import ImageName
from shared.model.package import DebianName, HttpsUrl
from shared.model.value import Digest, Part, Value

BUILT_IN = Path(__file__).parent.parent / "data" / "workloads"

Line = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]


def _override(line: str) -> str:
    try:
        Requirement(line)
    except InvalidRequirement as error:
        raise ValueError(
            f"this is no requirement as PEP 508 has it ({str(error).splitlines()[0]}): write NAME==VERSION or the like"
        ) from error
    return line


def _constraint(line: str) -> str:
    if Requirement(_override(line)).extras:
        raise ValueError("pip takes no extras in a constraint: leave out what stands in brackets")
    return line


Zone = Annotated[str, Field(pattern=r"^[a-z]+-[a-z]+[0-9]+-[a-z]$")]
"""Like us-central1-a."""
Override = Annotated[Line, AfterValidator(_override)]
Constraint = Annotated[Line, AfterValidator(_constraint)]


class OwnWheel(Value):
    """A wheel of the user's own, which no index has."""

    path: Annotated[str, Field(min_length=1, max_length=1000)]
    sha256: Digest

    @property
    def filename(self) -> str:
        return Path(self.path).name


Provisioning = Literal["on-demand", "spot", "reserved"]
"""How a TPU is paid for: at the list price, at a lower one until Google wants it back, or out of a reservation."""


class Interpreter(Part):
    """A Python that the runtime image lacks: an archive that unpacks to `python/bin/python3`, as
    https://gregoryszorc.com/docs/python-build-standalone/main/distributions.html describes its `install_only` ones."""

    version: Annotated[str, Field(pattern=r"^3\.[0-9]{1,2}$")]
    """The minor version, like 3.12."""
    url: HttpsUrl
    sha256: Digest


class Workload(Value):
    """One workload. The same install script runs in the outer and in the inner VM."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    description: Annotated[str, Field(max_length=500)] = ""
    runtime_version: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    """TPU software version (https://cloud.google.com/tpu/docs/runtimes); the local platform boots Debian 13 for it."""
    accelerator_type: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    zones: Annotated[tuple[Zone, ...], Field(max_length=20)] = ()
    """Tried in this order while there is no capacity; none: the zone that the service is configured with."""
    provisioning: Provisioning = "on-demand"
    reservation: Annotated[str, Field(pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9./_-]{0,300}$")] = ""
    """With `provisioning: reserved`, which one; none: any of the project's."""
    queue_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)] = 0
    """How long a VM may wait for capacity as a queued resource; 0: it comes at once or the next zone is tried."""
    interpreter: Interpreter | None = None
    """Where Python comes from if the runtime image has none that fits; it is judged and mirrored like the rest."""
    apt: tuple[DebianName, ...] = ()
    """Installed before the script runs, with their dependencies and without recommendations."""
    apt_sources: Annotated[tuple[AptSource, ...], Field(max_length=20)] = ()
    """Apt repositories beside the distribution's own, each with its key; the policy must allow each."""
    constraints: tuple[Constraint, ...] = ()
    """pip constraints in the outer VM; in the inner VM the lock takes their place."""
    overrides: tuple[Override, ...] = ()
    """uv overrides in both VMs: replaces a requirement that a package declares wrongly."""
    install: Annotated[str, Field(min_length=1, max_length=64 * 1024)]
    """A bash script, run as root with `set -euo pipefail`. On a slice of several hosts the outer VM runs it on worker 0
    alone, the inner VM on each: it must install the same on all of them."""
    smoke: Annotated[str, Field(min_length=1, max_length=64 * 1024)]
    """A bash script that exits 0 if the workload works. Runs in the inner VM only, on each host of a slice at about the
    same time; `DMZ_WORKER` (from 0) and `DMZ_WORKERS` are in the environment of both scripts."""
    environment: dict[
        Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,63}$")], Annotated[str, Field(max_length=4096)]
    ] = {}
    wheels: tuple[OwnWheel, ...] = ()
    files: tuple[HttpsUrl, ...] = ()
    """URLs that the install script gives to dmz-fetch without writing them out, as whole words, itself."""
    data_services: Annotated[tuple[ImageName, ...], Field(max_length=20)] = ()
    """Services in Confidential Space that must prove what they are before the run is completed: names of appraisal
    policies."""
    after: Literal["keep", "delete"] = "keep"
    """What becomes of the inner VM when the run has completed."""
    install_minutes: Annotated[int, Field(ge=1, le=240)] = 45
    """After so many minutes without a report a VM's install has failed."""

    @model_validator(mode="after")
    def _reserved(self) -> Workload:
        if self.reservation and self.provisioning != "reserved":
            raise ValueError(
                "a reservation is named, but provisioning is not reserved: write provisioning: reserved"
            )
        return self

    @field_validator("apt_sources")
    @classmethod
    def _sources(cls, sources: tuple[AptSource, ...]) -> tuple[AptSource, ...]:
        if len({source.name for source in sources}) != len(sources):
            raise ValueError("two apt sources have one name: give each its own")
        packages = [package for source in sources for package in source.packages]
        if len(set(packages)) != len(packages):
            raise ValueError("a package stands under two apt sources: say which of them it comes from")
        return sources

    @field_validator("zones")
    @classmethod
    def _zones(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(zones)) != len(zones):
            raise ValueError("a zone stands twice: name each once")
        return zones

    @field_validator("data_services")
    @classmethod
    def _once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(names)) != len(names):
            raise ValueError("a data service stands twice: name each once")
        return names

    @field_validator("install", "smoke")
    @classmethod
    def _plain(cls, text: str) -> str:
        if "\x00" in text:
            raise ValueError("a script holds no NUL character")
        return text

    def apt_pin(self, package: str) -> AptPin | None:
        """Where the Debian package of that name comes from, if not from the distribution."""
        return next((source.pin for source in self.apt_sources if package in source.packages), None)

    @property
    def urls(self) -> frozenset[str]:
        """What may be fetched: whole words of the install script, between blanks or quotes, `files`, and the
        interpreter."""
        own = {self.interpreter.url} if self.interpreter else set()
        return (
            frozenset(word for word in _WORDS.split(self.install) if word.startswith("https://"))
            | {*self.files}
            | own
        )


_WORDS = re.compile(r"""[\s'"]+""")


def read(path: Path) -> Workload:
    """The workload in the YAML file at `path`; Permanent with the mistake and its place."""
    return yaml_file.read(path, Workload, "workload file", "name, install and smoke")


def built_in() -> tuple[str, ...]:
    """Names of the workloads that come with the project."""
    return yaml_file.names(BUILT_IN)


def find(name_or_path: str) -> Workload:
    """A built-in workload by name, or the user's own by path."""
    return read(yaml_file.find(name_or_path, BUILT_IN, "workload"))
