"""The search for versions that fit together and are all admitted, with a real resolver.

1. A refused package is replaced, the others stay where they are. 2. Only if nothing fits, as few of the others as
possible move as well: of those that moved none could have stayed beside those that stayed. 3. Only if that does not
help either, packages go that nobody needs any more. At each step what is replaced or moved goes to the nearest admitted
version (`shared.locking.offer.nearness`): one after the other as near as those before it allow, first what the
workload's own command names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.version import InvalidVersion, Version

from shared.errors import Permanent
from shared.locking.offer import Offer
from shared.model.manifest import PythonPackage
from shared.model.package import normal_version
from shared.ports.upstream import Pin, Resolver

_TRIES = 24
"""Questions to the resolver, at most, that only make a solution nearer or smaller."""
_ROUNDS = 40
"""Names of whose refusals a resolver is told during one question."""
Pins = tuple[Pin, ...]


class Unfit(Permanent):
    """Nothing fits, in the resolver's words."""


@dataclass(frozen=True)
class Search:
    """For one environment."""

    resolver: Resolver
    offer: Offer
    stays: Sequence[PythonPackage]
    """What was admitted as it is, from the index."""
    own: Sequence[PythonPackage]
    """Wheels of the user's own: they stay, no index knows them, and what they require holds."""
    constraints: Sequence[str] = ()
    """The workload's own."""
    roots: Collection[str] = ()
    """Names that must be there whatever happens."""
    extras: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By name, what was asked for with it."""
    bans: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By name, the refused versions that the resolver has been told of."""
    failed: set[frozenset[str]] = field(default_factory=set)
    """Requirements for which there is no answer."""

    def replace(self, refused: Sequence[PythonPackage], candidates: Mapping[str, Sequence[str]]) -> Pins:
        """Versions of everything from the index; `candidates` are by the refused packages' names, nearest first.

        Unfit with the first reason, if nothing fits.
        """
        for package in refused:
            self._ban(package.name, package.version)
        for package in refused:
            if package.name in self.roots and not candidates[package.name]:
                raise Unfit("no version of it is admitted")
        order = sorted(refused, key=lambda each: (not each.requested, each.name))
        wanted = {each.name: each for each in order if candidates[each.name]}
        words: list[str] = []
        if found := self._nearest(wanted, candidates, [_pin(package) for package in self.stays], words):
            return found
        if found := self._moving(wanted, candidates, {each.name: each for each in self.stays}, words):
            return found
        needed = {name: each for name, each in wanted.items() if name in self.roots}
        for still in (wanted, needed) if len(needed) < len(wanted) else (wanted,):
            if found := self._moving(still, candidates, self._needed(still, words), words):
                return found
        raise Unfit(words[0])

    def fitting(self, requirements: Sequence[str], *, wheels_only: bool = False) -> Pins:
        """What the resolver answers, asked again until nothing in its answer is refused."""
        last = ""
        for _ in range(_ROUNDS):
            try:
                pins = self.resolve([*requirements, *self.own_needs()], self.limits())
            except Permanent as error:
                raise Unfit(f"{str(error).rstrip('.')}{last}.") from error
            known = {(package.name, normal_version(package.version)) for package in self.stays}
            new = [pin for pin in pins if (pin.name, normal_version(pin.version)) not in known]
            refused = self.offer.refusals(new, wheels_only=wheels_only)
            if not refused:
                return pins
            for pin in refused:
                self._ban(pin.name, pin.version, wheels_only=wheels_only)
            pin, why = next(iter(refused.items()))
            last = f"; {pin.name} {pin.version}, which would be needed, is refused ({why})"
        raise Unfit(f"The resolver was told of refused versions {_ROUNDS} times{last}.")

    def resolve(self, requirements: Sequence[str], limits: Sequence[str]) -> Pins:
        """One question to the resolver; Permanent with its words."""
        mine = {package.name for package in self.own}
        preferences = [Pin(package.name, package.version) for package in self.stays]
        offer = self.offer
        pins = self.resolver.resolve(
            requirements, preferences, limits, offer.python, sorted(mine), offer.platform
        )
        return tuple(pin for pin in pins if pin.name not in mine)

    def own_needs(self) -> list[str]:
        """What the user's own wheels require."""
        return [line for package in self.own for line in package.requires]

    def limits(self) -> list[str]:
        """Constraints for the resolver: the workload's, and what is refused."""
        return [*self.constraints, *(line for name in sorted(self.bans) for line in self.banned(name))]

    def banned(self, name: str) -> list[str]:
        return [f"{name}!={version}" for version in self.bans[name]]

    def _ban(self, name: str, version: str, *, wheels_only: bool = False) -> None:
        """Every refused version at once: a package may have had hundreds before its flaw was mended."""
        here = {normal_version(each.version) for each in self.stays if each.name == name}
        refused = [each for each, why in self.offer.judged(name, wheels_only=wheels_only).items() if why]
        if version not in refused:
            refused.append(version)
        self.bans[name] = tuple(each for each in refused if normal_version(each) not in here)

    def _try(self, requirements: Sequence[str], words: list[str]) -> Pins | None:
        asked = frozenset(requirements)
        if asked in self.failed:  # what is refused only grows
            return None
        try:
            return self.fitting(requirements)
        except Unfit as error:
            self.failed.add(asked)
            words.append(str(error))
            return None

    def _nearest(
        self,
        movable: Mapping[str, PythonPackage],
        candidates: Mapping[str, Sequence[str]],
        pinned: Sequence[str],
        words: list[str],
    ) -> Pins | None:
        """The nearest versions for `movable`, in its order, beside the requirements `pinned`; None if nothing fits."""
        first = [f"{self._named(name)}=={versions[0]}" for name in movable if (versions := candidates[name])]
        if len(first) == len(movable) and (found := self._try([*first, *pinned], words)):
            return found
        found = self._try([*self._open(movable.values()), *pinned], words)
        if found is None:
            return None
        chosen: list[str] = []
        left = _TRIES
        for place, name in enumerate(movable, 1):
            rest = [*self._open(list(movable.values())[place:]), *pinned]
            for version in candidates[name]:
                if _version(found, name) == version or not left:
                    break
                left -= 1
                if nearer := self._try([*chosen, f"{self._named(name)}=={version}", *rest], words):
                    found = nearer
                    break
            chosen.append(f"{self._named(name)}=={_version(found, name)}")
        return found

    def _moving(
        self,
        wanted: Mapping[str, PythonPackage],
        candidates: Mapping[str, Sequence[str]],
        names: Mapping[str, PythonPackage],
        words: list[str],
    ) -> Pins | None:
        """As few of `names` moved as possible; None if nothing fits however far they move."""
        everything = [*wanted.values(), *names.values()]
        found = self._try(self._open(everything), words)
        if found is None:
            return None
        stay = {name: package for name, package in names.items() if _has(found, package)}
        for package in [package for name, package in names.items() if name not in stay][:_TRIES]:
            held = {**stay, package.name: package}
            free = self._open(each for each in everything if each.name not in held)
            if self._try([*map(_pin, held.values()), *free], words):
                stay = held
        moved = {name: package for name, package in names.items() if name not in stay}
        nearest = {name: self.offer.candidates(name, package.version) for name, package in moved.items()}
        pinned = [_pin(package) for package in stay.values()]
        return self._nearest({**wanted, **moved}, {**candidates, **nearest}, pinned, words) or found

    def _named(self, name: str) -> str:
        extras = self.extras.get(name)
        return f"{name}[{','.join(extras)}]" if extras else name

    def open_requirement(self, package: PythonPackage) -> str:
        """The package at any version; a pre-release only in the place of a pre-release."""
        try:
            early = Version(package.version).is_prerelease
        except InvalidVersion:
            early = False
        return f"{self._named(package.name)}>=0.dev0" if early else self._named(package.name)

    def _open(self, packages: Iterable[PythonPackage]) -> list[str]:
        return [self.open_requirement(package) for package in packages]

    def _needed(self, wanted: Mapping[str, PythonPackage], words: list[str]) -> dict[str, PythonPackage]:
        """Of what stays the roots, and whatever else need not go beside them."""
        names = {package.name: package for package in self.stays if package.name in self.roots}
        found = self._try(self._open([*wanted.values(), *names.values()]), words)
        if found is None:
            return names
        there = {pin.name for pin in found}
        names |= {package.name: package for package in self.stays if package.name in there}
        for package in [package for package in self.stays if package.name not in names][:_TRIES]:
            if self._try(self._open([*wanted.values(), *names.values(), package]), words):
                names[package.name] = package
        return names


def _pin(package: PythonPackage) -> str:
    return f"{package.name}=={package.version}"


def _version(pins: Pins, name: str) -> str:
    return next((pin.version for pin in pins if pin.name == name), "")


def _has(pins: Pins, package: PythonPackage) -> bool:
    return normal_version(_version(pins, package.name)) == normal_version(package.version)
