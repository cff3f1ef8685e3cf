"""Where packages come from: indexes, archives, downloads, a resolver, and the proof of their bytes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shared.errors import Permanent
from shared.model.apt_source import AptPin
from shared.model.lock import LockedArchive, LockedPython
from shared.model.package import Release
from shared.model.publisher import Publisher
from shared.model.value import Digest
from shared.ports.judgement import Facts


@dataclass(frozen=True)
class IndexFile:
    """One file of a project's simple page (https://packaging.python.org/en/latest/specifications/simple-repository-api/)."""

    filename: str
    url: str
    sha256: Digest
    requires_python: str
    yanked: bool
    uploaded: str = ""
    """RFC 3339 (PEP 700); empty where the index does not say."""
    yank_reason: str = ""
    metadata: str | None = None
    """sha256 of the METADATA that the index serves beside the file (PEP 658), as 64 hexadecimal digits; empty where it
    serves one but gives no hash; None where it does not say that it serves one."""
    provenance: str = ""
    """Where the index says that its attestations are (PEP 740), unchecked; empty where it names none."""
    size: int | None = None
    """Bytes (PEP 700); None where the index does not say."""


class PythonIndex(Protocol):
    def files(self, name: str) -> Sequence[IndexFile]:
        """Every file with a sha256; empty if the project is unknown. Transient if the index cannot be reached."""
        ...

    def prefetch(self, wanted: Mapping[str, Collection[str]] | Iterable[str]) -> None:
        """Read many projects' pages at once, so that `files` answers from memory; a mapping says for which versions."""
        ...

    def provenance(self, filename: str, url: str) -> bytes:
        """What the index serves at `url` as provenance of one of its files (PEP 740); nothing of it is proved yet.

        Permanent if it is not the index itself that `url` leads to, or if nothing is there; Transient if it cannot be
        reached.
        """
        ...


@dataclass(frozen=True)
class Archive:
    """One stanza of a signed Packages index, with what vouches for it."""

    name: str
    version: str
    architecture: str
    source_name: str
    source_version: str
    url: str
    sha256: Digest
    size: int
    suite: str
    depends: str
    """Depends and Pre-Depends, joined by a comma."""
    provides: str
    priority: str = ""
    """Debian policy 2.5, like `required`; some archives give none."""
    source: AptPin | None = None
    """The repository that lists it, if that is not the distribution's."""


class AptIndex(Protocol):
    def archives(self, release: Release) -> Mapping[tuple[str, str], tuple[Archive, ...]]:
        """(name, architecture) to its versions over the release's suites, newest first; signatures verified."""
        ...

    def as_of(self, release: Release, moment: float) -> Mapping[tuple[str, str], tuple[Archive, ...]]:
        """The same of the distribution's own suites as they were at `moment`, in seconds since the epoch."""
        ...


class Gone(Permanent):
    """The source says that it does not have the file, or does not have it any more."""


class Larger(Permanent):
    """A file has more bytes than there was room for."""

    def __init__(self, message: str, size: int) -> None:
        """`size`: bytes that it has at the least; all of them where the source says so."""
        super().__init__(message)
        self.size = size


class Downloads(Protocol):
    """Fetches a file to a path, hashing on the way."""

    def fetch(
        self,
        url: str,
        sha256: Digest,
        to: Path,
        size: int | None = None,
        by_workload: bool = False,
        room: int | None = None,
    ) -> int:
        """Bytes written. Permanent if the content has another hash or size, Gone if there is none; Transient if it
        cannot be reached.

        `by_workload`: no index or mirror named the URL, but a workload or a VM; it must lead to the public internet.
        `room`: at most so many bytes are ever written; Larger if there are more.
        """
        ...


@dataclass(frozen=True)
class Pin:
    """One result of a resolution."""

    name: str
    version: str


DEFAULT_PLATFORM = "manylinux_2_28_x86_64"
"""What every supported release can run."""


class Resolver(Protocol):
    """A real Python resolver over the upstream index."""

    def resolve(
        self,
        requirements: Sequence[str],
        preferences: Sequence[Pin],
        forbidden: Sequence[str],
        python: str,
        absent: Sequence[str] = (),
        platform: str = DEFAULT_PLATFORM,
    ) -> tuple[Pin, ...]:
        """Versions that fit together for Python `python`, staying with `preferences` where they fit.

        `forbidden` are constraints like `jinja2!=3.1.2`; `absent` are names that the index is not to be asked for,
        whoever requires them. `platform` is the best wheel platform of the machine (PEP 600). Permanent with the
        resolver's explanation if nothing fits.
        """
        ...


class Proof(Protocol):
    """Shows that fetched bytes are what the lock names and the outer VM had; Permanent says what gave them away."""

    def wheel(self, file: LockedPython, path: Path) -> None:
        """A wheel or a source distribution."""
        ...

    def publishers(self, file: LockedPython, served: bytes) -> tuple[Publisher, ...]:
        """Who published it: from the attestations that the index serves."""
        ...

    def archive(self, file: LockedArchive, path: Path) -> None: ...


@dataclass(frozen=True)
class Upstream:
    """Everything outside that packages come from. Indexes are read anew for each plan."""

    index: PythonIndex
    apt: AptIndex
    downloads: Downloads
    resolver: Resolver
    proof: Proof
    build_requirements: Callable[[IndexFile], Sequence[str]]
    """A source distribution's build requirements, read from its own files without running them."""
    record: Callable[[LockedPython], Digest]
    """A wheel's canonical RECORD digest after every proof of its bytes; fetches it."""
    unmet: Callable[[Sequence[Archive], Mapping[tuple[str, str], str]], str]
    """(locked archives, everything installed) to the first dependency that does not hold; empty if all do."""
    facts: Facts
    """Of the same moment as `index`."""
    snapshot: Callable[[str, float], str] = lambda _url, _moment: ""
    """(URL of an archive, seconds since the epoch) to where the distribution keeps what lay there at that moment."""
    sizes: Callable[[Sequence[str]], Mapping[str, int]] = lambda _urls: {}
    """What the hosts of an index's files say of their sizes, in bytes by URL; what is not said is absent."""
