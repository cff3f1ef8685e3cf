"""Resolving a spec: every input by name, version, address and sha256, so that a build asks nobody what to take.

Debian packages come from the signed index of the release, with all that they depend on, the newest version of all its
suites: a lock holds the security fixes of its day, and its archives leave the security pool with the next ones. Then
the snapshot service has them, under the SHA-1 that is noted here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Protocol

import httpx

from shared.errors import Permanent
from shared.image import base_image, deb, maven, wheels
from shared.image.base_image import Images
from shared.image.inputs import SNAPSHOT, Cache
from shared.image.registry import Registry
from shared.image.spec import pinned, resolved_from, sorted_inputs
from shared.model.image import DebianBase, ImageBase, ImageLock, ImageSpec, JarDependency, LockedInput
from shared.model.package import Release
from shared.model.value import printable, sha256
from shared.ports.upstream import Archive, PythonIndex, Resolver
from shared.upstream import http
from shared.upstream.apt import KEYRINGS, AptIndexClient
from shared.upstream.closure import closure, newest
from shared.upstream.mirrors import Mirrors
from shared.upstream.packages_file import Archives
from shared.upstream.pypi import PythonIndexClient
from shared.upstream.resolver import UvResolver

ARCHITECTURE = "amd64"
_VERSIONS = {"bookworm": "12", "trixie": "13"}
_PARALLEL = 8
_HERE = Path()
Role = Literal["base", "interpreter", "native", "jdk", "compiler", "jar"]
Say = Callable[[str], None]
_MOMENT = "%Y%m%dT%H%M%SZ"


class Indexes(Protocol):
    def archives(self, release: Release) -> Archives: ...


@dataclass(frozen=True)
class Sources:
    """Where inputs are looked for."""

    cache: Cache
    apt: Indexes = field(default_factory=AptIndexClient)
    index: PythonIndex = field(default_factory=PythonIndexClient)
    resolver: Resolver | None = None
    """uv's, if none is given."""
    images: Images = field(default_factory=Registry)
    client: httpx.Client = field(default_factory=http.client)
    """For Maven repositories."""

    def python_resolver(self) -> Resolver:
        return self.resolver or UvResolver(self.cache.where.parent / "uv")


def _silent(_what: str) -> None: ...


def resolve(spec: ImageSpec, sources: Sources, say: Say = _silent, directory: Path = _HERE) -> ImageLock:
    """The lock of `spec`, which lies in `directory`, as its sources are now; `say` gets a line for each step.

    Everything is fetched into the cache on the way, so a build that follows asks nobody. Permanent with the reason
    if something is not to be had, Transient if a source cannot be reached.
    """
    inputs: list[LockedInput] = []
    say(f"{spec.name}: reading the signed index of Debian {spec.base.release}")
    packages = _packages(spec, sources)
    if isinstance(spec.base, ImageBase):
        say(f"{spec.name}: reading {spec.base.image}")
        inputs += base_image.locked(spec.base.image, sources.images)
    say(f"{spec.name}: fetching {len(packages)} Debian packages")
    inputs += _archives(packages, sources.cache)
    if spec.java:
        inputs += _jars(spec.java.dependencies, spec.java.maven_repository, tuple(inputs), sources)
    if spec.python and spec.python.requirements:
        say(f"{spec.name}: resolving {len(spec.python.requirements)} Python requirements")
        machine = wheels.machine(spec.python.interpreter, inputs)
        inputs += wheels.locked(
            spec.python.requirements, machine, sources.index, sources.python_resolver(), sources.cache
        )
    if spec.python and spec.python.pinned:
        say(f"{spec.name}: taking the Python packages that {spec.python.pinned} pins")
        machine = wheels.machine(spec.python.interpreter, inputs)
        text = pinned(spec.python, directory)
        inputs += wheels.pinned(text, spec.python.pinned, machine, sources.index, sources.cache)
    lock = ImageLock(image=spec.name, resolved_from=resolved_from(spec, directory), inputs=tuple(inputs))
    lock = lock.model_copy(update={"inputs": sorted_inputs(lock)})
    say(f"{spec.name}: {len(lock.inputs)} inputs, {sum(each.size for each in lock.inputs) / 1e6:.0f} MB")
    return lock


def _packages(spec: ImageSpec, sources: Sources) -> list[tuple[Role, Archive, str]]:
    """(role, archive, path inside that is wanted) of all Debian packages of the image and of its compile sandbox."""
    code = spec.base.release
    release = Release(id="debian", version_id=_VERSIONS[code], codename=code, architecture=ARCHITECTURE)
    index = sources.apt.archives(release)
    found: list[tuple[Role, Archive, str]] = []

    def add(role: Role, archives: Iterable[Archive]) -> None:
        found.extend((role, archive, "") for archive in archives)

    own: Sequence[str] = spec.base.packages if isinstance(spec.base, DebianBase) else ()
    interpreter = spec.python.interpreter if spec.python else ()
    native = spec.native.runtime if spec.native else ()
    if interpreter or native:
        whole = closure([*own, *interpreter, *native], index, ARCHITECTURE)
        add("interpreter", (each for each in whole if each.name in interpreter))
        add("native", (each for each in whole if each.name in native))
    if isinstance(spec.base, DebianBase):
        # A base is the same whether native libraries lie over it or not: images that share it share its layer.
        below = {each.name for each in closure(own, index, ARCHITECTURE)}
        whole = closure([*own, *interpreter, *native], index, ARCHITECTURE)
        apart = {*interpreter, *(set(native) - below)}
        add("base", (each for each in whole if each.name not in apart))
    if spec.java:
        add("jdk", closure(spec.java.jdk, index, ARCHITECTURE))
        for dependency in spec.java.dependencies:
            if dependency.debian:
                name, _, path = dependency.debian.partition(":")
                found.append(("jar", newest(name, index, ARCHITECTURE), path))
    if spec.native:
        add("compiler", closure(spec.native.compiler, index, ARCHITECTURE))
    return found


def _archives(packages: Sequence[tuple[Role, Archive, str]], cache: Cache) -> list[LockedInput]:
    """The packages' archives, fetched for their SHA-1, which the index does not state."""

    def locked(package: tuple[Role, Archive, str]) -> LockedInput:
        role, archive, path = package
        wanted = LockedInput(
            role=role,
            name=archive.name,
            version=archive.version,
            url=archive.url,
            sha256=archive.sha256,
            size=archive.size,
            debian=archive.version,
            path=path,
        )
        with cache.path(wanted).open("rb") as file:
            sha1 = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)).hexdigest()
        return wanted.model_copy(update={"sha1": sha1})

    with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="lock") as pool:
        return [*pool.map(locked, packages)]


def _jars(
    dependencies: Sequence[JarDependency], repository: str, there: Sequence[LockedInput], sources: Sources
) -> Iterator[LockedInput]:
    """The jars that come by coordinate or by URL; those out of Debian packages are looked into."""
    for dependency in dependencies:
        if dependency.debian:
            _check_jar(dependency, there, sources.cache)
            continue
        if dependency.maven:
            address, data = maven.jar(sources.client, repository, dependency.maven)
            group, artifact, version = dependency.maven.split(":")
            path, digest = sources.cache.keep(data, address.rsplit("/", 1)[-1])
            name, size = f"{group}:{artifact}", len(data)
        else:
            address, version, digest = dependency.url, "", str(dependency.sha256)
            path, size = sources.cache.fetch(address, digest)
            name = address.rsplit("/", 1)[-1]
        if dependency.sha256 not in (None, digest):
            raise Permanent(f"{address} is {digest} and not {dependency.sha256}, which the spec asks for.")
        if not path.read_bytes()[:4].startswith(b"PK"):
            raise Permanent(f"{address} is no jar; correct the address.")
        yield LockedInput(role="jar", name=name, version=version, url=address, sha256=digest, size=size)


def _check_jar(dependency: JarDependency, there: Sequence[LockedInput], cache: Cache) -> None:
    name, _, wanted = dependency.debian.partition(":")
    package = next(each for each in there if (each.role, each.name, each.path) == ("jar", name, wanted))
    with deb.member(cache.path(package), wanted).open() as stream:
        digest = sha256(stream.read())
    if dependency.sha256 not in (None, digest):
        raise Permanent(
            f"{dependency.debian} is {digest} and not {dependency.sha256}, which the spec asks for."
        )


def default_sources(where: Path | None = None) -> Sources:
    """The public ones: deb.debian.org, pypi.org, Maven Central, any registry."""
    return Sources(Cache(where))


def snapshot_sources(
    moment: str, where: Path | None = None, keyrings: Path = KEYRINGS, service: str = SNAPSHOT
) -> Sources:
    """The public ones, but Debian's archive as it was at `moment`, like 20261120T000000Z; Permanent if that is no time.

    Such a lock's addresses stay good for ever (https://snapshot.debian.org). Signatures are checked as of that time:
    an index of then says that it has expired by now.
    """
    try:
        then = datetime.strptime(moment, _MOMENT).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise Permanent(
            f"'{printable(moment, 40)}' is no time of a snapshot; write it like 20261120T000000Z."
        ) from error
    root = f"{service.rstrip('/')}/archive"
    mirrors = Mirrors(f"{root}/debian/{moment}", f"{root}/debian-security/{moment}")
    return Sources(Cache(where), AptIndexClient(mirrors, keyrings, clock=lambda: then))
