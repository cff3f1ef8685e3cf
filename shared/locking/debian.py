"""Locking the Debian side: the archives that the outer VM added, and newer ones for what was refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from shared.errors import Permanent
from shared.model.debian_version import compare
from shared.model.lock import Change, LockedArchive
from shared.model.manifest import ClaimedManifest, DebianPackage
from shared.model.package import Package, Release
from shared.model.verdict import Verdict
from shared.ports import Archive

Judge = Callable[[Sequence[Package], bool], Sequence[Verdict]]


@dataclass(frozen=True)
class DebianLocker:
    """Locks the Debian packages of one machine."""

    archives: Mapping[tuple[str, str], tuple[Archive, ...]]
    """(name, architecture) to its versions over the release's suites, newest first."""
    judge: Judge
    verdicts: Mapping[str, Verdict]

    def lock(
        self, manifest: ClaimedManifest
    ) -> tuple[tuple[tuple[Archive, LockedArchive], ...], tuple[Change, ...]]:
        """Archives to install on top of the base image; Permanent with the reason if there is no such set."""
        refused = [p for p in manifest.debian if self._verdict(p, manifest.release).decision != "allow"]
        # Binaries of one source depend on each other in one exact version: they move together or not at all.
        moving = {package.source_name for package in refused}
        locked, changes = [], []
        for package in sorted(manifest.debian, key=lambda p: (p.name, p.architecture)):
            if package.source_name in moving:
                archive = self._newer(package, manifest.release, refused=package in refused)
                if archive is not None:
                    locked.append((archive, _locked(archive)))
                    changes.append(self._change(package, archive, manifest.release))
                    continue
            if not package.in_base:
                archive = self._claimed(package)
                locked.append((archive, _locked(archive)))
        return tuple(locked), tuple(changes)

    def _verdict(self, package: DebianPackage, release: Release) -> Verdict:
        purl = package.package(release).purl
        if purl not in self.verdicts:
            raise Permanent(
                f"{purl} has no verdict: nothing enters without one; publish manifest-published again."
            )
        return self.verdicts[purl]

    def _claimed(self, package: DebianPackage) -> Archive:
        """1. A signed index lists this version. 2. It lists the very hash of the archive that the VM had."""
        what = f"{package.name} {package.version} ({package.architecture})"
        versions = self.archives.get((package.name, package.architecture), ())
        same = [archive for archive in versions if archive.version == package.version]
        if not same:
            raise Permanent(
                f"{what}: the release's signed indexes list no such version; run again with a current image."
            )
        if package.archive is None:
            return same[0]
        for archive in same:
            if archive.sha256 == package.archive:
                return archive
        raise Permanent(
            f"{what}: the outer VM installed an archive with {package.archive}, the signed index lists "
            f"{same[0].sha256}; the archive did not come from the distribution."
        )

    def _newer(self, package: DebianPackage, release: Release, *, refused: bool) -> Archive | None:
        """The nearest newer admitted version, None where a package that merely moves along has none."""
        versions = self.archives.get((package.name, package.architecture), ())
        newer = [archive for archive in reversed(versions) if compare(archive.version, package.version) > 0]
        for archive in newer:
            (verdict,) = self.judge([_package(archive, release)], False)
            if verdict.decision == "allow":
                return archive
        if not refused:
            return None
        verdict = self._verdict(package, release)
        carried = "the base image" if package.in_base else "the workload"
        raise Permanent(
            f"{package.package(release).purl} is refused ({verdict.reason}), needed by {carried}, and the release has "
            "no newer admitted version. Wait for the distribution's fix, or change the policy."
        )

    def _change(self, package: DebianPackage, archive: Archive, release: Release) -> Change:
        verdict = self._verdict(package, release)
        refused = verdict.decision != "allow"
        return Change(
            before=package.package(release),
            after=_package(archive, release),
            advisories=tuple(f.id for f in verdict.findings) if refused else (),
            required_by=("the base image",) if package.in_base else ("the workload itself",),
            reason=verdict.reason if refused else f"built from {package.source_name}, which is replaced",
        )


def installed_after(manifest: ClaimedManifest, locked: Sequence[LockedArchive]) -> dict[tuple[str, str], str]:
    """(name, architecture) to version of everything on the inner VM: the base image, and the lock on top."""
    result = {(p.name, p.architecture): p.version for p in manifest.debian if p.in_base}
    return result | {(a.name, a.architecture): a.version for a in locked}


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
    )
