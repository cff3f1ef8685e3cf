"""Who needs whom in an approved set, as far as it is known. Pure.

Known are the requirements of what the outer VM had installed (Requires-Dist in the manifest), the way by which the
workload needs a package (its verdict), and what a source distribution's build takes. Where nothing is known of a
component it has no node, which means just that (https://cyclonedx.org/docs/1.7/json/#dependencies).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache

from packaging.markers import Marker, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement
from packaging.utils import canonicalize_name

from shared.bom.approved import ApprovedSet
from shared.bom.components import Item
from shared.bom.parts import Json, root
from shared.model.lock import LockedEnvironment, LockedPython
from shared.model.manifest import Environment
from shared.model.package import Package
from shared.model.requirement import requirement

_NAME = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)", re.ASCII)
_EXTRA = re.compile(r"""extra\s*==\s*['"]([A-Za-z0-9._-]+)['"]""", re.ASCII)
Edges = dict[str, set[str]]
ASKED_FOR = (("the workload itself",), ("the workload's apt list",))
"""Ways of what the workload itself asks for (shared.policy.need); other words than names lead nowhere."""


def dependencies(approved: ApprovedSet, items: Collection[Item]) -> list[Json]:
    """The graph, sorted; the workload itself is its root."""
    edges: Edges = defaultdict(set)
    top = root(approved.lock.workload)
    edges[top] = set()
    by_file = {(item.package.purl, item.sha256): item.ref for item in items}
    claimed = {  # what dpkg manages in the same place is told apart
        environment.path: environment
        for environment in approved.manifest.environments
        if not environment.managed_by_dpkg
    }
    for locked in approved.lock.environments:
        _environment(locked, claimed.get(locked.path), by_file, edges, top)
    _ways(approved, items, edges, top)
    for item in items:
        if item.kind in ("file", "platform"):
            edges[top].add(item.ref)  # the workload's author wrote its URL
    return [{"ref": ref, "dependsOn": sorted(needed - {ref})} for ref, needed in sorted(edges.items())]


def unknown(graph: Collection[Json], items: Collection[Item]) -> list[str]:
    """References of those of which it is not known what they need."""
    known = {node["ref"] for node in graph}
    return [item.ref for item in items if item.ref not in known]


def _environment(
    locked: LockedEnvironment,
    claimed: Environment | None,
    by_file: Mapping[tuple[str, str], str],
    edges: Edges,
    top: str,
) -> None:
    refs = {file.name: _ref(file, by_file) for file in locked.packages}
    claims = {package.name: package for package in (claimed.packages if claimed else ())}
    for file in locked.packages:
        claim = claims.get(file.name)
        if claim is not None and claim.requested:
            edges[top].add(refs[file.name])
        if claim is not None and claim.version == file.version:
            needed = requirements(claim.requires, locked.python, refs)
            edges[refs[file.name]] |= {refs[name] for name in needed}
        _build(file, refs[file.name], by_file, edges)


def _build(file: LockedPython, ref: str, by_file: Mapping[tuple[str, str], str], edges: Edges) -> None:
    for each in file.build:
        needed = _ref(each, by_file)
        edges[ref].add(needed)
        _build(each, needed, by_file, edges)


def _ref(file: LockedPython, by_file: Mapping[tuple[str, str], str]) -> str:
    return by_file[Package(ecosystem="pypi", name=file.name, version=file.version).purl, file.sha256]


def _ways(approved: ApprovedSet, items: Collection[Item], edges: Edges, top: str) -> None:
    """A verdict's way names packages from what the workload asks for to what asks for its own."""
    named: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in items:
        named[item.package.ecosystem, item.package.name].add(item.ref)
    for item in items:
        verdict = approved.verdicts.get(item.package.purl)
        way = verdict.needed_by if verdict else ()
        if way in ASKED_FOR:
            edges[top].add(item.ref)
            continue
        steps = [named.get((item.package.ecosystem, name), set()) for name in way]
        for before, after in zip([{top}, *steps], [*steps, {item.ref}], strict=True):
            if way and len(before) == 1:
                edges[next(iter(before))] |= after


def requirements(lines: Collection[str], python: str, there: Collection[str]) -> Iterator[str]:
    """Names in `there` that Requires-Dist lines ask for on Python `python` (core metadata, PEP 508).

    Which extras were asked for is not known; what an extra asks for and is there is taken for needed by it.
    """
    for line in lines:
        match = _NAME.match(line)
        name = canonicalize_name(match[1]) if match else ""
        if name in there and _applies(line, python):
            yield name


@lru_cache(maxsize=65_536)
def _applies(line: str, python: str) -> bool:
    if ";" not in line:
        return True
    try:
        marker = requirement(line).marker
    except InvalidRequirement:
        return False
    return marker is None or any(
        _true(marker, python, extra) for extra in ("", *_EXTRA.findall(str(marker))[:50])
    )


def _true(marker: Marker, python: str, extra: str) -> bool:
    release = re.match(r"3\.\d+", python)
    environment = {
        "python_full_version": python,
        "python_version": release[0] if release else python,
        "implementation_version": python,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "platform_release": "",
        "platform_version": "",
        "extra": extra,
    }
    try:
        return marker.evaluate(environment)
    except (UndefinedEnvironmentName, ValueError):  # InvalidVersion, InvalidSpecifier
        return False
