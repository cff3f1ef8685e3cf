"""Which of the workload's constraints bind a relock, and which yield because they pin what is refused. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.specifiers import Specifier, SpecifierSet
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Constraints:
    """For one environment."""

    held: tuple[str, ...]
    """As the resolver takes them."""
    yielded: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By name of a refused package, the lines that pinned the refused version, as the workload has them."""


def bind(lines: Sequence[str], installed: Mapping[str, str], refused: Mapping[str, object]) -> Constraints:
    """What of the workload's constraints binds, given what the VM had (name to version) and what of it is refused.

    1. One that pins the refused version itself yields, as far as it does: it could not be kept. 2. One that the machine
    breaks already with a package that stays did not bind there. 3. One with a URL keeps the index's package of that
    name out: it asked for another one.
    """
    held: list[str] = []
    yielded: dict[str, tuple[str, ...]] = {}
    for line in lines:
        wanted = Requirement(line)
        name = canonicalize_name(wanted.name)
        version = installed.get(name)
        if wanted.url:  # 3
            if name not in installed:
                held.append(f"{name}<0")
            continue
        if name in refused and version is not None:
            rest = [each for each in wanted.specifier if not _pins(each, version)]
            if len(rest) < len(wanted.specifier):  # 1
                yielded[name] = (*yielded.get(name, ()), line)
                wanted.specifier = SpecifierSet(",".join(map(str, rest)))
                if not rest:
                    continue
        elif version is not None and not wanted.specifier.contains(version, prereleases=True):  # 2
            continue
        held.append(str(wanted))
    return Constraints(tuple(held), yielded)


def _pins(specifier: Specifier, version: str) -> bool:
    exact = specifier.operator in ("==", "===") and "*" not in specifier.version
    return exact and specifier.contains(version, prereleases=True)
