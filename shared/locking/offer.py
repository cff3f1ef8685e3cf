"""What the index offers to one machine: the file that would be installed, and whether it is admitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from packaging.tags import Tag
from packaging.version import InvalidVersion, Version

from shared.model.package import Package
from shared.model.verdict import Finding, Verdict
from shared.ports.upstream import IndexFile, Pin, PythonIndex
from shared.upstream.page import of_version
from shared.upstream.tags import best, version_of

Replaced = Mapping[str, Sequence[Finding]]
"""Name of a package to what was found in the version that is to be replaced."""

CANDIDATES = 24
"""Admitted versions of one package that are considered as its replacement."""


class Judge(Protocol):
    """(packages, are they source distributions, what they would replace) to their verdicts, in the same order."""

    def __call__(
        self, packages: Sequence[Package], is_source: bool, replaces: Replaced | None = None, /
    ) -> Sequence[Verdict]: ...


@dataclass(frozen=True)
class Offer:
    """The index and the judgement, for one Python on one machine."""

    index: PythonIndex
    judge: Judge
    python: str
    """Full version, like 3.13.5."""
    tags: Sequence[Tag]
    """Best first."""
    replaces: Replaced = field(default_factory=dict)
    """What is to be replaced: the judge is told what a version of it would mend."""
    _asked: dict[tuple[str, bool], Mapping[str, str]] = field(default_factory=dict)

    @property
    def platform(self) -> str:
        """The machine's own wheel platform, like manylinux_2_41_x86_64."""
        return self.tags[0].platform

    def file(self, pin: Pin) -> IndexFile | None:
        """What an installer would take for `pin`; None if there is nothing for this machine."""
        same = of_version(self.index.files(pin.name), Version(pin.version))
        return best(same, pin.version, self.tags, self.python)

    def refusals(self, pins: Sequence[Pin], *, wheels_only: bool = False) -> Mapping[Pin, str]:
        """Pins that must not be installed, each with why. Asks twice at most, however many pins there are."""
        files = {pin: self.file(pin) for pin in pins}
        refused = {
            pin: f"Python {self.python} on this machine has no file of it to install"
            for pin, file in files.items()
            if file is None
        }
        for is_source in (False, True):
            asked = [
                pin for pin, file in files.items() if file and file.filename.endswith(".whl") != is_source
            ]
            if is_source and wheels_only:
                refused |= dict.fromkeys(asked, "it has no wheel for this machine")
            elif asked:
                verdicts = self.judge([_package(pin) for pin in asked], is_source, self.replaces)
                refused |= {
                    pin: verdict.reason
                    for pin, verdict in zip(asked, verdicts, strict=True)
                    if verdict.decision != "allow"
                }
        return refused

    def judged(self, name: str, *, wheels_only: bool = False) -> Mapping[str, str]:
        """Every version of `name` that the index has, oldest first, and why it is refused: empty if it is admitted."""
        if (name, wheels_only) not in self._asked:
            found = {version_of(file.filename) for file in self.index.files(name)}
            pins = [Pin(name, str(version)) for version in sorted(v for v in found if v is not None)]
            refused = self.refusals(pins, wheels_only=wheels_only)
            self._asked[name, wheels_only] = {pin.version: refused.get(pin, "") for pin in pins}
        return self._asked[name, wheels_only]

    def candidates(self, name: str, version: str) -> list[str]:
        """Admitted versions of `name`, the nearest to `version` first, as `nearness` has it.

        Pre-releases only in the place of a pre-release.
        """
        try:
            here = Version(version)
        except InvalidVersion:
            return []
        admitted = [Version(each) for each, why in self.judged(name).items() if not why]
        fit = [v for v in admitted if v != here and (not v.is_prerelease or here.is_prerelease)]
        ordered = sorted(v for v in fit if v > here) + sorted((v for v in fit if v < here), reverse=True)
        # Stable: what is one step away stays in the order of its distance.
        ordered.sort(key=lambda v: nearness(here, v))
        return [str(each) for each in ordered[:CANDIDATES]]


def nearness(here: Version, there: Version) -> tuple[bool, int, int, bool]:
    """How large a step it is from one version to another, to be compared; the smallest first.

    1. The same epoch: another one is another way to count (PEP 440). 2. The same local label: `+cpu` is another build
    than `+cu124`; then none. 3. The same release (a post-release of it, another pre-release), the same minor, the same
    major. 4. Upwards before downwards. Of what is alike in all this the version next to it is nearer.
    """
    first, second = (_release(here), _release(there))
    step = 0 if first == second else 1 if first[:2] == second[:2] else 2 if first[0] == second[0] else 3
    label = 0 if here.local == there.local else 1 if there.local is None else 2
    return (here.epoch != there.epoch, label, step, there < here)


def _release(version: Version) -> tuple[int, ...]:
    """Without zeros at its end, but for major and minor: 1.0 is 1.0.0."""
    parts = [*version.release, 0, 0]
    while len(parts) > 2 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _package(pin: Pin) -> Package:
    return Package(ecosystem="pypi", name=pin.name, version=pin.version)
