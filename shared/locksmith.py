"""Makes the lock of a run: what its outer VM had, with replacements for what the verdicts refuse."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from shared.errors import Permanent
from shared.judgement import Court
from shared.locking import claims
from shared.locking.debian import DebianLocker, installed_after
from shared.locking.offer import Judge, Replaced
from shared.locking.python import PythonLocker
from shared.model.lock import Change, Lock, LockedArchive, LockedEnvironment
from shared.model.manifest import ClaimedManifest, DebianPackage
from shared.model.package import Package
from shared.model.verdict import Verdict, Verdicts
from shared.model.workload import Workload
from shared.ports.registry import Registry
from shared.ports.upstream import Archive, Upstream
from shared.upstream import apt
from shared.upstream.mirrors import Mirrors
from shared.upstream.tags import supported


def make(
    manifest: ClaimedManifest,
    workload: Workload,
    verdicts: Verdicts,
    upstream: Upstream,
    court: Court,
    installed: float,
) -> tuple[Lock, list[Verdict]]:
    """The lock, and the verdicts on what replaces something in it; Permanent if there can be none.

    `installed`: when the outer VM had installed; what has left the pool since is looked for as of then.
    """
    needed = {(each.package.ecosystem, each.package.name): each.needed_by for each in verdicts.verdicts}
    pins = {name: source.pin for source in workload.apt_sources for name in source.packages}
    court = replace(court, facts=upstream.facts, needed=needed, apt_pins=pins)
    judged: dict[str, Verdict] = {}

    def judge(
        packages: Sequence[Package], is_source: bool, replaces: Replaced | None = None, /
    ) -> Sequence[Verdict]:
        result = court.packages(packages, is_source, replaces)
        judged.update({verdict.package.purl: verdict for verdict in result})
        return result

    by_purl = {verdict.package.purl: verdict for verdict in verdicts.verdicts}
    claims.check_readable(manifest)
    claims.check_base(manifest, by_purl)
    generic = claims.lock_generic(manifest, workload, by_purl)
    apt.sources(manifest.release, Mirrors())  # refuses a release whose keys nobody has pinned
    with ThreadPoolExecutor(1, thread_name_prefix="apt") as pool:
        asked = bool(workload.apt_sources) or _brings_archives(manifest, by_purl)
        # The distribution's indexes are read while PyPI's are.
        index = pool.submit(upstream.apt.archives, manifest.release) if asked else None
        environments, changes = _lock_python(manifest, workload, upstream, judge, by_purl)
        claims.check_contents(environments)
        listed = index.result() if index else {}
        archives, moved = _lock_debian(manifest, listed, upstream, judge, by_purl, installed)
    replaced = {change.after.purl for change in (*changes, *moved)}
    made = Lock(
        workload=workload.name,
        manifest=verdicts.manifest,
        release=manifest.release,
        environments=environments,
        debian=archives,
        generic=generic,
        changes=(*changes, *moved),
    )
    return made, [verdict for purl, verdict in judged.items() if purl in replaced]


def _brings_archives(manifest: ClaimedManifest, verdicts: Mapping[str, Verdict]) -> bool:
    """Whether any archive may enter the lock: one that the install added, or one in the place of a refused one.

    Else the distribution's indexes are not read: 50 MB, for nothing.
    """

    def admitted(package: DebianPackage) -> bool:
        verdict = verdicts.get(package.package(manifest.release).purl)
        return verdict is not None and verdict.decision == "allow"

    return any(not package.in_base or not admitted(package) for package in manifest.debian)


def publish(lock: Lock, registry: Registry, repository: str, scratch: Path) -> None:
    """The lock itself is a generic artifact: the inner VM has no other way to it."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "lock.json"
        path.write_bytes(lock.canonical())
        registry.upload_generic(repository, "lock", lock.digest.removeprefix("sha256:"), path.name, path)


def _lock_python(
    manifest: ClaimedManifest,
    workload: Workload,
    upstream: Upstream,
    judge: Judge,
    verdicts: Mapping[str, Verdict],
) -> tuple[tuple[LockedEnvironment, ...], tuple[Change, ...]]:
    locker = PythonLocker(
        index=upstream.index,
        resolver=upstream.resolver,
        judge=judge,
        build_requirements=upstream.build_requirements,
        record=upstream.record,
        verdicts=verdicts,
        own={wheel.filename: wheel.sha256 for wheel in workload.wheels},
        constraints=workload.constraints,
        overrides=workload.overrides,
    )
    environments: list[LockedEnvironment] = []
    changes: list[Change] = []
    wanted = claims.environments(manifest)
    own = {canonicalize_name(wheel.filename.split("-")[0]) for wheel in workload.wheels}
    asked: dict[str, set[str]] = {}
    for package in (p for e in wanted for p in e.packages if p.name not in own and not p.in_base):
        asked.setdefault(package.name, set()).add(package.version)
    upstream.index.prefetch(asked)
    for environment in wanted:
        locked, changed = locker.lock(environment, supported(manifest, environment.python))
        environments.append(locked)
        changes += changed
    return tuple(environments), tuple(changes)


def _lock_debian(
    manifest: ClaimedManifest,
    archives: Mapping[tuple[str, str], tuple[Archive, ...]],
    upstream: Upstream,
    judge: Judge,
    verdicts: Mapping[str, Verdict],
    installed: float,
) -> tuple[tuple[LockedArchive, ...], tuple[Change, ...]]:
    earlier = functools.cache(lambda: upstream.apt.as_of(manifest.release, installed))
    chosen, changes = DebianLocker(archives, judge, verdicts, earlier).lock(manifest)
    locked = tuple(archive for _, archive in chosen)
    if unmet := upstream.unmet([found for found, _ in chosen], installed_after(manifest, locked)):
        raise Permanent(f"The Debian packages do not fit together: {unmet}")
    return locked, changes
