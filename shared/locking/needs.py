"""Who needs whom in one Python environment, by the Requires-Dist lines of what is installed. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.model.manifest import PythonPackage
from shared.model.requirement import readable

ITSELF = "the workload itself"
_EXTRA = re.compile(r"extra == [\"']([A-Za-z0-9._-]+)[\"']", re.ASCII)


def requirements(package: PythonPackage) -> Iterator[Requirement]:
    """Its readable requirements, whether their markers hold or not."""
    for _, wanted in readable(package.requires):
        yield wanted


def required_by(name: str, packages: Iterable[PythonPackage]) -> tuple[str, ...]:
    """Who else on the machine asks for `name`, sorted; the workload itself where nobody does."""
    found = {
        package.name
        for package in packages
        for wanted in requirements(package)
        if canonicalize_name(wanted.name) == name != package.name
    }
    return tuple(sorted(found)) or (ITSELF,)


def roots(packages: Iterable[PythonPackage], python: str) -> frozenset[str]:
    """What the workload asked for: by name, or in a way that no requirement explains, as by an extra."""
    found = list(packages)
    explained = {
        canonicalize_name(wanted.name)
        for package in found
        for wanted in requirements(package)
        if canonicalize_name(wanted.name) != package.name and holds(wanted, python)
    }
    return frozenset(each.name for each in found if each.requested or each.name not in explained)


def extras(packages: Iterable[PythonPackage], python: str) -> dict[str, tuple[str, ...]]:
    """By name, the extras that were asked for, as far as they can be told: a VM does not report them.

    An extra counts if all that it asks for is there in a fitting version, and if without it nothing explains why.
    """
    found = {package.name: package for package in packages}
    orphans = {name for name in roots(found.values(), python) if not found[name].requested}
    asked: dict[str, tuple[str, ...]] = {}
    for package in found.values():
        for extra in sorted({each for wanted in requirements(package) for each in _named(wanted)}):
            more = [
                wanted
                for wanted in requirements(package)
                if not holds(wanted, python) and holds(wanted, python, extra)
            ]
            names = {canonicalize_name(wanted.name) for wanted in more} - {package.name}
            if names & orphans and all(_met(wanted, found) for wanted in more):
                asked[package.name] = (*asked.get(package.name, ()), extra)
    return asked


def _named(wanted: Requirement) -> list[str]:
    """Extras that a requirement's marker names."""
    return _EXTRA.findall(str(wanted.marker)) if wanted.marker else []


def _met(wanted: Requirement, found: Mapping[str, PythonPackage]) -> bool:
    there = found.get(canonicalize_name(wanted.name))
    return there is not None and wanted.specifier.contains(there.version, prereleases=True)


def holds(wanted: Requirement, python: str, extra: str = "") -> bool:
    """Whether the requirement counts on Python `python`, for a package of which this extra was asked for, or none."""
    if wanted.marker is None:
        return True
    environment = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "extra": extra,
    }
    try:
        return wanted.marker.evaluate(environment)
    except (UndefinedEnvironmentName, ValueError):
        return False


def way(start: str, to: str, packages: Mapping[str, PythonPackage], python: str) -> tuple[str, ...]:
    """Names from `start` to `to`, each of which requires the next: the shortest way; empty if there is none."""
    ways: deque[tuple[str, ...]] = deque([(start,)])
    seen = {start}
    while ways:
        so_far = ways.popleft()
        if so_far[-1] == to:
            return so_far
        package = packages.get(so_far[-1])
        for wanted in requirements(package) if package else ():
            name = canonicalize_name(wanted.name)
            if name not in seen and holds(wanted, python):
                seen.add(name)
                ways.append((*so_far, name))
    return ()
