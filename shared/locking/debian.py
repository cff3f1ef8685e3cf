"""Locking the Debian side: the archives that the outer VM added, and newer ones for what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared.errors import Permanent
from shared.locking.offer import Judge
from shared.model.debian_version import compare
from shared.model.lock import Change, LockedArchive
from shared.model.manifest import ClaimedManifest, DebianPackage
from shared.model.package import Package, Release
from shared.model.verdict import Verdict
from shared.ports import Archive


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
        moved = self._moved(manifest)
        locked, changes = [], []
        for package in sorted(manifest.debian, key=lambda p: (p.name, p.architecture)):
            archive = moved.get((package.name, package.architecture))
            if archive is not None:
                changes.append(self._change(package, archive, manifest.release))
            elif not package.in_base:
                archive = self._claimed(package)
            if archive is not None:
                locked.append((archive, _locked(archive)))
        return tuple(locked), tuple(changes)

    def _moved(self, manifest: ClaimedManifest) -> dict[tuple[str, str], Archive]:
        """The archives that take the place of refused packages and of their sisters.

        Binaries of one source depend on each other in one exact version: they move together or not at all.
        """
        refused = [p for p in manifest.debian if self._verdict(p, manifest.release).decision != "allow"]
        moved: dict[tuple[str, str], Archive] = {}
        for source in sorted({package.source_name for package in refused}):
            members = [package for package in manifest.debian if package.source_name == source]
            bad = [package for package in refused if package.source_name == source]
            moved |= self._newer(members, bad, manifest.release)
        return moved

    def _verdict(self, package: DebianPackage, release: Release) -> Verdict:
        purl = package.package(release).purl
        if purl not in self.verdicts:
            raise Permanent(
                f"{purl} has no verdict: nothing enters without one; publish manifest-published again."
            )
        return self.verdicts[purl]

    def _claimed(self, package: DebianPackage) -> Archive:
        """What the signed indexes list for a claim.

        1. They list this version. 2. They list the very hash of the archive that the VM had. 3. It was built from the
        source that the VM named: the verdict is about that source.
        """
        what = f"{package.name} {package.version} ({package.architecture})"
        versions = self.archives.get((package.name, package.architecture), ())
        same = [archive for archive in versions if archive.version == package.version]
        if not same:  # 1
            raise Permanent(
                f"{what}: the release's signed indexes list no such version; run again with a current image."
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

    def _newer(
        self, members: Sequence[DebianPackage], bad: Sequence[DebianPackage], release: Release
    ) -> dict[tuple[str, str], Archive]:
        """All binaries of one source at the nearest newer source version that is admitted for each of them."""
        for wanted in self._later(bad[0]):
            group = {
                (package.name, package.architecture): archive
                for package in members
                for archive in self._later(package)[::-1]
                if (archive.source_name, archive.source_version)
                == (wanted.source_name, wanted.source_version)
            }
            complete = all((package.name, package.architecture) in group for package in bad)
            if complete and self._all_admitted(list(group.values()), release):
                return group
        package = bad[0]
        verdict = self._verdict(package, release)
        carried = "the base image" if package.in_base else "the workload"
        raise Permanent(
            f"{package.package(release).purl} is refused ({verdict.reason}), needed by {carried}, and the release has "
            "no newer admitted version. Wait for the distribution's fix, or change the policy."
        )

    def _later(self, package: DebianPackage) -> list[Archive]:
        """Newer versions of a package, the nearest first."""
        versions = self.archives.get((package.name, package.architecture), ())
        try:
            return [
                archive for archive in reversed(versions) if compare(archive.version, package.version) > 0
            ]
        except ValueError as error:
            raise Permanent(
                f"The outer VM claims {package.name} {package.version}, which is no version."
            ) from error

    def _all_admitted(self, archives: Sequence[Archive], release: Release) -> bool:
        verdicts = self.judge([_package(archive, release) for archive in archives], False)
        return all(verdict.decision == "allow" for verdict in verdicts)

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
