"""Whether a file is attested as the policy asks (PEP 740): by whom, as its proved attestations say. Pure.

This is asked of files and not of versions, so no verdict answers it: sync does, of each file that a lock names, before
anything of that lock is brought (`shared.vouched`). The verdict says that it will be asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from shared.model.lock import LockedPython
from shared.model.package import Package
from shared.model.policy import AttestedRule
from shared.model.publisher import Publisher
from shared.model.purl_pattern import fits, matches


def asked(purl: str, rules: Sequence[AttestedRule]) -> AttestedRule | None:
    """The first of the rules that means the package."""
    return next((rule for rule in rules if matches(rule.purl, purl)), None)


def asked_of(file: LockedPython, rules: Sequence[AttestedRule]) -> AttestedRule | None:
    """The first of the rules that means the package of the file."""
    return asked(Package(ecosystem="pypi", name=file.name, version=file.version).purl, rules)


def refusal(rule: AttestedRule, publishers: Sequence[Publisher]) -> str:
    """Why a file that these have published does not meet the rule, as the part of a sentence; empty if it does.

    One of them who is allowed is enough: the others have attested the same bytes. Nobody is nobody, whom `*` does not
    mean.
    """
    if not publishers:
        return "the index names no attestation of it"
    named = [str(each) for each in publishers]
    if any(fits(pattern, name) for pattern in rule.publishers for name in named):
        return ""
    return f"it is attested to be published by {', '.join(named)}, and not by {' or '.join(rule.publishers)}"
