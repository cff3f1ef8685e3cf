"""A package world in memory: an index, signed archives, advisories, downloads and a resolver that really resolves."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from shared.errors import Permanent
from shared.model import debian_version
from shared.model.case import FactKind, Facts
from shared.model.lock import LockedPython
from shared.model.package import Package, Release
from shared.model.value import Digest, sha256
from shared.model.verdict import AdvisorySource, Finding, Known, Severity
from shared.ports.upstream import Archive, Gone, IndexFile, Larger, Pin, Upstream
from shared.upstream import apt, depends
from shared.upstream.mirrors import Mirrors
from shared.upstream.proof import Prover
from shared.upstream.tags import version_of
from tests.support import built
from tests.support.built import Built

UPLOADED = "2020-01-01T00:00:00Z"
KINDS: tuple[FactKind, ...] = ("licences", "uploaded", "yanked")
TRIXIE = Release(id="debian", version_id="13", codename="trixie", architecture="amd64")


@dataclass
class Market:
    """Everything that can be had, and what is known of it."""

    projects: dict[str, list[IndexFile]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    wheels: dict[str, Built] = field(default_factory=dict)
    """By sha256."""
    requires: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    builds: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pool: dict[tuple[str, str], list[Archive]] = field(default_factory=dict)
    earlier: dict[tuple[str, str], list[Archive]] = field(default_factory=dict)
    """What the snapshot service has, at whatever moment."""
    by_workload: set[str] = field(default_factory=set)
    """URLs that were fetched as a workload's own."""
    moments: list[float] = field(default_factory=list)
    """Moments that the snapshot service was asked for."""
    flaws: dict[tuple[str, str, str], Finding] = field(default_factory=dict)
    asked: list[tuple[str, ...]] = field(default_factory=list)
    """Requirements of every question to the resolver."""
    platforms: set[str] = field(default_factory=set)
    """What the resolver was asked to resolve for."""
    recorded: list[str] = field(default_factory=list)
    """Wheels whose RECORD was asked for."""
    said: dict[tuple[str, str], Facts] = field(default_factory=dict)
    """What the index says of a name and a version, where that is not what it says of all others."""
    hints: dict[str, int] = field(default_factory=dict)
    """What hosts say of their files' sizes, by URL, true or not."""
    questions: list[tuple[frozenset[str], frozenset[str]]] = field(default_factory=list)
    """Names and kinds of every question about facts."""

    # --- filling it ---

    def wheel(
        self,
        name: str,
        version: str,
        *requires: str,
        tag: str = "py3-none-any",
        yanked: bool = False,
        python: str = "",
    ) -> Built:
        made = built.wheel(name, version, requires, tag=tag)
        self.requires[name, str(Version(version))] = requires
        self._offer(name, made, yanked, python)
        self.wheels[made.sha256] = made
        return made

    def sdist(self, name: str, version: str, *build: str) -> Built:
        made = built.sdist(name, version, build)
        self.requires.setdefault((name, str(Version(version))), ())
        self._offer(name, made, False, "")
        self.builds[made.filename] = build
        return made

    def deb(
        self,
        name: str,
        version: str,
        *,
        source: str = "",
        source_version: str = "",
        depends: str = "",
        architecture: str = "amd64",
    ) -> Archive:
        source, source_version = source or name, source_version or version
        made = built.deb(name, version, architecture, source, source_version, depends)
        url = f"https://deb.test/pool/{made.filename}"
        self.contents[url] = made.content
        archive = Archive(
            name=name,
            version=version,
            architecture=architecture,
            source_name=source,
            source_version=source_version,
            url=url,
            sha256=made.sha256,
            size=len(made.content),
            suite="trixie",
            depends=depends,
            provides="",
        )
        versions = self.pool.setdefault((name, architecture), [])
        versions.append(archive)
        versions.sort(key=lambda each: debian_version.key(each.version), reverse=True)
        return archive

    def flaw(
        self,
        name: str,
        version: str,
        ecosystem: str = "pypi",
        *,
        severity: Severity = "HIGH",
        fixed: str = "9",
    ) -> None:
        """An advisory about one version; of Debian's packages the source's name and version count."""
        self.flaws[ecosystem, name, version] = Finding(
            id=f"GHSA-{name}-{version}",
            aliases=(),
            severity=severity,
            score=None,
            fixed=(fixed,) if fixed else (),
            malicious=False,
            summary="",
        )

    def _offer(self, name: str, made: Built, yanked: bool, python: str) -> None:
        url = f"https://files.test/{made.filename}"
        self.contents[url] = made.content
        file = IndexFile(made.filename, url, made.sha256, python, yanked)
        self.projects.setdefault(canonicalize_name(name), []).append(file)

    # --- the ports ---

    def upstream(self) -> Upstream:
        return Upstream(
            index=self,
            apt=self,
            downloads=self,
            resolver=self,
            proof=Prover(),
            build_requirements=lambda file: self.builds[file.filename],
            record=self._record,
            unmet=_unmet,
            facts=self,
            snapshot=self._snapshot,
            sizes=self._sizes,
        )

    def _sizes(self, urls: Sequence[str]) -> Mapping[str, int]:
        return {url: self.hints[url] for url in urls if url in self.hints}

    def _snapshot(self, url: str, moment: float) -> str:
        self.moments.append(moment)
        return url.replace("https://deb.test/", "https://snapshot.test/")

    def _record(self, file: LockedPython) -> Digest:
        self.recorded.append(file.filename)
        return str(self.wheels[file.sha256].record)

    def files(self, name: str) -> tuple[IndexFile, ...]:
        return tuple(self.projects.get(name, ()))

    def prefetch(self, wanted: Mapping[str, Collection[str]] | Iterable[str]) -> None:
        for name in wanted:
            self.files(name)

    def provenance(self, filename: str, url: str) -> bytes:
        if url not in self.contents:
            raise Permanent(f"The index says that attestations of {filename} are at {url}, where nothing is.")
        return self.contents[url]

    def archives(self, release: Release) -> Mapping[tuple[str, str], tuple[Archive, ...]]:
        apt.sources(release, Mirrors())  # refuses what is not supported, as the real one does
        return {key: tuple(versions) for key, versions in self.pool.items()}

    def as_of(self, release: Release, moment: float) -> Mapping[tuple[str, str], tuple[Archive, ...]]:
        self.moments.append(moment)
        return {key: tuple(versions) for key, versions in self.earlier.items()}

    def fetch(
        self,
        url: str,
        sha256_: str,
        to: Path,
        size: int | None = None,
        by_workload: bool = False,
        room: int | None = None,
    ) -> int:
        if by_workload:
            self.by_workload.add(url)
        if url not in self.contents:
            raise Gone(f"{url} is not there.")
        if sha256(self.contents[url]) != sha256_:
            raise Permanent(f"{url} has the content {sha256(self.contents[url])}, not {sha256_}.")
        if size not in (None, len(self.contents[url])):
            raise Permanent(f"{url} has {len(self.contents[url])} bytes and not the expected {size}.")
        if room is not None and len(self.contents[url]) > room:
            raise Larger(f"{url} has {len(self.contents[url])} bytes.", len(self.contents[url]))
        return to.write_bytes(self.contents[url])

    def of(
        self,
        packages: Sequence[Package],
        wanted: Collection[FactKind],
        files: Mapping[str, Collection[Digest]] | None = None,
    ) -> Mapping[str, Facts]:
        """Everything was uploaded long ago, is yanked if all its files are, and free: of every file the same."""
        self.questions.append((frozenset(p.name for p in packages), frozenset(wanted)))
        return {p.purl: self._said(p, wanted) for p in packages if p.ecosystem == "pypi"}

    def _said(self, package: Package, wanted: Collection[FactKind]) -> Facts:
        key = package.name, package.version
        files = [
            file for file in self.files(package.name) if str(version_of(file.filename)) == package.version
        ]
        if not files and key not in self.said:
            return Facts(lacking="the index has no project of that name")
        yanked = "" if files and all(file.yanked for file in files) else None
        facts = self.said.get(key) or Facts(uploaded=UPLOADED, yanked=yanked, licences=("MIT",))
        left_out: dict[str, Any] = {
            kind: Facts.model_fields[kind].default for kind in KINDS if kind not in wanted
        }
        return facts.model_copy(update=left_out)

    def source(self) -> AdvisorySource:
        return AdvisorySource(source="test", date="2026-11-21T20:00:00Z", digest=sha256(b"advisories"))

    def known(self, packages: Iterable[Package], release: Release) -> Known:
        return Known(findings=dict(self.findings(packages, release)), lacking={}, source=self.source())

    def findings(self, packages: Iterable[Package], release: Release) -> Mapping[str, tuple[Finding, ...]]:
        result = {}
        for package in packages:
            key = (
                package.ecosystem,
                package.source_name or package.name,
                package.source_version or package.version,
            )
            if key in self.flaws:
                result[package.purl] = (self.flaws[key],)
        return result

    def resolve(
        self,
        requirements: Sequence[str],
        preferences: Sequence[Pin],
        forbidden: Sequence[str],
        python: str,
        absent: Sequence[str] = (),
        platform: str = "",
    ) -> tuple[Pin, ...]:
        self.asked.append(tuple(requirements))
        self.platforms.add(platform)
        limits = [Requirement(line) for line in forbidden]
        wished = {pin.name: str(Version(pin.version)) for pin in preferences}
        solver = _Solver(self, limits, wished, python, frozenset(absent))
        found = next(solver.solve({}, [(line, "") for line in requirements]), None)
        if found is None:
            raise Permanent(f"No versions fit together: {', '.join(requirements)}.")
        return tuple(Pin(name, version) for name, version in sorted(found.items()))


@dataclass
class _Solver:
    """Depth first: the preferred version, then the newest."""

    market: Market
    limits: Sequence[Requirement]
    wished: Mapping[str, str]
    python: str
    absent: frozenset[str]

    def solve(self, pins: dict[str, str], open_: list[tuple[str, str]]) -> Iterator[dict[str, str]]:
        if not open_:
            yield pins
            return
        (line, extra), rest = open_[0], open_[1:]
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        environment = {"python_version": ".".join(self.python.split(".")[:2]), "extra": extra}
        if name in self.absent or (wanted.marker and not wanted.marker.evaluate(environment)):
            yield from self.solve(pins, rest)
            return
        for version in [pins[name]] if name in pins else self._versions(name, wanted):
            if not wanted.specifier.contains(version, prereleases=True):
                continue
            needs = self.market.requires[name, version] if name not in pins or wanted.extras else ()
            more = [(need, each) for each in ("", *wanted.extras) for need in needs]
            yield from self.solve({**pins, name: version}, rest + more)

    def _versions(self, name: str, wanted: Requirement) -> list[str]:
        exact = any(each.operator == "==" for each in wanted.specifier)
        found = {
            version
            for file in self.market.files(name)
            if (version := version_of(file.filename)) is not None
            and (exact or not (file.yanked or version.is_prerelease))
            and all(limit.specifier.contains(version, prereleases=True) for limit in self._limits(name))
        }
        ordered = sorted(found, key=lambda each: (str(each) == self.wished.get(name), each), reverse=True)
        return [str(each) for each in ordered]

    def _limits(self, name: str) -> list[Requirement]:
        return [limit for limit in self.limits if canonicalize_name(limit.name) == name]


def _unmet(archives: Sequence[Archive], installed: Mapping[tuple[str, str], str]) -> str:
    present = [depends.Present(name, version, arch) for (name, arch), version in installed.items()]
    return depends.unmet(archives, present, "amd64")
