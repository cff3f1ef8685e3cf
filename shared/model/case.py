"""The case: everything that a judgement sees, in one value. The same case gives the same verdicts, byte for byte."""

from __future__ import annotations

from typing import Literal

from shared.model.apt_source import AptPin
from shared.model.package import Package
from shared.model.policy import Policy
from shared.model.value import Digest, Part, Value
from shared.model.verdict import AdvisorySource, Finding
from shared.model.waiver import Moment, Waiver

FactKind = Literal["uploaded", "yanked", "licences"]


class Facts(Part):
    """What the index itself says of one version."""

    uploaded: str = ""
    """RFC 3339: when the last of its files that Debian or Ubuntu could install was uploaded (PEP 700); empty if that is
    not known of each. The last, as a file that is added to an old release is as new as any other upload."""
    yanked: str | None = None
    """The reason that was given for the yank (PEP 592), which may be empty; None if none of those files is yanked."""
    licences: tuple[str, ...] = ()
    """As its metadata say: an SPDX expression, else the License field and the classifiers. Empty if nothing is said."""
    lacking: str = ""
    """Why the facts could not be had; empty if they could, or nobody asked."""
    told: tuple[FactKind, ...] = ()
    """Kinds that `lacking` is not about, sorted: what the page of the index says, it says although the licence could
    not be read."""


class Subject(Part):
    """A package, and how it came to be on the machine as far as the rules ask for it."""

    package: Package
    direct_url: str = ""
    """Where a Python package came from if not from an index (direct_url.json)."""
    is_sdist: bool = False
    """True if the index has no fitting wheel: its build runs code of its own in the inner VM."""
    fetched_by_url: str = ""
    """URL of a file that no package manager knows of."""
    apt_source: AptPin | None = None
    """The repository that a Debian package comes from, if it is not the distribution's."""
    pinned: bool = False
    """True if the workload gives that file's sha256."""
    interpreter: str = ""
    """Version of Python, if that file is the workload's own interpreter."""
    unreadable: str = ""
    """Why nobody can tell what it is, as a sentence part; then nothing is asked about it, and it is held."""
    own_wheel: bool = False
    """True for a wheel of the workload's owner, which the workload file pins by sha256."""
    in_base: bool = False
    """True if the machine held it before the install began: judged like everything else, and said in the reason."""
    in_interpreter: bool = False
    """True if it was there before because it came with the workload's own interpreter."""
    needed_by: tuple[str, ...] = ()
    """The way by which the workload needs it: names from what the workload asks for to what asks for this package."""
    mends: tuple[str, ...] = ()
    """Advisories for which the policy refuses what it is to replace, and which name this very version as the fix."""
    files: tuple[Digest, ...] = ()
    """Of a package that is held: its files, of which alone the index is asked; empty: any of the version may come."""
    facts: Facts = Facts()


class Case(Value):
    """Everything that is judged at once, and all that is known of it."""

    format: Literal["package-dmz/case/v1"] = "package-dmz/case/v1"
    at: Moment
    """When it is judged: what has an age has it at this moment."""
    workload: str
    """Name of the workload; empty where nobody's is meant."""
    policy: Policy
    source: AdvisorySource
    subjects: tuple[Subject, ...]
    findings: dict[str, tuple[Finding, ...]]
    """By purl; a purl that nothing is known against is absent."""
    lacking: dict[str, str] = {}
    """By purl: why it is not known whether anything is known against it."""
    waivers: tuple[Waiver, ...] = ()
    """Those in force or not: which count follows from `at`."""
    asked: tuple[FactKind, ...] = ()
    """Kinds of facts that the index was asked for, sorted: of any other, a subject's empty facts say nothing."""
