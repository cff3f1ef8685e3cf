"""By which way a workload needs what is on its machine, told from the manifest alone. Pure.

For people to read: nothing is decided by it, and the machine that says it may lie. So no marker is evaluated; a
requirement counts where the package that it names is there. One that only an extra has counts where there is no other
way. Each package has the shortest way, and of equally short ones the first by name.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Mapping

from packaging.utils import canonicalize_name

from shared.model.manifest import Environment, PythonPackage

Way = tuple[str, ...]
ITSELF = ("the workload itself",)
BASE = ("the base image",)
INTERPRETER = ("the workload's own interpreter",)
APT = ("the workload's apt list",)
LONGEST = 32
"""Steps of a way that is told. No real one is half as long; a machine that lies could give each package thousands."""
_NAME = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]{0,127})")


def ways(environment: Environment) -> dict[str, Way]:
    """Name of each package of the environment that the install brought, to the names from what the workload asked for
    to what asks for the package; `ITSELF` for what it asked for. A package that nothing asks for is absent."""
    packages = {package.name: package for package in environment.packages if not package.in_base}
    found: dict[str, Way] = {name: () for name in sorted(packages) if packages[name].requested}
    for over_extras in (False, True):
        if len(found) < len(packages):
            _follow(packages, found, over_extras)
    return {name: way or ITSELF for name, way in found.items()}


def shortest(ways: Iterable[Way]) -> Way:
    """Of the ways of one package in several environments; empty if there is none."""
    return min((way for way in ways if way), key=lambda way: (way != ITSELF, len(way), way), default=())


def _follow(packages: Mapping[str, PythonPackage], found: dict[str, Way], over_extras: bool) -> None:
    """Adds to `found` what can be reached from it. Short ways go on first, so the first to arrive is the shortest."""
    queue = [(len(way), way, name) for name, way in found.items()]
    heapq.heapify(queue)
    while queue:
        _, way, name = heapq.heappop(queue)
        step = (*way, name)
        for each in _needs(packages[name], over_extras) if len(step) <= LONGEST else ():
            if each in packages and each not in found:
                found[each] = step
                heapq.heappush(queue, (len(step), step, each))


def _needs(package: PythonPackage, over_extras: bool) -> Iterable[str]:
    """Names of the Requires-Dist lines (PEP 508), as far as they are asked for."""
    for line in package.requires:
        specifier, _, marker = line.partition(";")
        if (over_extras or "extra" not in marker) and (name := _NAME.match(specifier)):
            yield canonicalize_name(name[1])
