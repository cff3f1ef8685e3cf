"""Locking the Debian side: the archives that the outer VM added, and newer ones for what was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.errors import Permanent
from shared.locking.apt_fit import Broken, Key, Machine
from shared.locking.changes import few, speaking
from shared.locking.offer import Judge, Replaced
from shared.model.debian_version import compare
from shared.model.lock import Change, LockedArchive
from shared.model.manifest import ClaimedManifest, DebianPackage
from shared.model.package import Package, Release
from shared.model.verdict import Verdict
from shared.ports.upstream import Archive

_ALONG = 20
"""Sources that move, or packages that come, along with one that is replaced."""


@dataclass(frozen=True)
class DebianLocker:
    """Locks the Debian packages of one machine."""

    archives: Mapping[tuple[str, str], tuple[Archive, ...]]
    """(name, architecture) to its versions over the release's suites, newest first."""
    judge: Judge
    verdicts: Mapping[str, Verdict]
    earlier: Callable[[], Mapping[tuple[str, str], tuple[Archive, ...]]] = dict
    """The same as the distribution had it when the VM installed; asked only for what `archives` has no more."""

    def lock(
        self, manifest: ClaimedManifest
    ) -> tuple[tuple[tuple[Archive, LockedArchive], ...], tuple[Change, ...]]:
        """Archives to install on top of the base image; Permanent with the reason if there is no such set."""
        moved = self._moved(manifest)
        refused = {p.source_name for p in manifest.debian if self._refused(p, manifest.release)}
        locked, changes = [], []
        for package in sorted(manifest.debian, key=lambda p: (p.name, p.architecture)):
            archive = moved.pop((package.name, package.architecture), None)
            if archive is not None:
                bound = "which is replaced" if package.source_name in refused else "bound to what is replaced"
                reason = f"built from {package.source_name}, {bound}"
                changes.append(self._change(package, archive, manifest.release, reason))
            elif not package.in_base:
                archive = self._claimed(package)
            if archive is not None:
                locked.append((archive, _locked(archive)))
        for archive in moved.values():  # new ones
            needing = [one.name for one, _ in locked if archive.name in one.depends]
            changes.append(_added(archive, manifest.release, needing))
            locked.append((archive, _locked(archive)))
        locked.sort(key=lambda pair: (pair[0].name, pair[0].architecture))
        return tuple(locked), tuple(changes)

    def _moved(self, manifest: ClaimedManifest) -> dict[Key, Archive]:
        """The archives that take the place of refused packages and of their sisters, and what comes with them.

        Binaries of one source depend on each other in one exact version: they move together or not at all.
        """
        refused = [p for p in manifest.debian if self._refused(p, manifest.release)]
        machine = Machine({(p.name, p.architecture): p.version for p in manifest.debian}, self.archives)
        moved: dict[Key, Archive] = {}
        steps: dict[str, list[dict[Key, Archive]]] = {}
        for source in sorted({package.source_name for package in refused}):
            bad = [package for package in refused if package.source_name == source]
            steps[source] = list(self._groups(manifest, source, bad))
            if not steps[source]:
                raise Permanent(
                    self._no_way_out(bad[0], manifest.release, "the release has no newer admitted version")
                )
            moved |= steps[source][0]
        if machine.broken(moved) is None:
            return moved
        # Seldom: one after the other, each beside the nearest of the others.
        for source, groups in steps.items():
            bad = [package for package in refused if package.source_name == source]
            moved = self._fitting(manifest, machine, moved, groups, bad[0])
        return moved

    def _fitting(
        self,
        manifest: ClaimedManifest,
        machine: Machine,
        others: Mapping[Key, Archive],
        groups: Sequence[Mapping[Key, Archive]],
        bad: DebianPackage,
    ) -> dict[Key, Archive]:
        """The first of `groups` that fits, with what has to come along; Permanent with the dependency in the way."""
        first: tuple[Archive, Broken] | None = None
        for group in groups:
            moved = {**others, **group}
            broken = machine.broken(moved)
            for _ in range(_ALONG):
                if broken is None:
                    return moved
                if not (more := self._along(manifest, machine, moved, broken)):
                    break
                moved |= more
                broken = machine.broken(moved)
            first = first or (group[bad.name, bad.architecture], broken) if broken else first
        if first is None:
            return dict(others)
        why = f"{bad.name} {first[0].version} is admitted, but {first[1]}, which nothing admitted would meet then"
        raise Permanent(self._no_way_out(bad, manifest.release, why))

    def _along(
        self, manifest: ClaimedManifest, machine: Machine, moved: Mapping[Key, Archive], broken: Broken
    ) -> dict[Key, Archive]:
        """What mends a dependency: another version of what has it, or of what it asks for, or something new."""
        names = {broken.by[0], *(relation.name for relation in broken.relations)}
        for package in manifest.debian:
            if package.name in names and (package.name, package.architecture) not in moved:
                for group in self._groups(manifest, package.source_name, [package]):
                    together = {**group, **moved}
                    if machine.broken(together) != broken:
                        return group
        for archive in machine.offers(broken):
            if self._all_admitted([archive], manifest.release, {}):
                return {(archive.name, archive.architecture): archive}
        return {}

    def _refused(self, package: DebianPackage, release: Release) -> bool:
        return self._verdict(package, release).decision != "allow"

    def _verdict(self, package: DebianPackage, release: Release) -> Verdict:
        purl = package.package(release).purl
        if purl not in self.verdicts:
            raise Permanent(
                f"{purl} has no verdict: nothing enters without one; publish manifest-published again."
            )
        return self.verdicts[purl]

    def _claimed(self, package: DebianPackage) -> Archive:
        """What the signed indexes list for a claim.

        1. They list this version, or did when the VM installed it. 2. They list the very hash of the archive that the
        VM had. 3. It was built from the source that the VM named: the verdict is about that source.
        """
        what = f"{package.name} {package.version} ({package.architecture})"
        versions = self.archives.get((package.name, package.architecture), ())
        same = [archive for archive in versions if archive.version == package.version]
        if not same:
            before = self.earlier().get((package.name, package.architecture), ())
            same = [archive for archive in before if archive.version == package.version]
        if not same:  # 1
            raise Permanent(
                f"{what}: the release's signed indexes list no such version, nor did they when the outer VM installed "
                "it; run again with a current image."
            )
        archive = next((each for each in same if package.archive in (None, each.sha256)), None)
        if archive is None:  # 2
            raise Permanent(
                f"{what}: the outer VM installed an archive with {package.archive}, the signed index lists "
                f"{same[0].sha256}; the archive did not come from the distribution."
            )
        if (archive.source_name, archive.source_version) != (
            package.source_name,
            package.source_version,
        ):  # 3
            raise Permanent(
                f"{what}: the outer VM says that it was built from {package.source_name} {package.source_version}, the "
                f"signed index says {archive.source_name} {archive.source_version}; it was judged as what it is not."
            )
        return archive

    def _groups(
        self, manifest: ClaimedManifest, source: str, bad: Sequence[DebianPackage]
    ) -> Iterator[dict[Key, Archive]]:
        """All binaries of one source at another source version that is admitted for each of them, nearest first.

        Newer ones; then, if the machine's base image has none of them, older ones: apt takes nothing back.
        """
        members = [package for package in manifest.debian if package.source_name == source]
        later, earlier = self._others(bad[0])
        replaces = {p.name: self._verdict(p, manifest.release).findings for p in bad}
        for wanted in later if any(package.in_base for package in members) else [*later, *earlier]:
            group = {
                (package.name, package.architecture): archive
                for package in members
                for archive in self.archives.get((package.name, package.architecture), ())
                if (archive.source_name, archive.source_version)
                == (wanted.source_name, wanted.source_version)
            }
            complete = all((package.name, package.architecture) in group for package in bad)
            if complete and self._all_admitted(list(group.values()), manifest.release, replaces):
                yield group

    def _no_way_out(self, package: DebianPackage, release: Release, why: str) -> str:
        verdict = self._verdict(package, release)
        carried = "the base image" if package.in_base else "the workload"
        ids = speaking(verdict)
        waive = f"waive {few(ids)}" if ids else "change the policy"
        return (
            f"{package.package(release).purl} is refused ({verdict.reason}), needed by {carried}, and {why}. Wait for "
            f"the distribution's fix, or {waive}."
        )

    def _others(self, package: DebianPackage) -> tuple[list[Archive], list[Archive]]:
        """Newer versions of a package and older ones, the nearest first."""
        versions = self.archives.get((package.name, package.architecture), ())
        try:
            order = [(compare(archive.version, package.version), archive) for archive in versions]
        except ValueError as error:
            raise Permanent(
                f"The outer VM claims {package.name} {package.version}, which is no version."
            ) from error
        later = [archive for sign, archive in reversed(order) if sign > 0]
        return later, [archive for sign, archive in order if sign < 0]

    def _all_admitted(self, archives: Sequence[Archive], release: Release, replaces: Replaced) -> bool:
        verdicts = self.judge([_package(archive, release) for archive in archives], False, replaces)
        return all(verdict.decision == "allow" for verdict in verdicts)

    def _change(self, package: DebianPackage, archive: Archive, release: Release, reason: str) -> Change:
        """`reason` is that of what moves without being refused itself."""
        verdict = self._verdict(package, release)
        refused = verdict.decision != "allow"
        return Change(
            kind="replaced" if refused else "moved",
            before=package.package(release),
            after=_package(archive, release),
            advisories=tuple(f.id for f in verdict.findings) if refused else (),
            required_by=("the base image",) if package.in_base else ("the workload itself",),
            reason=verdict.reason if refused else reason,
        )


def installed_after(manifest: ClaimedManifest, locked: Sequence[LockedArchive]) -> dict[tuple[str, str], str]:
    """(name, architecture) to version of everything on the inner VM: the base image, and the lock on top."""
    result = {(p.name, p.architecture): p.version for p in manifest.debian if p.in_base}
    return result | {(a.name, a.architecture): a.version for a in locked}


def _added(archive: Archive, release: Release, needing: Sequence[str]) -> Change:
    package = _package(archive, release)
    return Change(
        kind="added",
        before=package,
        after=package,
        advisories=(),
        required_by=tuple(needing),
        reason="a replacement asks for it",
    )


def _package(archive: Archive, release: Release) -> Package:
    return Package(
        ecosystem="debian",
        name=archive.name,
        version=archive.version,
        architecture=archive.architecture,
        distro=f"{release.id}-{release.version_id}",
        source_name=archive.source_name,
        source_version=archive.source_version,
    )


def _locked(archive: Archive) -> LockedArchive:
    return LockedArchive(
        name=archive.name,
        version=archive.version,
        architecture=archive.architecture,
        source_name=archive.source_name,
        source_version=archive.source_version,
        filename=archive.url.rsplit("/", 1)[-1],
        url=archive.url,
        sha256=archive.sha256,
        size=archive.size,
        suite=archive.suite,
        source=archive.source,
    )
