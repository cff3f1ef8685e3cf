"""Who needs whom in one Python environment, by the Requires-Dist lines of what is installed. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from packaging.markers import UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from shared.model.manifest import PythonPackage

ITSELF = "the workload itself"


def requirements(package: PythonPackage) -> Iterator[Requirement]:
    """Its readable requirements, whether their markers hold or not."""
    for line in package.requires:
        try:
            yield Requirement(line)
        except InvalidRequirement:
            continue


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


def holds(wanted: Requirement, python: str) -> bool:
    """Whether the requirement counts on Python `python`, for a package of which no extra was asked for."""
    if wanted.marker is None:
        return True
    environment = {
        "python_version": ".".join(python.split(".")[:2]),
        "python_full_version": python,
        "extra": "",
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
