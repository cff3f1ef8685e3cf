"""What is publicly known of packages: advisories, and what an index says of versions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from shared.model import case
from shared.model.package import Package, Release
from shared.model.value import Digest
from shared.model.verdict import Known

FactKind = case.FactKind


class Advisories(Protocol):
    """What is publicly known of packages."""

    def known(self, packages: Iterable[Package], release: Release) -> Known:
        """Transient only if nothing at all could be asked; what lacks for some packages is `lacking` of those."""
        ...


class Facts(Protocol):
    """What an index itself says of versions: when they were uploaded, whether they were withdrawn, their licences."""

    def of(
        self,
        packages: Sequence[Package],
        wanted: Collection[FactKind],
        files: Mapping[str, Collection[Digest]] = ...,
    ) -> Mapping[str, case.Facts]:
        """By purl, for packages of PyPI; of other ecosystems nothing is known. Never raises: `lacking` says why.

        `files`: by purl, the sha256 of those of the version's files that count; without an entry all of them do.
        """
        ...
