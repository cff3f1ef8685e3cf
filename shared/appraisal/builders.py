"""Who may vote: the policy of builders, read from YAML (`builders.yaml`).

    threshold: 2                    # so many builders must agree
    validity_seconds: 7776000       # so long a vote counts: 90 days
    builders:
      - id: https://cloudbuild.googleapis.com/projects/ours
        keys: ["-----BEGIN PUBLIC KEY-----…"]
      - id: https://rebuilder.example/linux
        keys: ["…"]
        not_before: "2026-01-01T00:00:00Z"   # optional, as is not_after
        revoked: false                       # true: none of its votes counts, earlier ones neither

Refused, because each would let fewer people decide than it looks:
1. No builder. 2. A threshold below 1 (or none), or above the number of builders that are not revoked.
3. A builder that stands twice. 4. A builder without a key, and a key that stands twice, be it under two builders.
5. A key of another kind than Ed25519 and P-256. 6. A time span without an inside.
A builder is an identity, not a key: that two builders are two independent people is for the policy's author to see to.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.appraisal.dsse import PublicKey, public_key
from shared.errors import Permanent
from shared.model import yaml_file
from shared.model.reference import Builder, Seconds
from shared.model.value import Part, Value

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
Moment = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
"""RFC 3339, UTC, whole seconds."""


class BuilderPolicy(Part):
    """One builder: an identity, and the keys that speak for it."""

    id: Builder
    """The URI that its statements have as builder.id."""
    keys: Annotated[tuple[Annotated[str, Field(max_length=2000)], ...], Field(min_length=1, max_length=20)]
    """Public keys in PEM. Several are one builder still: for a rollover, say."""
    not_before: Moment | None = None
    not_after: Moment | None = None
    """It may vote until this time, inclusive."""
    revoked: bool = False

    @model_validator(mode="after")
    def _span(self) -> Self:
        try:
            begin, end = self._seconds(self.not_before), self._seconds(self.not_after)
            self._public  # noqa: B018 - reads the keys: a mistake in them must be found now, not at the first vote
        except Permanent as error:
            raise ValueError(str(error)) from error
        if begin is not None and end is not None and begin > end:  # 6
            raise ValueError(f"{self.id} may vote from not_before to not_after, but not_after comes first")
        return self

    def may_vote(self, at: float) -> bool:
        """Whether the Unix time `at` is within the builder's time."""
        begin, end = self._seconds(self.not_before), self._seconds(self.not_after)
        return (begin is None or at >= begin) and (end is None or at <= end)

    @property
    def keyids(self) -> tuple[str, ...]:
        return tuple(key.keyid for key in self._public)

    def key(self, keyid: str) -> PublicKey:
        return next(key for key in self._public if key.keyid == keyid)

    @cached_property
    def _public(self) -> tuple[PublicKey, ...]:
        return tuple(
            public_key(pem, f"Key {number} of the builder {self.id}")  # 5
            for number, pem in enumerate(self.keys, 1)
        )

    @staticmethod
    def _seconds(moment: str | None) -> int | None:
        if moment is None:
            return None
        try:
            return int(datetime.strptime(moment, _FORMAT).replace(tzinfo=UTC).timestamp())
        except ValueError as error:
            raise Permanent(f"no calendar has the time {moment}") from error


class Builders(Value):
    """The policy. Its digest names it in what is decided by it."""

    threshold: Annotated[int, Field(ge=1, le=100)]  # 2
    validity_seconds: Annotated[Seconds, Field(ge=1)]
    builders: Annotated[tuple[BuilderPolicy, ...], Field(min_length=1, max_length=100)]  # 1

    @model_validator(mode="after")
    def _apart(self) -> Self:
        active = sum(not builder.revoked for builder in self.builders)
        if self.threshold > active:  # 2
            raise ValueError(
                f"threshold is {self.threshold}, but there are only {active} builders that are not revoked: "
                "nothing could ever be agreed on"
            )
        if twice := _twice([builder.id for builder in self.builders]):  # 3
            raise ValueError(f"the builder {twice} is given twice; give it once, with all its keys")
        if twice := _twice([keyid for builder in self.builders for keyid in builder.keyids]):  # 4
            owners = " and ".join(each.id for each in self.builders if twice in each.keyids)
            raise ValueError(f"the key {twice} is given twice ({owners}): whose vote it is must be clear")
        return self

    def find(self, id: str) -> BuilderPolicy | None:
        return next((builder for builder in self.builders if builder.id == id), None)

    def owner(self, keyid: str) -> BuilderPolicy | None:
        """Whose key it is, be he revoked or not."""
        return next((builder for builder in self.builders if keyid in builder.keyids), None)


def read(path: Path) -> Builders:
    """The policy in the YAML file at `path`; Permanent with what is wrong with it, and where."""
    return yaml_file.read(path, Builders, "policy of builders", "threshold, validity_seconds and builders")


def _twice(names: list[str]) -> str:
    return next((name for name, count in Counter(names).items() if count > 1), "")
