"""The search for versions that fit together and are all admitted, with a real resolver.

A refused package is replaced by the nearest admitted version that the resolver accepts together with all the others:
upwards first, the others staying where they are; only if nothing fits may the others move as well, and only then may
packages go that nobody needs any more.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from shared.errors import Permanent
from shared.locking.offer import Offer
from shared.model.manifest import PythonPackage
from shared.model.package import normal_version
from shared.ports import Pin, Resolver

_TRIES = 24
"""Combinations of candidates that are put before the resolver, nearest first."""
_ROUNDS = 12
"""Times that a resolver is told of refused versions in one of its answers."""


@dataclass(frozen=True)
class Search:
    """For one environment."""

    resolver: Resolver
    offer: Offer
    stays: Sequence[PythonPackage]
    """What was admitted as it is, from the index."""
    own: Sequence[PythonPackage]
    """Wheels of the user's own: they stay, no index knows them, and what they require holds."""

    def replace(self, refused: Mapping[str, Sequence[str]]) -> tuple[Pin, ...]:
        """Versions of everything from the index; `refused` are names and their candidates, nearest first.

        Permanent with the first reason, if nothing fits.
        """
        words = ""
        for requirements, forbidden in self._questions(refused):
            try:
                return self.fitting(requirements, forbidden)
            except Permanent as error:
                words = words or str(error)
        raise Permanent(words)

    def fitting(
        self, requirements: Sequence[str], forbidden: Iterable[str] = (), *, wheels_only: bool = False
    ) -> tuple[Pin, ...]:
        """What the resolver answers, asked again until nothing in its answer is refused."""
        preferences = [Pin(package.name, package.version) for package in self.stays]
        known = {(package.name, normal_version(package.version)) for package in self.stays}
        banned, last = list(forbidden), ""
        for _ in range(_ROUNDS):
            try:
                pins = self._resolve(requirements, preferences, banned)
            except Permanent as error:
                raise Permanent(f"{str(error).rstrip('.')}{last}.") from error
            new = [pin for pin in pins if (pin.name, normal_version(pin.version)) not in known]
            refused = self.offer.refusals(new, wheels_only=wheels_only)
            if not refused:
                return pins
            banned += [f"{pin.name}!={pin.version}" for pin in refused]
            pin, why = next(iter(refused.items()))
            last = f"; {pin.name} {pin.version}, which would be needed, is refused ({why})"
        raise Permanent(f"The resolver was told of refused versions {_ROUNDS} times{last}.")

    def _resolve(
        self, requirements: Sequence[str], preferences: Sequence[Pin], forbidden: Sequence[str]
    ) -> tuple[Pin, ...]:
        mine = {package.name for package in self.own}
        needed = [line for package in self.own for line in package.requires]
        pins = self.resolver.resolve(
            [*requirements, *needed],
            preferences,
            forbidden,
            self.offer.python,
            sorted(mine),
            self.offer.platform,
        )
        return tuple(pin for pin in pins if pin.name not in mine)

    def _questions(self, refused: Mapping[str, Sequence[str]]) -> Iterator[tuple[list[str], list[str]]]:
        """(requirements, forbidden versions), the smallest change first."""
        pinned = [f"{package.name}=={package.version}" for package in self.stays]
        free = [package.name for package in self.stays]
        for others in (pinned, free):
            for at in islice(nearest([len(versions) for versions in refused.values()]), _TRIES):
                chosen = [
                    f"{name}=={versions[i]}" for (name, versions), i in zip(refused.items(), at, strict=True)
                ]
                yield chosen + others, []
        yield [*refused, *free], []
        yield [*refused, *(package.name for package in self.stays if package.requested)], []


def nearest(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every choice of one position per list, by the sum of the positions; made only as far as somebody asks."""
    if not all(sizes):
        return
    first = (0,) * len(sizes)
    heap, seen = [(0, first)], {first}
    while heap:
        total, at = heapq.heappop(heap)
        yield at
        for i, size in enumerate(sizes):
            further = (*at[:i], at[i] + 1, *at[i + 1 :])
            if further[i] < size and further not in seen:
                seen.add(further)
                heapq.heappush(heap, (total + 1, further))
