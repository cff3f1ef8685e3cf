"""What a bill of materials is made of: a lock, what it was made for, and all that was judged on the way to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from shared.model.case import Case, Facts
from shared.model.lock import Lock
from shared.model.manifest import ClaimedManifest
from shared.model.publisher import Publisher
from shared.model.value import Digest
from shared.model.verdict import Verdict, Verdicts
from shared.model.waiver import Waiver


@dataclass(frozen=True)
class ApprovedSet:
    """A lock whose every file is in the private repositories."""

    lock: Lock
    manifest: ClaimedManifest
    judged: tuple[tuple[Case, Verdicts], ...]
    """The manifest's own case first, then those of the replacements."""
    publishers: Mapping[Digest, tuple[Publisher, ...]] = field(default_factory=dict)
    """By sha256 of a file whose attestations were verified (PEP 740)."""

    @property
    def case(self) -> Case:
        """The manifest's own."""
        return self.judged[0][0]

    @property
    def date(self) -> str:
        """RFC 3339: of the advisories by which it was approved, or of that judgement where they have no readable one.

        The same lock that is approved again on the same data is the same set.
        """
        try:
            date = datetime.fromisoformat(self.case.source.date)
        except ValueError:
            return self.case.at
        return self.case.source.date if date.tzinfo and "T" in self.case.source.date else self.case.at

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """By purl: the manifest's own come before those of a search for replacements."""
        return {each.package.purl: each for _, found in reversed(self.judged) for each in found.verdicts}

    @cached_property
    def facts(self) -> Mapping[str, Facts]:
        """By purl, where an index was asked."""
        return {each.package.purl: each.facts for case, _ in reversed(self.judged) for each in case.subjects}

    @cached_property
    def waivers(self) -> Mapping[str, Waiver]:
        """By id."""
        return {each.id: each for case, _ in self.judged for each in case.waivers}

    @cached_property
    def _lock_digest(self) -> Digest:
        return self.lock.digest

    def digests(self) -> Iterator[tuple[str, str]]:
        """Name and value of what the set follows from; nothing of the run, which another one may repeat."""
        case = self.case
        yield "lock", self._lock_digest
        yield "manifest", self.lock.manifest
        yield "policy", case.policy.digest
        yield "policy:name", case.policy.name
        yield "advisories", case.source.digest
        yield "advisories:source", case.source.source
        yield "advisories:date", case.source.date
        for also in case.source.also:
            yield f"advisories:{also.name}", f"{also.digest} of {also.date}"
