"""What the index offers to one machine: the file that would be installed, and whether it is admitted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from packaging.tags import Tag
from packaging.version import InvalidVersion, Version

from shared.model.package import Package
from shared.model.verdict import Verdict
from shared.ports import IndexFile, Pin, PythonIndex
from shared.upstream.tags import best, version_of

Judge = Callable[[Sequence[Package], bool], Sequence[Verdict]]
"""(packages, are they source distributions) to their verdicts, in the same order."""

CANDIDATES = 24
"""Admitted versions of one package that are considered as its replacement."""


@dataclass(frozen=True)
class Offer:
    """The index and the judgement, for one Python on one machine."""

    index: PythonIndex
    judge: Judge
    python: str
    """Full version, like 3.13.5."""
    tags: Sequence[Tag]
    """Best first."""

    @property
    def platform(self) -> str:
        """The machine's own wheel platform, like manylinux_2_41_x86_64."""
        return self.tags[0].platform

    def file(self, pin: Pin) -> IndexFile | None:
        """What an installer would take for `pin`; None if there is nothing for this machine."""
        return best(self.index.files(pin.name), pin.version, self.tags, self.python)

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
                verdicts = self.judge([_package(pin) for pin in asked], is_source)
                refused |= {
                    pin: verdict.reason
                    for pin, verdict in zip(asked, verdicts, strict=True)
                    if verdict.decision != "allow"
                }
        return refused

    def candidates(self, name: str, version: str) -> list[str]:
        """Admitted versions of `name`, the nearest to `version` first: upwards, then downwards.

        Pre-releases only in the place of a pre-release.
        """
        try:
            here = Version(version)
        except InvalidVersion:
            return []
        found = {version_of(file.filename) for file in self.index.files(name)}
        versions = sorted(
            v for v in found if v is not None and v != here and (not v.is_prerelease or here.is_prerelease)
        )
        ordered = [v for v in versions if v > here] + [v for v in reversed(versions) if v < here]
        pins = [Pin(name, str(v)) for v in ordered]
        refused = self.refusals(pins)
        return [pin.version for pin in pins if pin not in refused][:CANDIDATES]


def _package(pin: Pin) -> Package:
    return Package(ecosystem="pypi", name=pin.name, version=pin.version)
