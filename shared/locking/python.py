"""Locking one Python environment: the very files that the outer VM had, and replacements for what was refused.

A refused package is replaced by the nearest admitted version that a real resolver accepts together with all the
others: upwards first, the others staying where they are; only if nothing fits may the others move as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product

from packaging.requirements import InvalidRequirement, Requirement
from packaging.tags import Tag
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from shared.errors import Permanent
from shared.locking.tags import best, version_of
from shared.model.lock import Change, LockedEnvironment, LockedPython
from shared.model.manifest import Environment, PythonPackage
from shared.model.package import Package
from shared.model.value import Digest
from shared.model.verdict import Verdict
from shared.ports import IndexFile, Pin, PythonIndex, Resolver
from shared.upstream.pypi import select

Judge = Callable[[Sequence[Package], bool], Sequence[Verdict]]
"""(packages, are they source distributions) to their verdicts, in the same order."""
BuildRequirements = Callable[[IndexFile], Sequence[str]]
"""A source distribution's build requirements, read from its own files."""

_TRIES = 24
"""Combinations of candidates that are put before the resolver, nearest first."""


@dataclass(frozen=True)
class PythonLocker:
    """Locks environments of one machine."""

    index: PythonIndex
    resolver: Resolver
    judge: Judge
    build_requirements: BuildRequirements
    verdicts: Mapping[str, Verdict]
    """By purl: what the scanner said of the claims."""
    own: Mapping[str, Digest]
    """File name to sha256 of the user's own wheels."""

    def lock(
        self, environment: Environment, tags: Sequence[Tag]
    ) -> tuple[LockedEnvironment, tuple[Change, ...]]:
        """The environment's files, and the changes. Permanent with the reason if there is no such set."""
        claims = {package.name: package for package in environment.packages if not package.in_base}
        refused = {name: self._verdict(claim) for name, claim in claims.items() if self._refused(claim)}
        pins = (
            self._replace(environment, claims, refused)
            if refused
            else {n: c.version for n, c in claims.items()}
        )
        files, changes = [], []
        for name in sorted(pins):
            claim = claims.get(name)
            if claim is not None and claim.version == pins[name]:
                files.append(self._claimed(claim, environment.python, tags))
            else:
                files.append(self._chosen(name, pins[name], environment.python, tags))
                changes.append(_change(name, pins[name], claim, claims, refused))
        changes += [_dropped(claims[name], claims, refused) for name in sorted(claims.keys() - pins.keys())]
        locked = LockedEnvironment(
            path=environment.path,
            python=environment.python,
            virtual=environment.virtual,
            packages=tuple(files),
        )
        return locked, tuple(changes)

    def _verdict(self, claim: PythonPackage) -> Verdict:
        purl = claim.package().purl
        if purl not in self.verdicts:
            raise Permanent(
                f"{purl} has no verdict: nothing enters without one; publish manifest-published again."
            )
        return self.verdicts[purl]

    def _refused(self, claim: PythonPackage) -> bool:
        return self._verdict(claim).decision != "allow"

    # --- the very files that the VM had ---

    def _claimed(self, claim: PythonPackage, python: str, tags: Sequence[Tag]) -> LockedPython:
        mine = self._own_wheel(claim)
        if mine is not None:
            return mine
        file = select(self.index.files(claim.name), claim)
        is_wheel = file.filename.endswith(".whl")
        if is_wheel and claim.record is None:
            raise Permanent(
                f"{claim.name} {claim.version} on the outer VM is not what {file.filename} holds: its files were "
                "changed, or its RECORD is missing; install it unchanged from the index."
            )
        return self._locked(claim.name, claim.version, file, claim.record if is_wheel else None, python, tags)

    def _own_wheel(self, claim: PythonPackage) -> LockedPython | None:
        for filename, digest in self.own.items():
            if (
                canonicalize_name(filename.split("-")[0]) == claim.name
                and str(version_of(filename)) == claim.version
            ):
                return LockedPython(
                    name=claim.name,
                    version=claim.version,
                    filename=filename,
                    sha256=digest,
                    url=f"own:{digest}",
                    record=claim.record,
                )
        return None

    # --- what the resolver chose ---

    def _chosen(self, name: str, version: str, python: str, tags: Sequence[Tag]) -> LockedPython:
        file = best(self.index.files(name), version, tags)
        if file is None:
            raise Permanent(
                f"The index has no file of {name} {version} that Python {python} on this machine can install."
            )
        return self._locked(name, version, file, None, python, tags)

    def _locked(
        self,
        name: str,
        version: str,
        file: IndexFile,
        record: Digest | None,
        python: str,
        tags: Sequence[Tag],
    ) -> LockedPython:
        build: tuple[LockedPython, ...] = ()
        if not file.filename.endswith(".whl"):
            self._admit(
                Package(ecosystem="pypi", name=name, version=version), True, f"{file.filename} as a source"
            )
            build = tuple(self._build(file, python, tags))
        return LockedPython(
            name=name,
            version=version,
            filename=file.filename,
            sha256=file.sha256,
            url=file.url,
            record=record,
            build=build,
        )

    def _build(self, source: IndexFile, python: str, tags: Sequence[Tag]) -> Iterator[LockedPython]:
        """What a source distribution's build needs, judged like everything else."""
        forbidden: list[str] = []
        for _ in range(_TRIES):
            pins = self.resolver.resolve(self.build_requirements(source), (), forbidden, python)
            bad = [pin for pin in pins if not self._allowed(pin)]
            if not bad:
                break
            forbidden += [f"{pin.name}!={pin.version}" for pin in bad]
        else:
            raise Permanent(
                f"No admitted set of build requirements was found for {source.filename}; give a wheel instead."
            )
        for pin in pins:
            file = best(self.index.files(pin.name), pin.version, tags)
            if file is None or not file.filename.endswith(".whl"):
                raise Permanent(
                    f"{source.filename} needs {pin.name} {pin.version} to build, which has no wheel here."
                )
            yield LockedPython(
                name=pin.name,
                version=pin.version,
                filename=file.filename,
                sha256=file.sha256,
                url=file.url,
                record=None,
            )

    def _allowed(self, pin: Pin) -> bool:
        return bool(self._admitted(pin.name, [pin.version]))

    def _admitted(self, name: str, versions: Sequence[str]) -> list[str]:
        packages = [Package(ecosystem="pypi", name=name, version=version) for version in versions]
        return [v.package.version for v in self.judge(packages, False) if v.decision == "allow"]

    def _admit(self, package: Package, is_source: bool, what: str) -> None:
        (verdict,) = self.judge([package], is_source)
        if verdict.decision != "allow":
            raise Permanent(f"{package.purl} is refused ({what}): {verdict.reason}.")

    # --- replacements ---

    def _replace(
        self, environment: Environment, claims: Mapping[str, PythonPackage], refused: Mapping[str, Verdict]
    ) -> dict[str, str]:
        """Versions for every package, the refused ones replaced; Permanent names package, advisory and who needs it."""
        candidates = {name: self._candidates(claims[name]) for name in sorted(refused)}
        for name, versions in candidates.items():
            if not versions:
                raise Permanent(_no_way_out(name, claims, refused, "no version of it is admitted"))
        words = ""
        for free in (False, True):
            ordered = sorted(
                product(*(range(len(v)) for v in candidates.values())), key=lambda at: (sum(at), at)
            )
            for at in islice(ordered, _TRIES):
                chosen = {
                    name: versions[i] for (name, versions), i in zip(candidates.items(), at, strict=True)
                }
                try:
                    pins = self._resolve(environment, claims, chosen, free=free)
                except Permanent as error:
                    words = words or str(error)
                    continue
                if all(self._allowed(pin) for pin in pins if claims_version(claims, pin.name) != pin.version):
                    return {pin.name: pin.version for pin in pins}
        first = next(iter(sorted(refused)))
        raise Permanent(_no_way_out(first, claims, refused, f"no admitted version fits the others: {words}"))

    def _candidates(self, claim: PythonPackage) -> list[str]:
        """Admitted versions, nearest first: upwards, then downwards; pre-releases only from a pre-release."""
        try:
            here = Version(claim.version)
        except InvalidVersion:
            return []
        found = {version_of(file.filename) for file in self.index.files(claim.name) if not file.yanked}
        versions = sorted(
            v for v in found if v is not None and v != here and (not v.is_prerelease or here.is_prerelease)
        )
        ordered = [v for v in versions if v > here] + [v for v in reversed(versions) if v < here]
        return self._admitted(claim.name, [str(v) for v in ordered])[:_TRIES]

    def _resolve(
        self,
        environment: Environment,
        claims: Mapping[str, PythonPackage],
        chosen: Mapping[str, str],
        *,
        free: bool,
    ) -> tuple[Pin, ...]:
        others = [c for c in claims.values() if c.name not in chosen and self._own_wheel(c) is None]
        requirements = [f"{name}=={version}" for name, version in chosen.items()]
        if free:
            requirements += [c.name for c in others if c.requested]
        else:
            requirements += [f"{c.name}=={c.version}" for c in others]
        pins = self.resolver.resolve(
            requirements, [Pin(c.name, c.version) for c in others], (), environment.python
        )
        mine = [Pin(c.name, c.version) for c in claims.values() if self._own_wheel(c) is not None]
        return (*pins, *mine)


def claims_version(claims: Mapping[str, PythonPackage], name: str) -> str:
    """The claimed version of `name`, empty if the VM had none."""
    return claims[name].version if name in claims else ""


def required_by(name: str, packages: Iterable[PythonPackage]) -> tuple[str, ...]:
    """Who on the machine asks for `name`, sorted; the workload itself where nobody else does."""
    found = set()
    for package in packages:
        for line in package.requires:
            try:
                if canonicalize_name(Requirement(line).name) == name:
                    found.add(package.name)
            except InvalidRequirement:
                continue
    return tuple(sorted(found)) or ("the workload itself",)


def _change(
    name: str,
    version: str,
    claim: PythonPackage | None,
    claims: Mapping[str, PythonPackage],
    refused: Mapping[str, Verdict],
) -> Change:
    after = Package(ecosystem="pypi", name=name, version=version)
    before = claim.package() if claim else after
    if name in refused:
        reason, advisories = refused[name].reason, tuple(f.id for f in refused[name].findings)
    else:
        reason, advisories = f"the replacement of {', '.join(sorted(refused))} asks for it", ()
    return Change(
        before=before,
        after=after,
        advisories=advisories,
        required_by=required_by(name, claims.values()),
        reason=reason,
    )


def _dropped(
    claim: PythonPackage, claims: Mapping[str, PythonPackage], refused: Mapping[str, Verdict]
) -> Change:
    return Change(
        before=claim.package(),
        after=Package(ecosystem="pypi", name=claim.name, version="none"),
        advisories=(),
        required_by=required_by(claim.name, claims.values()),
        reason=f"nothing needs it after the replacement of {', '.join(sorted(refused))}",
    )


def _no_way_out(
    name: str, claims: Mapping[str, PythonPackage], refused: Mapping[str, Verdict], why: str
) -> str:
    wanted = ", ".join(required_by(name, claims.values()))
    return (
        f"{claims[name].package().purl} is refused ({refused[name].reason}), needed by {wanted}, and it cannot be "
        f"replaced: {why}. Change the workload's requirements, or the policy."
    )
