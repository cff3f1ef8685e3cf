"""Locking one Python environment: the very files that the outer VM had, and replacements for what was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from packaging.tags import Tag
from packaging.utils import canonicalize_name

from shared.errors import Permanent
from shared.locking import conflict, needs
from shared.locking.changes import changes
from shared.locking.constraints import Constraints, bind
from shared.locking.offer import Judge, Offer
from shared.locking.search import Search, Unfit
from shared.model.lock import Change, LockedEnvironment, LockedPython
from shared.model.manifest import Environment, PythonPackage
from shared.model.package import Package, normal_version
from shared.model.value import Digest
from shared.model.verdict import Verdict
from shared.ports.upstream import IndexFile, Pin, PythonIndex, Resolver
from shared.upstream.pypi import select
from shared.upstream.tags import version_of

BuildRequirements = Callable[[IndexFile], Sequence[str]]
"""A source distribution's build requirements, read from its own files."""
Claims = Mapping[str, PythonPackage]
_PARALLEL = 8
"""Replacements that are fetched at once to prove their RECORD."""


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
    record: Callable[[LockedPython], Digest]
    """A wheel's canonical RECORD digest, proved from its bytes: asked for what no VM has had yet."""
    constraints: Sequence[str] = ()
    """The workload's own, as pip takes them."""
    overrides: Sequence[str] = ()
    """As uv takes them. The resolver has them as well; here it is said which yields."""

    def lock(
        self, environment: Environment, tags: Sequence[Tag]
    ) -> tuple[LockedEnvironment, tuple[Change, ...]]:
        """The environment's files, and the changes. Permanent with the reason if there is no such set."""
        claims = {package.name: package for package in environment.packages if not package.in_base}
        for package in claims.values():
            if not self._own_wheel(package):
                self._check_stranger(package.name, package.version)
        refused = {
            name: verdict
            for name, claim in sorted(claims.items())
            if (verdict := self._verdict(claim)).decision != "allow"
        }
        replaces = {name: verdict.findings for name, verdict in refused.items()}
        offer = Offer(self.index, self.judge, environment.python, tags, replaces)
        installed = {name: claim.version for name, claim in claims.items()}
        bound = bind(self.constraints, installed, refused)
        over = bind(self.overrides, installed, refused).yielded
        gave = {name: (*bound.yielded.get(name, ()), *over.get(name, ())) for name in refused}
        pins = self._replace(offer, claims, refused, bound)
        files = []
        for name in sorted(pins):
            claim = claims.get(name)
            if claim is not None and normal_version(claim.version) == normal_version(pins[name]):
                files.append(self._claimed(claim, offer))
            else:
                self._check_stranger(name, pins[name])
                files.append(self._chosen(Pin(name, pins[name]), offer))
        locked = LockedEnvironment(
            path=environment.path,
            python=environment.python,
            virtual=environment.virtual,
            packages=self._recorded(files),
        )
        return locked, changes(environment.path, claims, refused, pins, gave)

    def _verdict(self, claim: PythonPackage) -> Verdict:
        purl = claim.package().purl
        if purl not in self.verdicts:
            raise Permanent(
                f"{purl} has no verdict: nothing enters without one; publish manifest-published again."
            )
        return self.verdicts[purl]

    # --- the very files that the VM had ---

    def _claimed(self, claim: PythonPackage, offer: Offer) -> LockedPython:
        mine = self._own_wheel(claim)
        file = None if mine else select(self.index.files(claim.name), claim)
        filename = file.filename if file else str(mine)
        _check_version(claim, filename)
        is_wheel = filename.endswith(".whl")
        if is_wheel and claim.record is None:
            raise Permanent(
                f"{claim.name} {claim.version} on the outer VM is not what {filename} holds: its files were "
                "changed, or its RECORD is missing; install it unchanged from the index."
            )
        if file is None:
            digest = self.own[filename]
            return LockedPython(
                name=claim.name,
                version=claim.version,
                filename=filename,
                sha256=digest,
                url=f"own:{digest}",
                record=claim.record,
            )
        return self._locked(Pin(claim.name, claim.version), file, claim.record if is_wheel else None, offer)

    def _own_wheel(self, claim: PythonPackage) -> str | None:
        """File name of the user's own wheel that the claim is about."""
        for filename in self.own:
            its_name, its_version = canonicalize_name(filename.split("-")[0]), version_of(filename)
            if its_name == claim.name and str(its_version) == normal_version(claim.version):
                return filename
        return None

    def _check_stranger(self, name: str, version: str) -> None:
        """Permanent if the index would give what bears the name of one of the user's own wheels."""
        for filename in self.own:
            if canonicalize_name(filename.split("-")[0]) == name:
                raise Permanent(
                    f"{name} {version} would come from the index in the place of the workload's own wheel {filename}: "
                    "a stranger's package may bear that name, it is refused."
                )

    # --- what the resolver chose ---

    def _chosen(self, pin: Pin, offer: Offer) -> LockedPython:
        file = offer.file(pin)
        if file is None:
            raise Permanent(
                f"The index has no file of {pin.name} {pin.version} that Python {offer.python} here can install."
            )
        return self._locked(pin, file, None, offer)

    def _recorded(self, files: Sequence[LockedPython]) -> tuple[LockedPython, ...]:
        """Every wheel with its RECORD's digest, so that the inner VM's files are held to it."""

        def recorded(file: LockedPython) -> LockedPython:
            known = file.record is not None or not file.is_wheel
            return file if known else file.model_copy(update={"record": self.record(file)})

        with ThreadPoolExecutor(_PARALLEL, thread_name_prefix="record") as pool:
            return tuple(pool.map(recorded, files))

    def _locked(self, pin: Pin, file: IndexFile, record: Digest | None, offer: Offer) -> LockedPython:
        build: tuple[LockedPython, ...] = ()
        if not file.filename.endswith(".whl"):
            package = Package(ecosystem="pypi", name=pin.name, version=pin.version)
            (verdict,) = self.judge([package], True, offer.replaces)
            if verdict.decision != "allow":
                raise Permanent(
                    f"{package.purl} is refused as a source, {file.filename}: {verdict.reason}. Give it as a wheel."
                )
            build = tuple(self._build(file, offer))
        return _file(pin, file, record, build)

    def _build(self, source: IndexFile, offer: Offer) -> Iterator[LockedPython]:
        """What a source distribution's build needs, judged like everything else."""
        try:
            search = Search(self.resolver, offer, (), ())
            pins = search.fitting(self.build_requirements(source), wheels_only=True)
        except Permanent as error:
            raise Permanent(f"What {source.filename} needs to be built cannot be had: {error}") from error
        for pin in pins:
            self._check_stranger(pin.name, pin.version)
            if file := offer.file(pin):
                yield _file(pin, file, None)

    # --- replacements ---

    def _replace(
        self, offer: Offer, claims: Claims, refused: Mapping[str, Verdict], bound: Constraints
    ) -> dict[str, str]:
        """Versions for every package, the refused ones replaced; Permanent names package, advisory, who needs it."""
        if not refused:
            return {name: claim.version for name, claim in claims.items()}
        for name in refused:
            # A package of that name in the index may be a stranger's.
            if self._own_wheel(claims[name]) or claims[name].direct_url:
                raise Permanent(conflict.no_way_out(name, claims, refused, "it did not come from the index"))
        own = [claim for claim in claims.values() if self._own_wheel(claim)]
        for claim in claims.values():
            # Nor may a stranger's take the place of one that came from another index, when the others move.
            if claim not in own:
                select(self.index.files(claim.name), claim)
        candidates = {name: offer.candidates(name, claims[name].version) for name in refused}
        stays = [claim for name, claim in claims.items() if name not in refused and claim not in own]
        roots = needs.roots(claims.values(), offer.python)
        extras = needs.extras(claims.values(), offer.python)
        search = Search(self.resolver, offer, stays, own, bound.held, roots, extras)
        try:
            pins = search.replace([claims[name] for name in refused], candidates)
        except Unfit as error:
            raise Permanent(conflict.sentence(search, claims, refused, candidates, str(error))) from error
        return {pin.name: pin.version for pin in pins} | {claim.name: claim.version for claim in own}


def _check_version(claim: PythonPackage, filename: str) -> None:
    """What was judged is what is locked: 1.0.0 is 1.0 to an installer, and another package to a list of verdicts."""
    its_own = str(version_of(filename))
    if its_own != claim.version:
        raise Permanent(
            f"{claim.name} {claim.version} on the outer VM would be {filename}, which says {its_own}: the version that "
            "was judged is not the file's; install it from the index again."
        )


def _file(
    pin: Pin, file: IndexFile, record: Digest | None, build: tuple[LockedPython, ...] = ()
) -> LockedPython:
    return LockedPython(
        name=pin.name,
        version=pin.version,
        filename=file.filename,
        sha256=file.sha256,
        url=file.url,
        record=record,
        build=build,
        provenance=file.provenance,
    )
