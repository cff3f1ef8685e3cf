"""Policies: what may enter. Every rule is given, by ecosystem and, where a workload needs its own, by workload."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression
from pydantic import AfterValidator, Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from shared.model.apt_source import AptPin
from shared.model.purl_pattern import PurlPattern
from shared.model.value import Part, Value
from shared.model.verdict import Decision, Severity
from shared.model.waiver import Line

KEV = "CISA KEV"
EPSS = "FIRST EPSS"
"""By these names a verdict's advisory source says that the catalogue was at hand (AdvisorySource.also)."""

Level = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL", "never"]
RANK: dict[Severity | Level, int] = {"NONE": 0, "LOW": 1, "MEDIUM": 2, "HIGH": 3, "CRITICAL": 4, "never": 5}
"""Severities in order; UNKNOWN has no place in it."""
_NAME = r"^[a-z][a-z0-9-]{0,39}$"


def _licence(text: str) -> str:
    if text == "*":
        return text
    try:
        known = canonicalize_license_expression(text)
    except (InvalidLicenseExpression, RecursionError, MemoryError) as error:
        raise ValueError("a licence is given by its id of the SPDX list, like Apache-2.0") from error
    if {"AND", "OR"} & set(known.split()) or "(" in known:
        raise ValueError("one licence per entry: AND and OR are for packages to say")
    return known


def _private_name(text: str) -> str:
    if not text.replace("*", ""):
        raise ValueError("it would match every package: give a part of the name")
    return text


Licence = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_licence)]
"""SPDX id, with `WITH exception` where there is one, or LicenseRef-; `*` is every licence."""
PrivateName = Annotated[
    str, Field(pattern=r"^[a-z0-9*](-?[a-z0-9*])*$", max_length=100), AfterValidator(_private_name)
]
"""A Python package's name as PEP 503 normalizes it, in which * stands for anything."""
PublisherPattern = Annotated[
    str, Field(pattern=r"^(\*|(GitHub|GitLab|Google|CircleCI) [!-~]+( \([!-~ ]+\)|\*)?)$", max_length=500)
]
"""`GitHub OWNER/NAME (WORKFLOW)`, as a publisher is shown, in which * stands for anything."""
Days = Annotated[int, Field(ge=0, le=3650)]
Probability = Annotated[float, Field(ge=0, le=1)]


class Threshold(Part):
    """From which severity on a flaw holds, and from which it blocks."""

    hold: Level
    block: Level

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if RANK[self.hold] >= RANK[self.block] and self.hold != "never":
            raise ValueError(
                f"hold ({self.hold}) must be below block ({self.block}), or it never comes to it: write never"
            )
        return self


class UnfixedThreshold(Threshold):
    """The same for flaws without a fix in the release, of which most carry no severity at all."""

    unknown_severity: Decision


class ExploitProbability(Part):
    """FIRST's estimate (EPSS) that a flaw is exploited within 30 days."""

    at_least: Probability
    answer: Decision
    """`allow`: not asked."""


class Cooldown(Part):
    """How long a version must have been public. Most hostile uploads are found and removed within days."""

    days: Days
    """0: not asked."""
    unknown_upload: Decision


class Licences(Part):
    """Which licences may enter. Deny beats allow."""

    allow: Annotated[tuple[Licence, ...], Field(min_length=1, max_length=500)]
    deny: Annotated[tuple[Licence, ...], Field(max_length=500)]
    refused: Decision
    """For a licence that is denied or not allowed."""
    unknown: Decision
    """For a package that says nothing of its licence, or nothing that can be read."""

    @field_validator("deny")
    @classmethod
    def _some(cls, deny: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in deny:
            raise ValueError("* under deny would refuse every package: name the licences")
        return deny

    @property
    def asked(self) -> bool:
        """False if every package passes, whatever its licence."""
        limits = bool(self.deny) or "*" not in self.allow
        return (limits and self.refused != "allow") or self.unknown != "allow"


class PythonRules(Part):
    """Rules for packages of PyPI and the user's own wheels."""

    malicious: Decision
    severity: Threshold
    unknown_severity: Decision
    undecided: Literal["hold", "block"]
    known_exploited: Decision
    """Listed in CISA's catalogue (KEV). `allow`: not asked."""
    exploit_probability: ExploitProbability
    direct_url: Decision
    source_distribution: Decision
    yanked: Decision
    """`allow`: not asked."""
    cooldown: Cooldown
    licences: Licences
    name_confusion: Decision
    """A name that is easily taken for a popular one or for one of our own. `allow`: not asked."""


class DebianRules(Part):
    """Rules for packages of Debian and Ubuntu, where most records carry no score and many have no fix."""

    malicious: Decision
    fix_available: Decision
    """An advisory with a fix that the installed version lacks."""
    unfixed: UnfixedThreshold
    """An advisory without any fix in the release; the finding is shown all the same."""
    undecided: Literal["hold", "block"]
    known_exploited: Decision
    exploit_probability: ExploitProbability


class GenericRules(Part):
    """Rules for files fetched by URL: nothing is known of most of them but their hash."""

    fetched_by_url: Decision
    interpreter: Decision
    """The workload's own Python: the advisory data holds nothing about CPython itself, so its flaws are undecided."""


class PackageRule(Part):
    """A standing answer about some packages. The first of the list that matches counts."""

    purl: PurlPattern
    answer: Decision
    """`allow` overrules every rule but malicious, advisory_age and advisory_data."""
    reason: Line


def _attested(pattern: str) -> str:
    if not pattern.startswith("pkg:pypi/"):
        raise ValueError("attestations are of files of PyPI: a pattern begins with pkg:pypi/")
    return pattern


class AttestedRule(Part):
    """Packages whose files must be attested (PEP 740), and by whom. The first of the list that matches counts."""

    purl: Annotated[PurlPattern, AfterValidator(_attested)]
    publishers: Annotated[tuple[PublisherPattern, ...], Field(min_length=1, max_length=100)] = ("*",)
    """Of these one at least must have published it, as `./dmz explain` shows it; `*`: anybody, but somebody."""


AttestedRules = Annotated[tuple[AttestedRule, ...], Field(max_length=1000)]
PrivateNames = Annotated[tuple[PrivateName, ...], Field(max_length=1000)]
PackageRules = Annotated[tuple[PackageRule, ...], Field(max_length=1000)]
AptPins = Annotated[tuple[AptPin, ...], Field(max_length=100)]


class Rules(Part):
    """Everything that is asked about the packages of one workload."""

    pypi: PythonRules
    debian: DebianRules
    generic: GenericRules
    private_names: PrivateNames
    """Names of our own Python packages: from an index, such a package is a stranger's (dependency confusion)."""
    packages: PackageRules
    apt_sources: AptPins = ()
    """Apt repositories that are not the distribution's and that packages may come from."""
    attestations: AttestedRules = ()
    """Packages whose files must be attested."""


class _Override(Part):
    @model_validator(mode="after")
    def _something(self) -> Self:
        if not _given(self):
            raise ValueError("it changes no rule: give one, or remove it")
        return self


class PythonOverride(_Override):
    """Rules of PythonRules, each complete, that replace those of the policy for one workload."""

    malicious: Decision | None = None
    severity: Threshold | None = None
    unknown_severity: Decision | None = None
    undecided: Literal["hold", "block"] | None = None
    known_exploited: Decision | None = None
    exploit_probability: ExploitProbability | None = None
    direct_url: Decision | None = None
    source_distribution: Decision | None = None
    yanked: Decision | None = None
    cooldown: Cooldown | None = None
    licences: Licences | None = None
    name_confusion: Decision | None = None


class DebianOverride(_Override):
    """The same for DebianRules."""

    malicious: Decision | None = None
    fix_available: Decision | None = None
    unfixed: UnfixedThreshold | None = None
    undecided: Literal["hold", "block"] | None = None
    known_exploited: Decision | None = None
    exploit_probability: ExploitProbability | None = None


class GenericOverride(_Override):
    """The same for GenericRules."""

    fetched_by_url: Decision | None = None
    interpreter: Decision | None = None


class WorkloadRules(_Override):
    """What is different for one workload."""

    pypi: PythonOverride | None = None
    debian: DebianOverride | None = None
    generic: GenericOverride | None = None
    private_names: PrivateNames | None = None
    packages: PackageRules | None = None
    apt_sources: AptPins | None = None
    attestations: AttestedRules | None = None


class Policy(Value):
    """What may enter. Every rule must be given; there is no silent default."""

    format: Literal["package-dmz/policy/v2"]
    name: Annotated[str, Field(pattern=_NAME)]
    description: Annotated[str, Field(min_length=1, max_length=2000)]
    max_advisory_age_hours: Annotated[int, Field(ge=1)] | None
    """Older advisory data holds every package; None only in a policy that names itself offline."""
    pypi: PythonRules
    debian: DebianRules
    generic: GenericRules
    private_names: PrivateNames
    packages: PackageRules
    apt_sources: AptPins = ()
    """A list that may be left out: then no such repository is allowed."""
    attestations: AttestedRules = ()
    """Another: then nothing need be attested."""
    workloads: Annotated[
        dict[Annotated[str, Field(pattern=_NAME), WithJsonSchema({"type": "string"})], WorkloadRules],
        Field(max_length=1000),
    ]

    @field_validator("max_advisory_age_hours")
    @classmethod
    def _of_any_age(cls, hours: int | None, info: ValidationInfo) -> int | None:
        if hours is None and "offline" not in info.data.get("name", "offline"):
            raise ValueError(
                "data of any age is for a policy whose name says offline: give a number of hours"
            )
        return hours

    def rules(self, workload: str) -> Rules:
        """What is asked about the packages of this workload; an empty name is nobody's."""
        own = self.workloads.get(workload)
        mine = Rules(
            pypi=self.pypi,
            debian=self.debian,
            generic=self.generic,
            private_names=self.private_names,
            packages=self.packages,
            apt_sources=self.apt_sources,
            attestations=self.attestations,
        )
        if own is None:
            return mine
        return Rules(
            pypi=mine.pypi.model_copy(update=_given(own.pypi)),
            debian=mine.debian.model_copy(update=_given(own.debian)),
            generic=mine.generic.model_copy(update=_given(own.generic)),
            private_names=mine.private_names if own.private_names is None else own.private_names,
            packages=mine.packages if own.packages is None else own.packages,
            apt_sources=mine.apt_sources if own.apt_sources is None else own.apt_sources,
            attestations=mine.attestations if own.attestations is None else own.attestations,
        )


def _given(override: Part | None) -> dict[str, object]:
    return {name: value for name, value in override or () if value is not None}
